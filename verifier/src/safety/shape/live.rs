//! Which registers something later may read.
//!
//! Two states that differ only in what nothing reads are the same state, and need not be told
//! apart. To forget a register is always sound: whoever read it after all would be refused.

use alloc::vec::Vec;

use ebpf::{Insn, Program, Reg};

use super::Shape;
use crate::graph::successors;
use crate::registers::{ARGUMENTS, bit, reads};

/// For each slot the registers that are live before it; bit n is register n.
#[derive(Debug)]
pub(super) struct Live {
    before: Vec<u16>,
    /// Ranks that this pass still has to look at.
    left: usize,
    changed: bool,
}

/// The most heap that a computation for a program of `slots` slots holds, in bytes.
pub(super) const fn heap_bytes(slots: usize) -> usize {
    slots * size_of::<u16>()
}

impl Live {
    pub(super) fn new(slots: usize) -> Live {
        Live { before: alloc::vec![0; slots], left: slots, changed: false }
    }

    /// The registers that are live before each slot.
    pub(super) fn before(self) -> Vec<u16> {
        self.before
    }

    /// Looks at one instruction, against the order; `true` when nothing changes any more.
    pub(super) fn advance(&mut self, program: &Program, shape: &Shape) -> bool {
        let Some(rank) = self.left.checked_sub(1) else {
            self.left = self.before.len();
            return !core::mem::take(&mut self.changed);
        };
        self.left = rank;
        let Some(pc) = shape.slot(rank as u32) else { return false };
        let Some(insn) = program.get(pc) else { return false };
        let after = successors(insn, pc)
            .into_iter()
            .flatten()
            .fold(0, |live, next| live | self.before.get(next as usize).copied().unwrap_or(0));
        let written = match *insn {
            // A call leaves nothing of the arguments.
            Insn::Call { .. } => ARGUMENTS | bit(Reg::R0),
            _ => insn.written().map_or(0, bit),
        };
        let live = after & !written | reads(insn) | bit(Reg::R10);
        if let Some(before) = self.before.get_mut(pc as usize)
            && *before != live
        {
            *before = live;
            self.changed = true;
        }
        false
    }
}
