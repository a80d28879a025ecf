# SipHash-1-3 of 256 bytes: rotations, as C writes them. The three rounds at the end are words of 0.
mov %r4, %r2
add %r4, 298
mov %r0, 2
jgt %r4, %r3, out
lddw %r0, 0x736f6d6570736575
lddw %r6, 0x646f72616e646f6d
lddw %r7, 0x6c7967656e657261
lddw %r8, 0x7465646279746573
mov %r9, 0
loop: mov %r1, 0
jge %r9, 256, round
mov %r5, %r2
add %r5, %r9
ldxdw %r1, [%r5+42]
round: xor %r8, %r1
add %r0, %r6
mov %r4, %r6
lsh %r4, 13
rsh %r6, 51
or %r6, %r4
xor %r6, %r0
mov %r4, %r0
lsh %r4, 32
rsh %r0, 32
or %r0, %r4
add %r7, %r8
mov %r4, %r8
lsh %r4, 16
rsh %r8, 48
or %r8, %r4
xor %r8, %r7
add %r0, %r8
mov %r4, %r8
lsh %r4, 21
rsh %r8, 43
or %r8, %r4
xor %r8, %r0
add %r7, %r6
mov %r4, %r6
lsh %r4, 17
rsh %r6, 47
or %r6, %r4
xor %r6, %r7
mov %r4, %r7
lsh %r4, 32
rsh %r7, 32
or %r7, %r4
xor %r0, %r1
add %r9, 8
jlt %r9, 280, loop
xor %r0, %r6
xor %r7, %r8
xor %r0, %r7
and %r0, 1
add %r0, 1
out: exit
