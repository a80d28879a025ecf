# The ASH of @NAME@: a datagram that says `ping` goes back as `pong`; the rest goes to ring 3.
#
# It runs in the kernel on every packet that the filter gives to @NAME@, whoever is scheduled. The
# kernel has proven that it ends, that it reads and writes inside the packet only, and will send a
# reply only if it lies in the grant's transmit space.
#
# r1 = context, r2 = data, r3 = data_end; r0 = 1 drops, 2 passes to ring 3, 3 replies.
    ldxw    %r2, [%r1+0]
    ldxw    %r3, [%r1+4]
    # Ethernet, IPv4 without options, UDP, and four bytes must be there.
    mov     %r4, %r2
    add     %r4, 46
    jgt     %r4, %r3, pass
    ldxb    %r5, [%r2+14]
    jne     %r5, 0x45, pass
    # No fragment.
    ldxh    %r5, [%r2+20]
    jset    %r5, 0xff3f, pass
    # The payload: "ping" as a little-endian word. Change it and `run` again.
    ldxw    %r5, [%r2+42]
    jne     %r5, 0x676e6970, pass
    # The same port on both sides would be answered for ever.
    ldxh    %r5, [%r2+34]
    ldxh    %r6, [%r2+36]
    jeq     %r5, %r6, pass
    # "pong", and no UDP checksum: IPv4 allows to leave it out (RFC 768).
    stb     [%r2+43], 0x6f
    sth     [%r2+40], 0
    # Ports, addresses, stations: there and back. Swapping them keeps the IPv4 checksum right.
    stxh    [%r2+34], %r6
    stxh    [%r2+36], %r5
    ldxw    %r5, [%r2+26]
    ldxw    %r6, [%r2+30]
    stxw    [%r2+26], %r6
    stxw    [%r2+30], %r5
    ldxw    %r5, [%r2+0]
    ldxw    %r6, [%r2+6]
    stxw    [%r2+0], %r6
    stxw    [%r2+6], %r5
    ldxh    %r5, [%r2+4]
    ldxh    %r6, [%r2+10]
    stxh    [%r2+4], %r6
    stxh    [%r2+10], %r5
    mov32   %r0, 3
    exit
pass:
    mov32   %r0, 2
    exit
