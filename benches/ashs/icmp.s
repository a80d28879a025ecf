# Ping's checksum: the halves of 1,480 bytes behind the IPv4 header, folded; a pointer that moves.
mov %r0, 0
mov %r5, %r2
add %r5, 34
mov %r4, 0
loop: mov %r6, %r5
add %r6, 2
jgt %r6, %r3, done
ldxh %r7, [%r5+0]
add %r0, %r7
mov %r5, %r6
add %r4, 1
jlt %r4, 740, loop
done: mov %r6, %r0
rsh %r6, 16
and %r0, 0xffff
add %r0, %r6
and %r0, 1
add %r0, 1
exit
