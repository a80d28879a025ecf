# An attack: one packet in, as many out as there are calls, each as it came, and then itself.
    mov     %r9, %r1
    call    helper 0x10001
    mov     %r1, %r9
    call    helper 0x10001
    mov     %r1, %r9
    call    helper 0x10001
    mov     %r1, %r9
    call    helper 0x10001
    mov     %r1, %r9
    call    helper 0x10001
    mov     %r1, %r9
    call    helper 0x10001
    mov32   %r0, 3
    exit
