//! What the compiler must know of the accepted program, noted at each visit of the last pass.
//!
//! A load reads the context or memory, in every run the same: the context's pointers are wider
//! than its loads. Which map a call is given, and which helper an indirect call calls, is noted
//! where it is the same in every run; of the helper it must be.

use alloc::sync::Arc;
use alloc::vec::Vec;

use ebpf::context::Field;
use ebpf::{CallTarget, Insn, Reg};

use super::entail;
use super::state::State;
use super::value::Value;
use crate::arena;
use crate::refusal::{Refusal, UnsafeReason};

/// What was noted, by slot.
#[derive(Debug)]
pub(super) struct Record {
    notes: Vec<(u32, Note)>,
}

/// What an instruction does in every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// The load reads this of the context.
    Context(Field),
    /// The load reads memory.
    Memory,
    /// The call's first argument is this map.
    Map(u32),
    /// The call's first argument is one map or another.
    SomeMap,
    /// The indirect call calls this helper, with this map as first argument if that is one.
    Helper(u32, Option<u32>),
}

/// The most heap that the notes on a program of `slots` slots take, in bytes, the copy that is kept
/// included.
pub(super) const fn heap_bytes(slots: usize) -> usize {
    arena::table(slots, size_of::<(u32, Note)>()) + slots * size_of::<(u32, Note)>()
}

impl Record {
    pub(super) const fn new() -> Record {
        Record { notes: Vec::new() }
    }

    /// Notes what `insn` does in `state`, which meets its obligations.
    pub(super) fn visit(&mut self, pc: u32, insn: &Insn, state: &State) -> Result<(), Refusal> {
        let note = match *insn {
            Insn::Load { base, offset, .. } => match state.get(base) {
                Value::Context => Field::at(offset.into()).map_or(Note::Memory, Note::Context),
                _ => Note::Memory,
            },
            Insn::Call { target: CallTarget::Helper(_) } => match map_in(state) {
                Some(map) => Note::Map(map),
                None => return Ok(()),
            },
            Insn::Call { target: CallTarget::Register(reg) } => {
                let id = entail::helper_in(state, reg);
                Note::Helper(id.map_err(|reason| Refusal::unsafety(pc, reason))?, map_in(state))
            }
            _ => return Ok(()),
        };
        let at = match self.notes.binary_search_by_key(&pc, |&(at, _)| at) {
            Ok(at) => at,
            Err(at) => {
                self.notes.insert(at, (pc, note));
                return Ok(());
            }
        };
        let Some((_, before)) = self.notes.get_mut(at) else { return Ok(()) };
        match (*before, note) {
            (x, y) if x == y => Ok(()),
            (Note::Map(_) | Note::SomeMap, _) => {
                *before = Note::SomeMap;
                Ok(())
            }
            (Note::Helper(x, _), Note::Helper(y, _)) if x == y => {
                *before = Note::Helper(x, None);
                Ok(())
            }
            (Note::Helper(..), _) => Err(Refusal::unsafety(pc, UnsafeReason::IndirectCall)),
            _ => Err(Refusal::unsafety(pc, UnsafeReason::MixedRegister(base_of(insn)))),
        }
    }

    /// What was noted, ascending by slot; of memory nothing need be known.
    pub(super) fn facts(&self) -> Arc<[(u32, Note)]> {
        let told = |note: &&(u32, Note)| !matches!(note.1, Note::Memory | Note::SomeMap);
        self.notes.iter().filter(told).copied().collect()
    }
}

fn map_in(state: &State) -> Option<u32> {
    match state.get(Reg::R1) {
        Value::Map(map) => Some(map),
        _ => None,
    }
}

fn base_of(insn: &Insn) -> Reg {
    match *insn {
        Insn::Load { base, .. } => base,
        _ => Reg::R1,
    }
}
