# How often each byte was seen in 64: a look-up in an array and an update for each.
mov %r8, %r2
mov %r7, %r3
mov %r9, 0
loop: mov %r4, %r8
add %r4, %r9
mov %r5, %r4
add %r5, 27
jgt %r5, %r7, done
ldxb %r5, [%r4+26]
and %r5, 63
stxw [%r10-4], %r5
lddw %r1, map_fd 0
mov %r2, %r10
add %r2, -4
call helper 1
jeq %r0, 0, next
ldxdw %r5, [%r0+0]
add %r5, 1
stxdw [%r0+0], %r5
next: add %r9, 1
jlt %r9, 64, loop
done: mov %r0, 2
exit
