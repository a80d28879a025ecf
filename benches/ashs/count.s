# Counts frames in an array, atomically, by a byte of the frame, and their bytes.
mov %r6, %r3
sub %r6, %r2
mov %r4, %r2
add %r4, 42
mov %r0, 2
jgt %r4, %r3, out
ldxb %r5, [%r2+37]
stxw [%r10-4], %r5
lddw %r1, map_fd 0
mov %r2, %r10
add %r2, -4
call helper 1
jeq %r0, 0, missing
mov %r1, 1
lock add [%r0+0], %r1
lock add [%r0+8], %r6
missing: mov %r0, 2
out: exit
