# The checksum of an IPv4 header without options: ten halves, folded twice.
mov %r0, 2
mov %r4, %r2
add %r4, 34
jgt %r4, %r3, out
ldxh %r5, [%r2+14]
ldxh %r6, [%r2+16]
add %r5, %r6
ldxh %r6, [%r2+18]
add %r5, %r6
ldxh %r6, [%r2+20]
add %r5, %r6
ldxh %r6, [%r2+22]
add %r5, %r6
ldxh %r6, [%r2+24]
add %r5, %r6
ldxh %r6, [%r2+26]
add %r5, %r6
ldxh %r6, [%r2+28]
add %r5, %r6
ldxh %r6, [%r2+30]
add %r5, %r6
ldxh %r6, [%r2+32]
add %r5, %r6
mov %r6, %r5
rsh %r6, 16
and %r5, 0xffff
add %r5, %r6
mov %r6, %r5
rsh %r6, 16
add %r5, %r6
xor %r5, 0xffff
and %r5, 1
add %r5, 1
mov %r0, %r5
out: exit
