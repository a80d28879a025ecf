# Control initiation: starts the owner's handler, or wakes the owner, with the packet's length; the
# packet has done its work and is dropped.
    mov     %r9, %r1
    ldxw    %r3, [%r9+0]
    ldxw    %r2, [%r9+4]
    sub     %r2, %r3
    call    helper 0x10000
    mov32   %r0, 1
    exit
