# An attack: a predicate that never says anything, and takes for ever to do so.
    mov     %r0, 0
again:
    ja      again
