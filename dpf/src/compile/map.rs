//! Which machine register holds which eBPF register.
//!
//! `r0` is the System V result, `r1..r5` its first five arguments, `r6..r9` and `r10` registers
//! that a callee saves. Free for sequences: `r9`, `r10`, `r11` (caller-saved). `r12` is unused, or
//! keeps the context of the run for helpers that are given it.

use ebpf::Reg;

use crate::x86::Gpr;

/// Scratch: lost by any eBPF instruction.
pub(super) const SCRATCH: Gpr = Gpr::R11;
/// Scratch: keeps `rax` during a sequence.
pub(super) const KEEP_RAX: Gpr = Gpr::R10;
/// Scratch: keeps `rdx` during a sequence.
pub(super) const KEEP_RDX: Gpr = Gpr::R9;

/// Keeps the address of the run's context where a program calls a helper that wants it.
pub(super) const RUN: Gpr = Gpr::R12;

const MAP: [Gpr; 11] = [
    Gpr::RAX,
    Gpr::RDI,
    Gpr::RSI,
    Gpr::RDX,
    Gpr::RCX,
    Gpr::R8,
    Gpr::RBX,
    Gpr::R13,
    Gpr::R14,
    Gpr::R15,
    Gpr::RBP,
];

/// The machine register of an eBPF register.
pub(super) fn machine(reg: Reg) -> Gpr {
    MAP[reg.index()]
}
