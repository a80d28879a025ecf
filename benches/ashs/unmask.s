# A message's 1,024 bytes under a mask of eight, in place, as WebSocket has it.
lddw %r8, 0x1234567812345678
mov %r4, 0
loop: mov %r5, %r2
add %r5, %r4
mov %r6, %r5
add %r6, 50
jgt %r6, %r3, done
ldxdw %r7, [%r5+42]
xor %r7, %r8
stxdw [%r5+42], %r7
add %r4, 8
jlt %r4, 1024, loop
done: mov %r0, 2
exit
