//! Sets of registers: what an instruction reads.
//!
//! Bit n of a set is register n. A table from instruction to set, without a default arm: whoever
//! computes what is live (safety proof, claim proof) asks here.

use ebpf::{AluOp, AtomicOp, CallTarget, Insn, Operand, Reg};

/// Registers that a call reads, whatever it takes of them.
pub(crate) const ARGUMENTS: u16 = 0b11_1110;

/// The set with one register.
pub(crate) const fn bit(reg: Reg) -> u16 {
    1 << reg.number()
}

const fn source(operand: Operand) -> u16 {
    match operand {
        Operand::Reg(reg) => bit(reg),
        Operand::Imm(_) => 0,
    }
}

/// The registers that an instruction reads.
pub(crate) fn reads(insn: &Insn) -> u16 {
    match *insn {
        Insn::Alu { op: AluOp::Mov, src, .. } => source(src),
        Insn::Alu { dst, src, .. } | Insn::Branch { dst, src, .. } => bit(dst) | source(src),
        Insn::Neg { dst, .. } | Insn::Endian { dst, .. } => bit(dst),
        Insn::MovSx { src, .. } => bit(src),
        Insn::LoadImm64 { .. } | Insn::LoadImm64High | Insn::Jump { .. } => 0,
        Insn::Load { base, .. } => bit(base),
        Insn::Store { base, src, .. } => bit(base) | source(src),
        Insn::Atomic { op: AtomicOp::Cmpxchg, base, src, .. } => {
            bit(base) | bit(src) | bit(Reg::R0)
        }
        Insn::Atomic { base, src, .. } => bit(base) | bit(src),
        Insn::Call { target: CallTarget::Register(reg) } => ARGUMENTS | bit(reg),
        // What the caller keeps in `r6` to `r9` it reads behind the call, if at all.
        Insn::Call { .. } => ARGUMENTS,
        Insn::Exit => bit(Reg::R0),
    }
}
