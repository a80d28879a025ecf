# FNV-1a over 256 bytes, one at a time.
lddw %r0, 0xcbf29ce484222325
lddw %r8, 0x100000001b3
mov %r4, 0
loop: mov %r5, %r2
add %r5, %r4
mov %r6, %r5
add %r6, 1
jgt %r6, %r3, done
ldxb %r7, [%r5+0]
xor %r0, %r7
mul %r0, %r8
add %r4, 1
jlt %r4, 256, loop
done: and %r0, 1
add %r0, 1
exit
