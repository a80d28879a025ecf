//! Functions: which instruction belongs to which, who calls whom, how deep.

use alloc::vec::Vec;

use ebpf::limits::CALL_DEPTH;
use ebpf::{CallTarget, Insn, Program};

use crate::graph::successors;
use crate::refusal::{Refusal, UnsafeReason};

/// Instructions shared out among functions, in steps.
#[derive(Debug)]
pub(super) struct Partition {
    /// The function of each slot.
    owner: Vec<u32>,
    /// The first slot of each function, the main one first.
    entries: Vec<u32>,
    /// Number of its instructions.
    sizes: Vec<u32>,
    /// Caller, callee, and the slot of the call.
    calls: Vec<(u32, u32, u32)>,
    /// Function that begins at each slot, for those where one does.
    begins: Vec<u32>,
    /// Slots of the function being walked whose successors were not looked at.
    open: Vec<u32>,
    /// The function being walked.
    current: u32,
    phase: Phase,
    /// Longest chain of calls to each function, and the call that it ends with.
    depth: Vec<(u8, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// From each entry along the edges.
    Walk,
    /// Over all slots, for those that nothing reaches; the next one.
    Sweep(u32),
    /// Over all calls, once for each level; the round and the next call.
    Depth(usize, usize),
}

const NONE: u32 = u32::MAX;

pub(super) const fn heap_bytes(slots: usize) -> usize {
    slots * 2 * size_of::<u32>()
        + crate::arena::table(slots, size_of::<u32>()) * 3
        + crate::arena::table(slots, size_of::<(u32, u32, u32)>())
        + slots * size_of::<(u8, u32)>()
}

impl Partition {
    pub(super) fn new(slots: usize) -> Partition {
        let mut partition = Partition {
            owner: alloc::vec![NONE; slots],
            entries: Vec::new(),
            sizes: Vec::new(),
            calls: Vec::new(),
            begins: alloc::vec![NONE; slots],
            open: Vec::new(),
            current: 0,
            phase: Phase::Walk,
            depth: Vec::new(),
        };
        partition.begin(0);
        partition
    }

    /// The first slots of the functions.
    pub(super) fn entries(&self) -> &[u32] {
        &self.entries
    }

    /// Instructions of a function.
    pub(super) fn slots(&self, function: usize) -> usize {
        self.sizes.get(function).copied().unwrap_or(0) as usize
    }

    /// Does one item of work; `true` when all is done.
    pub(super) fn advance(&mut self, program: &Program) -> Result<bool, Refusal> {
        match self.phase {
            Phase::Walk => self.walk(program).map(|()| false),
            Phase::Sweep(pc) => self.sweep(program, pc).map(|()| false),
            Phase::Depth(round, call) => self.deepen(round, call),
        }
    }

    /// The function that begins at a slot.
    fn begin(&mut self, entry: u32) -> u32 {
        let Some(seat) = self.begins.get_mut(entry as usize) else { return NONE };
        if *seat == NONE {
            *seat = self.entries.len() as u32;
            self.entries.push(entry);
            self.sizes.push(0);
        }
        *seat
    }

    fn walk(&mut self, program: &Program) -> Result<(), Refusal> {
        let Some(pc) = self.open.pop() else {
            match self.entries.get(self.current as usize) {
                Some(&entry) if self.owner.get(entry as usize) == Some(&NONE) => {
                    self.claim(entry, entry)?;
                }
                // The walk of a function begins with its entry; it is done when nothing is open.
                Some(_) => self.current += 1,
                None => self.phase = Phase::Sweep(0),
            }
            return Ok(());
        };
        let Some(insn) = program.get(pc) else {
            return Err(Refusal::unsafety(pc, UnsafeReason::Malformed));
        };
        if let Insn::Call { target: CallTarget::Local(entry) } = *insn {
            let callee = self.begin(entry);
            self.calls.push((self.current, callee, pc));
        }
        for next in successors(insn, pc).into_iter().flatten() {
            self.claim(pc, next)?;
        }
        Ok(())
    }

    /// The slot `next`, that `pc` goes to, belongs to the function being walked.
    fn claim(&mut self, pc: u32, next: u32) -> Result<(), Refusal> {
        match self.owner.get_mut(next as usize) {
            Some(owner) if *owner == NONE => {
                *owner = self.current;
                self.open.push(next);
                if let Some(size) = self.sizes.get_mut(self.current as usize) {
                    *size += 1;
                }
                Ok(())
            }
            Some(owner) if *owner == self.current => Ok(()),
            Some(_) => Err(Refusal::unsafety(pc, UnsafeReason::SharedCode)),
            None => Err(Refusal::unsafety(pc, UnsafeReason::Malformed)),
        }
    }

    fn sweep(&mut self, program: &Program, pc: u32) -> Result<(), Refusal> {
        self.phase = Phase::Sweep(pc + 1);
        match (program.get(pc), self.owner.get(pc as usize)) {
            (Some(Insn::LoadImm64High), _) => {}
            (Some(_), Some(&NONE)) => {
                return Err(Refusal::unsafety(pc, UnsafeReason::UnreachableCode));
            }
            (Some(_), _) => {
                // A function that begins inside another has no code of its own.
                let begins = self.begins.get(pc as usize).copied().unwrap_or(NONE);
                if begins != NONE && self.owner.get(pc as usize) != Some(&begins) {
                    return Err(Refusal::unsafety(pc, UnsafeReason::SharedCode));
                }
            }
            (None, _) => {
                self.depth = alloc::vec![(1, NONE); self.entries.len()];
                self.phase = Phase::Depth(0, 0);
            }
        }
        Ok(())
    }

    /// Each round finds the chains of calls that are longer by one.
    fn deepen(&mut self, round: usize, call: usize) -> Result<bool, Refusal> {
        let Some(&(caller, callee, pc)) = self.calls.get(call) else {
            self.phase = Phase::Depth(round + 1, 0);
            return Ok(round > CALL_DEPTH || self.calls.is_empty());
        };
        self.phase = Phase::Depth(round, call + 1);
        let above = self.depth.get(caller as usize).map_or(1, |&(depth, _)| depth);
        if let Some(seat) = self.depth.get_mut(callee as usize)
            && seat.0 <= above
        {
            *seat = (above + 1, caller);
        }
        if usize::from(above) >= CALL_DEPTH {
            let reason = if self.is_cycle(caller) {
                UnsafeReason::Recursion
            } else {
                UnsafeReason::CallDepth
            };
            return Err(Refusal::unsafety(pc, reason));
        }
        Ok(false)
    }

    /// Whether the chain of calls to a function comes through one of them twice.
    fn is_cycle(&self, function: u32) -> bool {
        let mut chain = [NONE; CALL_DEPTH + 1];
        let mut at = function;
        for place in 0..=CALL_DEPTH {
            if at == NONE || chain.contains(&at) {
                return at != NONE;
            }
            chain[place] = at;
            at = self.depth.get(at as usize).map_or(NONE, |&(_, caller)| caller);
        }
        false
    }
}
