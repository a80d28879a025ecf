# An attack: a helper that follows the context is given the packet in its place.
    ldxw    %r1, [%r1+0]
    call    helper 0x10001
    mov32   %r0, 1
    exit
