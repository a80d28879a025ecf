# Thirty-two rounds of shifts, a multiplication and a division.
mov %r0, 0x1234567
mov %r4, 0
loop: mov %r5, %r0
lsh %r5, 13
xor %r0, %r5
mov %r5, %r0
rsh %r5, 7
xor %r0, %r5
mul %r0, 0x1000193
mov %r5, %r0
div %r5, 1000
xor %r0, %r5
add %r4, 1
jlt %r4, 32, loop
and %r0, 1
add %r0, 1
exit
