# The end of the first line in 600 bytes, and how many were blanks: there is no end.
mov %r0, 0
mov %r4, 0
loop: mov %r5, %r2
add %r5, %r4
mov %r6, %r5
add %r6, 43
jgt %r6, %r3, done
ldxb %r7, [%r5+42]
jeq %r7, 10, done
jne %r7, 32, next
add %r0, 1
next: add %r4, 1
jlt %r4, 600, loop
done: and %r0, 1
add %r0, 1
exit
