# A predicate: run me when 64 packets wait in the ring (1), or when a handler of mine called (2).
#
# The block: clock, events, RX_PRODUCED, RX_CONSUMED; the indices run freely in 32 bits.
    mov     %r0, 0
    jlt     %r2, 32, out
    ldxdw   %r3, [%r1+8]
    mov     %r0, 2
    jset    %r3, 256, out
    mov     %r0, 0
    ldxdw   %r3, [%r1+16]
    ldxdw   %r4, [%r1+24]
    sub32   %r3, %r4
    jlt     %r3, 64, out
    mov     %r0, 1
out:
    exit
