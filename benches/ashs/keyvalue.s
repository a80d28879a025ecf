# A hash map's entry by eight bytes of the frame: there is none.
mov %r6, 2
mov %r4, %r2
add %r4, 50
jgt %r4, %r3, out
ldxdw %r5, [%r2+34]
stxdw [%r10-8], %r5
lddw %r1, map_fd 0
mov %r2, %r10
add %r2, -8
call helper 1
jeq %r0, 0, out
mov %r6, 1
out: mov %r0, %r6
exit
