# ICMP echo (RFC 792), answered in the kernel.
#
# Type 8 becomes 0, MAC and IP addresses are swapped, TTL is 64; both checksums are updated by
# RFC 1624, equation 3, so that the length of the data does not matter. Everything else is passed on.
#
# r2 = data, r3 = data_end, r4 = the ICMP header less 14
    ldxw    %r2, [%r1+0]
    ldxw    %r3, [%r1+4]
    mov     %r4, %r2
    add     %r4, 42
    jgt     %r4, %r3, pass
    # Ethernet: to one station, IPv4.
    ldxb    %r5, [%r2+0]
    jset    %r5, 1, pass
    ldxh    %r5, [%r2+12]
    jne     %r5, 0x0008, pass
    # IPv4: version 4, a header length that exists, no fragment, ICMP.
    ldxb    %r5, [%r2+14]
    mov     %r6, %r5
    rsh     %r6, 4
    jne     %r6, 4, pass
    ldxh    %r6, [%r2+20]
    jset    %r6, 0xff3f, pass
    ldxb    %r6, [%r2+23]
    jne     %r6, 1, pass
    and     %r5, 0x0f
    jlt     %r5, 5, pass
    lsh     %r5, 2
    mov     %r4, %r2
    add     %r4, %r5
    mov     %r6, %r4
    add     %r6, 22
    jgt     %r6, %r3, pass
    # All of the packet is here: IPv4's total length, at most 1,500, lies inside the frame.
    ldxh    %r5, [%r2+16]
    be16    %r5
    jgt     %r5, 1500, pass
    mov     %r6, %r2
    add     %r6, %r5
    add     %r6, 14
    jgt     %r6, %r3, pass
    # Type 8, code 0.
    ldxh    %r5, [%r4+14]
    jne     %r5, 0x0008, pass
    # ICMP checksum: ~(~checksum + ~0x0008 + 0), words in the packet's byte order.
    ldxh    %r5, [%r4+16]
    xor     %r5, 0xffff
    add     %r5, 0xfff7
    mov     %r6, %r5
    rsh     %r6, 16
    and     %r5, 0xffff
    add     %r5, %r6
    xor     %r5, 0xffff
    stxh    [%r4+16], %r5
    sth     [%r4+14], 0
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
    # TTL and the header checksum.
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
pass:
    mov32   %r0, 2
    exit
