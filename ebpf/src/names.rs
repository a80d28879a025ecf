//! The words of the text form, shared by assembler and disassembler.
//!
//! One table for each sort of word, read in both directions: what is printed is what is read.

use crate::insn::{AluOp, AtomicOp, ByteOrder, Cond, Size};

/// Arithmetic; `32` is appended for the 32-bit width.
pub(crate) const ALU: [(AluOp, &str); 14] = [
    (AluOp::Add, "add"),
    (AluOp::Sub, "sub"),
    (AluOp::Mul, "mul"),
    (AluOp::Div, "div"),
    (AluOp::Sdiv, "sdiv"),
    (AluOp::Mod, "mod"),
    (AluOp::Smod, "smod"),
    (AluOp::Or, "or"),
    (AluOp::And, "and"),
    (AluOp::Xor, "xor"),
    (AluOp::Lsh, "lsh"),
    (AluOp::Rsh, "rsh"),
    (AluOp::Arsh, "arsh"),
    (AluOp::Mov, "mov"),
];

/// Conditional branches; `32` is appended for the 32-bit width.
pub(crate) const BRANCH: [(Cond, &str); 11] = [
    (Cond::Eq, "jeq"),
    (Cond::Ne, "jne"),
    (Cond::Gt, "jgt"),
    (Cond::Ge, "jge"),
    (Cond::Lt, "jlt"),
    (Cond::Le, "jle"),
    (Cond::Set, "jset"),
    (Cond::Sgt, "jsgt"),
    (Cond::Sge, "jsge"),
    (Cond::Slt, "jslt"),
    (Cond::Sle, "jsle"),
];

/// Atomic operations; `32` is appended for four bytes.
pub(crate) const ATOMIC: [(AtomicOp, &str); 6] = [
    (AtomicOp::Add, "add"),
    (AtomicOp::Or, "or"),
    (AtomicOp::And, "and"),
    (AtomicOp::Xor, "xor"),
    (AtomicOp::Xchg, "xchg"),
    (AtomicOp::Cmpxchg, "cmpxchg"),
];

/// Byte swaps; the width in bits is appended. The first name of each order is the printed one.
pub(crate) const ENDIAN: [(ByteOrder, &str); 4] = [
    (ByteOrder::Le, "le"),
    (ByteOrder::Be, "be"),
    (ByteOrder::Swap, "swap"),
    (ByteOrder::Swap, "bswap"),
];

/// Access sizes, appended to `ldx`, `ldxs`, `stx` and `st`.
pub(crate) const SIZE: [(Size, &str); 4] =
    [(Size::B1, "b"), (Size::B2, "h"), (Size::B4, "w"), (Size::B8, "dw")];

/// The name of a thing in one of the tables above.
pub(crate) fn name<T: PartialEq>(table: &[(T, &'static str)], thing: &T) -> &'static str {
    table.iter().find(|entry| entry.0 == *thing).map_or("?", |entry| entry.1)
}

/// The thing with a name in one of the tables above.
pub(crate) fn thing<T: Copy>(table: &[(T, &'static str)], name: &str) -> Option<T> {
    table.iter().find(|entry| entry.1 == name).map(|entry| entry.0)
}
