# Five words of the headers as decimal digits, summed: quotients and remainders by ten.
mov %r4, %r2
add %r4, 50
mov %r0, 2
jgt %r4, %r3, out
mov %r0, 0
mov %r8, 0
word: mov %r5, %r2
add %r5, %r8
ldxw %r7, [%r5+26]
mov %r9, 0
digit: mov %r6, %r7
div %r6, 10
mod %r7, 10
add %r0, %r7
mov %r7, %r6
add %r9, 1
jlt %r9, 10, digit
add %r8, 4
jlt %r8, 20, word
and %r0, 1
add %r0, 1
out: exit
