# A key-value store: thirty-two keys looked up in a hash map, each made if it is not there.
mov %r8, %r2
mov %r7, %r3
mov %r9, 0
loop: mov %r4, %r8
add %r4, %r9
mov %r5, %r4
add %r5, 34
jgt %r5, %r7, done
ldxdw %r5, [%r4+26]
mov %r4, %r9
lsh %r4, 56
add %r5, %r4
stxdw [%r10-8], %r5
lddw %r1, map_fd 0
mov %r2, %r10
add %r2, -8
call helper 1
jeq %r0, 0, missing
ldxdw %r5, [%r0+8]
add %r5, 1
stxdw [%r0+8], %r5
ja next
missing: stdw [%r10-24], 1
stdw [%r10-16], 1
lddw %r1, map_fd 0
mov %r2, %r10
add %r2, -8
mov %r3, %r10
add %r3, -24
mov %r4, 0
call helper 2
next: add %r9, 1
jlt %r9, 32, loop
done: mov %r0, 2
exit
