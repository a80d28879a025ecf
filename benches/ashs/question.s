# Copies forty bytes behind the UDP header to the stack, lower case, and compares two words (as a
# name server looks for a name).
mov %r0, 2
mov %r4, %r2
add %r4, 90
jgt %r4, %r3, out
lddw %r8, 0x2020202020202020
ldxdw %r5, [%r2+50]
or %r5, %r8
stxdw [%r10-40], %r5
ldxdw %r5, [%r2+58]
or %r5, %r8
stxdw [%r10-32], %r5
ldxdw %r5, [%r2+66]
or %r5, %r8
stxdw [%r10-24], %r5
ldxdw %r5, [%r2+74]
or %r5, %r8
stxdw [%r10-16], %r5
ldxdw %r5, [%r2+82]
or %r5, %r8
stxdw [%r10-8], %r5
ldxdw %r5, [%r10-40]
ldxdw %r6, [%r10-24]
jne %r5, %r6, out
ldxdw %r5, [%r10-16]
jeq %r5, 5, out
mov %r0, 1
out: exit
