# Time to live one less, the checksum by what changed (RFC 1624), addresses of the link swapped.
mov %r0, 2
mov %r4, %r2
add %r4, 34
jgt %r4, %r3, out
ldxb %r5, [%r2+22]
add %r5, 255
stxb [%r2+22], %r5
ldxh %r5, [%r2+24]
add %r5, 1
mov %r6, %r5
rsh %r6, 16
add %r5, %r6
stxh [%r2+24], %r5
ldxw %r5, [%r2+0]
ldxh %r6, [%r2+4]
ldxw %r7, [%r2+6]
ldxh %r8, [%r2+10]
stxw [%r2+0], %r7
stxh [%r2+4], %r8
stxw [%r2+6], %r5
stxh [%r2+10], %r6
mov %r0, 3
out: exit
