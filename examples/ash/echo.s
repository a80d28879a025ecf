# UDP echo, wholly in the kernel: MAC addresses, IP addresses and ports swapped in place, TTL 64.
#
# Swapping 16-bit words that a checksum covers leaves it as it is (RFC 1071), so that the UDP
# checksum stays right, whatever it is; the TTL's change goes into the IPv4 header checksum by RFC 1624,
# equation 3. Whatever is not a whole, unfragmented UDP datagram to us alone is dropped.
#
# r2 = data, r3 = data_end, r4 = the UDP header less 14, r0 = verdict
    ldxw    %r2, [%r1+0]
    ldxw    %r3, [%r1+4]
    mov     %r4, %r2
    add     %r4, 42
    jgt     %r4, %r3, drop
    # Ethernet: to one station, IPv4.
    ldxb    %r5, [%r2+0]
    jset    %r5, 1, drop
    ldxh    %r5, [%r2+12]
    jne     %r5, 0x0008, drop
    # IPv4: version 4, a header length that exists, no fragment, UDP.
    ldxb    %r5, [%r2+14]
    mov     %r6, %r5
    rsh     %r6, 4
    jne     %r6, 4, drop
    ldxh    %r6, [%r2+20]
    jset    %r6, 0xff3f, drop
    ldxb    %r6, [%r2+23]
    jne     %r6, 17, drop
    and     %r5, 0x0f
    jlt     %r5, 5, drop
    lsh     %r5, 2
    # The UDP header lies behind the options.
    mov     %r4, %r2
    add     %r4, %r5
    mov     %r6, %r4
    add     %r6, 22
    jgt     %r6, %r3, drop
    # All of the packet is here: IPv4's total length, at most 1,500, lies inside the frame.
    ldxh    %r5, [%r2+16]
    be16    %r5
    jgt     %r5, 1500, drop
    mov     %r6, %r2
    add     %r6, %r5
    add     %r6, 14
    jgt     %r6, %r3, drop
    # The same port on both sides would be answered for ever.
    ldxh    %r5, [%r4+14]
    ldxh    %r6, [%r4+16]
    jeq     %r5, %r6, drop
    stxh    [%r4+14], %r6
    stxh    [%r4+16], %r5
    # IP addresses.
    ldxw    %r5, [%r2+26]
    ldxw    %r6, [%r2+30]
    stxw    [%r2+26], %r6
    stxw    [%r2+30], %r5
    # MAC addresses.
    ldxw    %r5, [%r2+0]
    ldxw    %r6, [%r2+6]
    stxw    [%r2+0], %r6
    stxw    [%r2+6], %r5
    ldxh    %r5, [%r2+4]
    ldxh    %r6, [%r2+10]
    stxh    [%r2+4], %r6
    stxh    [%r2+10], %r5
    # TTL: checksum = ~(~checksum + ~old + new), in the packet's byte order throughout.
    ldxh    %r5, [%r2+24]
    xor     %r5, 0xffff
    ldxh    %r6, [%r2+22]
    mov     %r7, %r6
    xor     %r6, 0xffff
    add     %r5, %r6
    and     %r7, 0xff00
    or      %r7, 64
    stxh    [%r2+22], %r7
    add     %r5, %r7
    mov     %r6, %r5
    rsh     %r6, 16
    and     %r5, 0xffff
    add     %r5, %r6
    mov     %r6, %r5
    rsh     %r6, 16
    add     %r5, %r6
    xor     %r5, 0xffff
    stxh    [%r2+24], %r5
    mov32   %r0, 3
    exit
drop:
    mov32   %r0, 1
    exit
