//! Which registers something later may read.
//!
//! Two symbolic states that differ only in registers that nothing reads are the same state. Without
//! that, a register left over from one test would keep the tests behind it from being shared.

use alloc::vec::Vec;

use ebpf::{Program, Reg};

use crate::graph::successors;
use crate::registers::{bit, reads};

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
            *before = after & !written | reads(insn) | bit(Reg::R10);
        }
    }
}
