# Eight entries of a hash map written whole, by key.
mov %r8, %r2
mov %r4, %r2
add %r4, 42
mov %r0, 2
jgt %r4, %r3, out
ldxdw %r7, [%r8+34]
mov %r9, 0
loop: mov %r5, %r7
add %r5, %r9
stxdw [%r10-8], %r5
stxdw [%r10-24], %r9
stdw [%r10-16], 1
lddw %r1, map_fd 0
mov %r2, %r10
add %r2, -8
mov %r3, %r10
add %r3, -24
mov %r4, 0
call helper 2
add %r9, 1
jlt %r9, 8, loop
mov %r0, 2
out: exit
