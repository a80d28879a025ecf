# An array's entry by a byte of the frame.
mov %r6, 2
mov %r4, %r2
add %r4, 42
jgt %r4, %r3, out
ldxb %r5, [%r2+37]
stxw [%r10-4], %r5
lddw %r1, map_fd 0
mov %r2, %r10
add %r2, -4
call helper 1
jeq %r0, 0, out
ldxdw %r6, [%r0+0]
and %r6, 1
add %r6, 1
out: mov %r0, %r6
exit
