# A rate limiter in front of the echo: so many packets of one source are answered, the rest dropped.
#
# Map 0 counts by source address (LRU: new sources push out old ones); map 1 has one entry: how many
# are answered, which the library OS sets, and how many were dropped, which it reads.
    mov     %r9, %r1
    ldxw    %r2, [%r9+0]
    ldxw    %r3, [%r9+4]
    mov     %r4, %r2
    add     %r4, 42
    jgt     %r4, %r3, drop
    ldxw    %r5, [%r2+26]
    stxw    [%r10-4], %r5
    lddw    %r1, map_fd 0
    mov     %r2, %r10
    add     %r2, -4
    call    helper 1
    jne     %r0, 0, known
    stdw    [%r10-16], 1
    lddw    %r1, map_fd 0
    mov     %r2, %r10
    add     %r2, -4
    mov     %r3, %r10
    add     %r3, -16
    mov     %r4, 0
    call    helper 2
    ja      serve
known:
    mov     %r1, 1
    lock fetch add [%r0+0], %r1
    lddw    %r8, map_value 1 0
    ldxdw   %r2, [%r8+0]
    jlt     %r1, %r2, serve
    mov     %r1, 1
    lock fetch add [%r8+8], %r1
    # The first drop of all is worth a line: "over " and the source.
    jne     %r1, 0, over
    stw     [%r10-16], 0x7265766f
    stw     [%r10-12], 0x00782520
    mov     %r1, %r10
    add     %r1, -16
    mov     %r2, 8
    ldxw    %r3, [%r10-4]
    call    helper 6
over:
    mov32   %r0, 1
    exit
serve:
    mov     %r1, %r9
