# A name of 100 bytes in lower case, hashed: what a name server does with a question.
mov %r0, 5381
mov %r4, 0
loop: mov %r5, %r2
add %r5, %r4
mov %r6, %r5
add %r6, 101
jgt %r6, %r3, done
ldxb %r7, [%r5+100]
jeq %r7, 0, done
mov %r8, %r7
add %r8, -65
and %r8, 0xff
jgt %r8, 25, as_is
or %r7, 0x20
as_is: mov %r8, %r0
lsh %r8, 5
add %r0, %r8
add %r0, %r7
add %r4, 1
jlt %r4, 100, loop
done: and %r0, 1
add %r0, 1
exit
