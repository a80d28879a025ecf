//! The way that a state came: which way it went at each branch since the entry.
//!
//! One bit for each branch is enough, because everything between branches is given by the program.
//! Where states are joined the shorter way is kept, a loop's state keeps the way to its first
//! round, and a way with more branches than there is room for is forgotten: what is shown of a
//! refusal then is no way of the proof. Nothing is decided by it.

use alloc::vec::Vec;

use ebpf::limits::CALL_DEPTH;
use ebpf::{CallTarget, Insn, Program};

use crate::limits::{PATH_MAX, TURNS_MAX};

const WORDS: usize = TURNS_MAX / 64;

/// A way from the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trail {
    /// Bit n: the branch that came n-th was taken.
    taken: [u64; WORDS],
    /// Branches so far; more than there is room for: forgotten.
    turns: u16,
    /// Instructions so far.
    steps: u32,
}

impl Trail {
    /// Nothing was run yet.
    pub(super) const START: Trail = Trail { taken: [0; WORDS], turns: 0, steps: 0 };

    /// One instruction more.
    pub(super) const fn step(&mut self) {
        self.steps = self.steps.saturating_add(1);
    }

    /// A branch was taken or not.
    pub(super) fn turn(&mut self, taken: bool) {
        let at = usize::from(self.turns);
        if let Some(word) = self.taken.get_mut(at / 64) {
            *word |= u64::from(taken) << (at % 64);
            self.turns += 1;
        } else {
            // Behind the last word: forgotten from here on.
            self.turns = u16::MAX;
        }
    }

    /// The shorter of two ways.
    pub(super) const fn shorter(self, other: Trail) -> Trail {
        if self.steps <= other.steps { self } else { other }
    }

    /// The slots from the entry to `goal`, both included; empty if that is not known, or too long
    /// to tell.
    pub(super) fn path(&self, program: &Program, goal: u32) -> Vec<u32> {
        let (mut path, mut callers) = (Vec::new(), Vec::new());
        let (mut pc, mut turns) = (0, 0..self.turns);
        while let Some(insn) = program.get(pc) {
            path.push(pc);
            if pc == goal && turns.is_empty() {
                return path;
            }
            if path.len() >= PATH_MAX {
                break;
            }
            let taken = match insn {
                Insn::Branch { .. } => match turns.next() {
                    Some(turn) => self.taken(turn),
                    None => break,
                },
                _ => true,
            };
            let Some(next) = next(insn, pc, taken, &mut callers) else { break };
            pc = next;
        }
        Vec::new()
    }

    fn taken(&self, turn: u16) -> bool {
        let word = self.taken.get(usize::from(turn) / 64).copied().unwrap_or(0);
        word & 1 << (turn % 64) != 0
    }
}

/// Where a run goes on; `None` at its end.
fn next(insn: &Insn, pc: u32, taken: bool, callers: &mut Vec<u32>) -> Option<u32> {
    match *insn {
        Insn::Exit => callers.pop(),
        Insn::Call { target: CallTarget::Local(entry) } if callers.len() < CALL_DEPTH => {
            callers.push(pc + 1);
            Some(entry)
        }
        Insn::LoadImm64 { .. } => Some(pc + 2),
        _ => insn.jump_target().filter(|_| taken).or(Some(pc + 1)),
    }
}

const _: () = assert!(TURNS_MAX < u16::MAX as usize && TURNS_MAX.is_multiple_of(64));
