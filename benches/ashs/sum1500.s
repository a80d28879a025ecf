# All of a frame's first 1,496 bytes, eight at a time.
mov %r0, 0
mov %r4, 0
loop: mov %r5, %r2
add %r5, %r4
mov %r6, %r5
add %r6, 8
jgt %r6, %r3, done
ldxdw %r7, [%r5+0]
add %r0, %r7
add %r4, 8
jlt %r4, 1496, loop
done: and %r0, 1
add %r0, 1
exit
