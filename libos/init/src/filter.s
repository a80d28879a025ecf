# Control frames: EtherType 0x88b5 (IEEE 802, local experimental 1), to our own address.
    ldxw    %r2, [%r1+0]
    ldxw    %r3, [%r1+4]
    mov32   %r0, 0
    mov     %r4, %r2
    add     %r4, 14
    jgt     %r4, %r3, no
    ldxh    %r5, [%r2+12]
    jne     %r5, 0xb588, no
    ldxw    %r5, [%r2+{MAC_AT}]
    jne32   %r5, {MAC_LOW}, no
    ldxh    %r5, [%r2+{MAC_END_AT}]
    jne     %r5, {MAC_HIGH}, no
    mov32   %r0, 1
no:
    exit
