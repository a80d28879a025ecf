//! The numbers of RFC 9669: opcode fields and the codes of operations, in both directions.
//!
//! The only place where they stand. The tables are searched linearly: none is longer than
//! fourteen entries.

use crate::insn::{AluOp, AtomicOp, Cond, Size};

/// Instruction classes, the low three bits of the opcode (RFC 9669 §3.1).
pub(crate) const CLASS_MASK: u8 = 0x07;
/// Non-standard loads.
pub(crate) const LD: u8 = 0x00;
/// Loads into registers.
pub(crate) const LDX: u8 = 0x01;
/// Stores of immediates.
pub(crate) const ST: u8 = 0x02;
/// Stores of registers.
pub(crate) const STX: u8 = 0x03;
/// 32-bit arithmetic.
pub(crate) const ALU: u8 = 0x04;
/// 64-bit comparisons, jumps, calls.
pub(crate) const JMP: u8 = 0x05;
/// 32-bit comparisons.
pub(crate) const JMP32: u8 = 0x06;
/// 64-bit arithmetic.
pub(crate) const ALU64: u8 = 0x07;

/// The source operand is a register (RFC 9669 §4).
pub(crate) const X: u8 = 0x08;
/// Mask of the operation in arithmetic and jump opcodes.
pub(crate) const CODE_MASK: u8 = 0xf0;

/// Codes without a table of their own (RFC 9669 §4.1 to §4.3).
pub(crate) const NEG: u8 = 0x80;
pub(crate) const MOV: u8 = 0xb0;
pub(crate) const END: u8 = 0xd0;
pub(crate) const JA: u8 = 0x00;
pub(crate) const CALL: u8 = 0x80;
pub(crate) const EXIT: u8 = 0x90;

/// Modes of memory access, the high three bits (RFC 9669 §5).
pub(crate) const MODE_MASK: u8 = 0xe0;
pub(crate) const IMM: u8 = 0x00;
pub(crate) const ABS: u8 = 0x20;
pub(crate) const IND: u8 = 0x40;
pub(crate) const MEM: u8 = 0x60;
pub(crate) const MEMSX: u8 = 0x80;
pub(crate) const ATOMIC: u8 = 0xc0;
/// Mask of the access size.
pub(crate) const SIZE_MASK: u8 = 0x18;

/// The opcode of the 64-bit immediate load.
pub(crate) const LDDW: u8 = LD | IMM | 0x18;
/// The fetch bit of an atomic operation's immediate (RFC 9669 §5.3).
pub(crate) const FETCH: i32 = 0x01;

/// Operation, code, offset field: signed division is unsigned division at offset 1.
const ALU_OPS: [(AluOp, u8, i16); 14] = [
    (AluOp::Add, 0x00, 0),
    (AluOp::Sub, 0x10, 0),
    (AluOp::Mul, 0x20, 0),
    (AluOp::Div, 0x30, 0),
    (AluOp::Sdiv, 0x30, 1),
    (AluOp::Or, 0x40, 0),
    (AluOp::And, 0x50, 0),
    (AluOp::Lsh, 0x60, 0),
    (AluOp::Rsh, 0x70, 0),
    (AluOp::Mod, 0x90, 0),
    (AluOp::Smod, 0x90, 1),
    (AluOp::Xor, 0xa0, 0),
    (AluOp::Mov, MOV, 0),
    (AluOp::Arsh, 0xc0, 0),
];

const CONDS: [(Cond, u8); 11] = [
    (Cond::Eq, 0x10),
    (Cond::Gt, 0x20),
    (Cond::Ge, 0x30),
    (Cond::Set, 0x40),
    (Cond::Ne, 0x50),
    (Cond::Sgt, 0x60),
    (Cond::Sge, 0x70),
    (Cond::Lt, 0xa0),
    (Cond::Le, 0xb0),
    (Cond::Slt, 0xc0),
    (Cond::Sle, 0xd0),
];

/// Operation and immediate, without the fetch bit.
const ATOMICS: [(AtomicOp, i32); 6] = [
    (AtomicOp::Add, 0x00),
    (AtomicOp::Or, 0x40),
    (AtomicOp::And, 0x50),
    (AtomicOp::Xor, 0xa0),
    (AtomicOp::Xchg, 0xe0),
    (AtomicOp::Cmpxchg, 0xf0),
];

const SIZES: [(Size, u8); 4] =
    [(Size::B4, 0x00), (Size::B2, 0x08), (Size::B1, 0x10), (Size::B8, 0x18)];

/// Whether some arithmetic operation has this code, whatever its offset.
pub(crate) fn is_alu_code(code: u8) -> bool {
    ALU_OPS.iter().any(|entry| entry.1 == code)
}

/// The operation with this code and offset field.
pub(crate) fn alu_op(code: u8, offset: i16) -> Option<AluOp> {
    ALU_OPS.iter().find(|entry| (entry.1, entry.2) == (code, offset)).map(|entry| entry.0)
}

/// The code and offset field of an operation.
pub(crate) fn alu_code(op: AluOp) -> (u8, i16) {
    ALU_OPS.iter().find(|entry| entry.0 == op).map_or((0, 0), |entry| (entry.1, entry.2))
}

/// The comparison with this code.
pub(crate) fn cond(code: u8) -> Option<Cond> {
    CONDS.iter().find(|entry| entry.1 == code).map(|entry| entry.0)
}

/// The code of a comparison.
pub(crate) fn cond_code(cond: Cond) -> u8 {
    CONDS.iter().find(|entry| entry.0 == cond).map_or(0, |entry| entry.1)
}

/// The atomic operation with this immediate (fetch bit removed).
pub(crate) fn atomic_op(imm: i32) -> Option<AtomicOp> {
    ATOMICS.iter().find(|entry| entry.1 == imm).map(|entry| entry.0)
}

/// The immediate of an atomic operation, without the fetch bit.
pub(crate) fn atomic_imm(op: AtomicOp) -> i32 {
    ATOMICS.iter().find(|entry| entry.0 == op).map_or(0, |entry| entry.1)
}

/// The access size in an opcode.
pub(crate) fn size(opcode: u8) -> Size {
    let bits = opcode & SIZE_MASK;
    SIZES.iter().find(|entry| entry.1 == bits).map_or(Size::B8, |entry| entry.0)
}

/// The opcode bits of an access size.
pub(crate) fn size_bits(size: Size) -> u8 {
    SIZES.iter().find(|entry| entry.0 == size).map_or(0, |entry| entry.1)
}

#[cfg(test)]
mod tests {
    use super::{alu_code, alu_op, atomic_imm, atomic_op, cond, cond_code, size, size_bits};
    use crate::insn::{AluOp, AtomicOp, Cond, Size};

    #[test]
    fn the_tables_cover_every_operation_both_ways() {
        for op in AluOp::ALL {
            let (code, offset) = alu_code(op);
            assert_eq!(alu_op(code, offset), Some(op));
        }
        for condition in Cond::ALL {
            assert_eq!(cond(cond_code(condition)), Some(condition));
        }
        for op in AtomicOp::ALL {
            assert_eq!(atomic_op(atomic_imm(op)), Some(op));
        }
        for access in [Size::B1, Size::B2, Size::B4, Size::B8] {
            assert_eq!(size(size_bits(access)), access);
        }
    }
}
