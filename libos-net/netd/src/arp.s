# ARP (RFC 826): who asks for our address is told ours, in the kernel.
#
# {IP}, {MAC_LOW} and {MAC_HIGH} are our addresses as loads see them. Answers, announcements,
# questions about others and whatever is malformed are passed on: netd learns from them.
#
# r2 = data, r3 = data_end
    ldxw    %r2, [%r1+0]
    ldxw    %r3, [%r1+4]
    mov     %r4, %r2
    add     %r4, 42
    jgt     %r4, %r3, pass
    ldxh    %r5, [%r2+12]
    jne     %r5, 0x0608, pass
    # Ethernet, IPv4, lengths 6 and 4, a question.
    ldxw    %r5, [%r2+14]
    jne32   %r5, 0x00080100, pass
    ldxw    %r5, [%r2+18]
    jne32   %r5, 0x01000406, pass
    # About us, and not from somebody who has our address.
    ldxw    %r5, [%r2+38]
    jne32   %r5, {IP}, pass
    ldxw    %r7, [%r2+28]
    jeq32   %r7, {IP}, pass
    # The asker is one station, and the one that sent the frame.
    ldxw    %r5, [%r2+22]
    ldxh    %r6, [%r2+26]
    jset    %r5, 1, pass
    ldxw    %r8, [%r2+6]
    jne     %r8, %r5, pass
    ldxh    %r8, [%r2+10]
    jne     %r8, %r6, pass
    # To the asker: Ethernet destination and ARP target.
    stxw    [%r2+0], %r5
    stxh    [%r2+4], %r6
    stxw    [%r2+32], %r5
    stxh    [%r2+36], %r6
    stxw    [%r2+38], %r7
    # From us: Ethernet source and ARP sender.
    mov32   %r5, {MAC_LOW}
    mov32   %r6, {MAC_HIGH}
    stxw    [%r2+6], %r5
    stxh    [%r2+10], %r6
    stxw    [%r2+22], %r5
    stxh    [%r2+26], %r6
    mov32   %r7, {IP}
    stxw    [%r2+28], %r7
    # An answer.
    sth     [%r2+20], 0x0200
    mov32   %r0, 3
    exit
pass:
    mov32   %r0, 2
    exit
