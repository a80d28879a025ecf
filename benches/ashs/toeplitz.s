# The hash that cards spread flows with, of addresses and ports: a window of the key for each bit.
mov %r4, %r2
add %r4, 42
mov %r0, 2
jgt %r4, %r3, out
ldxdw %r7, [%r2+26]
ldxw %r9, [%r2+34]
lddw %r8, 0x6d5a56da255b0ec2
mov %r0, 0
mov %r4, 0
loop: mov %r5, %r7
rsh %r5, %r4
and %r5, 1
neg %r5
mov %r6, %r8
lsh %r6, %r4
and %r5, %r6
xor %r0, %r5
mov %r5, %r9
rsh %r5, %r4
and %r5, 1
neg %r5
mov %r6, %r8
rsh %r6, %r4
and %r5, %r6
xor %r0, %r5
add %r4, 1
jlt %r4, 64, loop
rsh %r0, 32
and %r0, 1
add %r0, 1
out: exit
