# Byte order back and forth of what a header holds.
mov %r0, 2
mov %r4, %r2
add %r4, 42
jgt %r4, %r3, out
mov %r0, 0
ldxh %r5, [%r2+12]
be16 %r5
add %r0, %r5
ldxh %r5, [%r2+16]
be16 %r5
add %r0, %r5
ldxh %r5, [%r2+18]
be16 %r5
add %r0, %r5
ldxh %r5, [%r2+34]
be16 %r5
add %r0, %r5
ldxh %r5, [%r2+36]
be16 %r5
add %r0, %r5
ldxh %r5, [%r2+38]
be16 %r5
add %r0, %r5
ldxw %r5, [%r2+26]
be32 %r5
add %r0, %r5
ldxw %r5, [%r2+30]
be32 %r5
add %r0, %r5
and %r0, 1
add %r0, 1
out: exit
