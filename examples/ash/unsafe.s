# An ASH that must not be bound: it reads byte 60 of the packet without asking how long that is.
    ldxw    %r2, [%r1+0]
    ldxb    %r0, [%r2+60]
    and     %r0, 1
    exit
