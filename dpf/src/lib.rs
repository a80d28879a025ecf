//! The engine: merges proven filters, dispatches, compiles to x86-64, checks what it emitted.
#![no_std]
