# Reads the ports of UDP or TCP over IPv4, header options allowed, one VLAN tag allowed.
mov %r0, 2
mov %r4, %r2
add %r4, 18
jgt %r4, %r3, out
ldxh %r5, [%r2+12]
mov %r6, %r2
add %r6, 14
jne %r5, 0x0081, untagged
ldxh %r5, [%r2+16]
add %r6, 4
untagged: jne %r5, 0x0008, out
mov %r4, %r6
add %r4, 20
jgt %r4, %r3, out
ldxb %r5, [%r6+0]
and %r5, 15
lsh %r5, 2
jlt %r5, 20, out
ldxb %r7, [%r6+9]
ldxh %r8, [%r6+6]
and %r8, 0xff1f
jne %r8, 0, out
add %r6, %r5
mov %r4, %r6
add %r4, 4
jgt %r4, %r3, out
jeq %r7, 17, ports
jne %r7, 6, out
ports: ldxh %r5, [%r6+2]
be16 %r5
jne %r5, 7, out
mov %r0, 1
out: exit
