# A filter written by hand: UDP to {IP}, port 9, first fragments only.
    ldxw    %r2, [%r1+0]
    ldxw    %r3, [%r1+4]
    mov32   %r0, 0
    mov     %r4, %r2
    add     %r4, 34
    jgt     %r4, %r3, no
    ldxh    %r5, [%r2+12]
    jne     %r5, 0x0008, no
    ldxh    %r5, [%r2+20]
    and     %r5, 0xff1f
    jne     %r5, 0, no
    ldxb    %r5, [%r2+23]
    jne     %r5, 17, no
    ldxw    %r5, [%r2+30]
    jne32   %r5, {IP}, no
    # Version 4, and a header length of at least five words.
    ldxb    %r5, [%r2+14]
    jlt     %r5, 0x45, no
    jgt     %r5, 0x4f, no
    and     %r5, 0x0f
    lsh     %r5, 2
    mov     %r4, %r2
    add     %r4, %r5
    mov     %r6, %r4
    add     %r6, 18
    jgt     %r6, %r3, no
    ldxh    %r5, [%r4+16]
    jne     %r5, 0x0900, no
    mov32   %r0, 1
no:
    exit
