//! Which registers something later may read.
//!
//! Two symbolic states that differ only in registers that nothing reads are the same state. Without
//! that, a register left over from one test would keep the tests behind it from being shared.

use alloc::vec::Vec;

use ebpf::{AluOp, AtomicOp, Insn, Operand, Program, Reg};

use crate::graph::successors;

/// For each slot the registers that are live before it; bit n is register n.
#[derive(Debug)]
pub(super) struct Live {
    before: Vec<u16>,
}

impl Live {
    pub(super) fn new(slots: usize) -> Live {
        Live { before: alloc::vec![0; slots] }
    }

    pub(super) fn before(&self, pc: u32) -> u16 {
        self.before.get(pc as usize).copied().unwrap_or(0)
    }

    /// Computes one instruction; all that can follow it are computed.
    pub(super) fn compute(&mut self, program: &Program, pc: u32) {
        let Some(insn) = program.get(pc) else { return };
        let after = successors(insn, pc)
            .into_iter()
            .flatten()
            .fold(0, |live, next| live | self.before(next));
        let written = insn.written().map_or(0, |reg| 1 << reg.index());
        if let Some(before) = self.before.get_mut(pc as usize) {
            *before = after & !written | reads(insn);
        }
    }
}

fn bit(reg: Reg) -> u16 {
    1 << reg.index()
}

fn source(operand: Operand) -> u16 {
    match operand {
        Operand::Reg(reg) => bit(reg),
        Operand::Imm(_) => 0,
    }
}

/// The registers that an instruction reads; `r10` always counts as read.
fn reads(insn: &Insn) -> u16 {
    bit(Reg::R10)
        | match *insn {
            Insn::Alu { op: AluOp::Mov, src, .. } => source(src),
            Insn::Alu { dst, src, .. } => bit(dst) | source(src),
            Insn::Neg { dst, .. } | Insn::Endian { dst, .. } => bit(dst),
            Insn::MovSx { src, .. } => bit(src),
            Insn::LoadImm64 { .. } | Insn::LoadImm64High | Insn::Jump { .. } => 0,
            Insn::Load { base, .. } => bit(base),
            Insn::Store { base, src, .. } => bit(base) | source(src),
            Insn::Atomic { op: AtomicOp::Cmpxchg, base, src, .. } => {
                bit(base) | bit(src) | bit(Reg::R0)
            }
            Insn::Atomic { base, src, .. } => bit(base) | bit(src),
            Insn::Branch { dst, src, .. } => bit(dst) | source(src),
            // Arguments, whatever the helper takes of them.
            Insn::Call { .. } => 0b11_1110,
            Insn::Exit => bit(Reg::R0),
        }
}
