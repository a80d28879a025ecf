//! Instructions in weak topological order: strongly connected components, and those within them.
//!
//! Tarjan's algorithm ("Depth-first search and linear graph algorithms", 1972) finds the components
//! of a set of slots, last first. One with a cycle is a loop: its first slot becomes the head, the
//! edges to the head are left out, and the rest is a set of its own. The depth-first walk keeps its
//! path in a list.

use alloc::vec::Vec;

use ebpf::Program;

use super::calls::Partition;
use super::{Function, Loop};
use crate::graph::successors;
use crate::limits::LOOP_DEPTH_MAX;
use crate::refusal::{Refusal, UnsafeReason};

/// The order, as far as it is known.
#[derive(Debug)]
pub(super) struct Ordering {
    pub(super) order: Vec<u32>,
    pub(super) rank: Vec<u32>,
    pub(super) functions: Vec<Function>,
    pub(super) loops: Vec<Loop>,
    /// The set that each slot is in, by number.
    set: Vec<u32>,
    sets: u32,
    /// Tarjan's index and low link of each slot of the set being walked; 0 is not visited.
    index: Vec<u32>,
    low: Vec<u32>,
    counter: u32,
    /// Visited slots whose component is not known.
    pending: Vec<u32>,
    path: Vec<(u32, u8)>,
    task: Option<Task>,
    /// Sets within sets, to be done when the walk of their own is over.
    later: Vec<Task>,
    next_function: usize,
}

/// A set of slots to be brought into order.
#[derive(Clone, Copy, Debug)]
struct Task {
    /// The first rank that is not for it; ranks are given from the last down.
    end: u32,
    /// The number of the set.
    set: u32,
    /// Where walks begin that did not yet.
    from: [Option<u32>; 2],
    depth: usize,
}

/// The component is known.
const DONE: u32 = u32::MAX;
const NO_SET: u32 = u32::MAX;

pub(super) const fn heap_bytes(slots: usize) -> usize {
    slots * 3 * size_of::<u32>()
        + crate::arena::table(slots, size_of::<u32>())
        + crate::arena::table(slots, size_of::<(u32, u8)>())
        + crate::arena::table(slots, size_of::<Task>())
}

impl Ordering {
    pub(super) fn new(slots: usize) -> Ordering {
        Ordering {
            order: Vec::with_capacity(slots),
            rank: alloc::vec![u32::MAX; slots],
            functions: Vec::new(),
            loops: Vec::new(),
            set: alloc::vec![0; slots],
            sets: 0,
            index: alloc::vec![0; slots],
            low: alloc::vec![0; slots],
            counter: 0,
            pending: Vec::new(),
            path: Vec::new(),
            task: None,
            later: Vec::new(),
            next_function: 0,
        }
    }

    /// Does one item of work; `true` when all is done.
    pub(super) fn advance(
        &mut self,
        program: &Program,
        partition: &Partition,
    ) -> Result<bool, Refusal> {
        if let Some(&(pc, edge)) = self.path.last() {
            return self.follow(program, pc, edge).map(|()| false);
        }
        match self.task.or_else(|| self.later.pop()) {
            Some(task) => {
                self.start(task);
                Ok(false)
            }
            None => Ok(self.next_function(partition)),
        }
    }

    /// Makes the next function a task: its ranks follow those of the functions before.
    fn next_function(&mut self, partition: &Partition) -> bool {
        let Some(&entry) = partition.entries().get(self.next_function) else { return true };
        let slots = partition.slots(self.next_function);
        let start = self.order.len() as u32;
        self.order.resize(self.order.len() + slots, 0);
        let end = self.order.len() as u32;
        self.functions.push(Function { entry, start, end });
        self.next_function += 1;
        self.task = Some(Task { end, set: 0, from: [Some(entry), None], depth: 0 });
        false
    }

    /// Begins the next walk of a task, or drops it when nothing is left to walk from.
    fn start(&mut self, mut task: Task) {
        let next = task.from.iter_mut().find_map(Option::take);
        self.task = next.map(|_| task);
        if let Some(slot) = next.filter(|&slot| self.is_new(slot, task.set)) {
            self.visit(slot);
        }
    }

    fn is_new(&self, slot: u32, set: u32) -> bool {
        self.set.get(slot as usize) == Some(&set) && self.index.get(slot as usize) == Some(&0)
    }

    fn visit(&mut self, slot: u32) {
        self.counter += 1;
        let at = slot as usize;
        if let (Some(index), Some(low)) = (self.index.get_mut(at), self.low.get_mut(at)) {
            (*index, *low) = (self.counter, self.counter);
        }
        self.pending.push(slot);
        self.path.push((slot, 0));
    }

    /// Follows the next edge of the slot on top of the path, or closes it.
    fn follow(&mut self, program: &Program, pc: u32, edge: u8) -> Result<(), Refusal> {
        let Some(insn) = program.get(pc) else {
            return Err(Refusal::unsafety(pc, UnsafeReason::Malformed));
        };
        let Some(&next) = successors(insn, pc).get(usize::from(edge)) else {
            return self.close(program, pc);
        };
        if let Some(top) = self.path.last_mut() {
            top.1 += 1;
        }
        let Some(task) = self.task else { return Ok(()) };
        let Some(next) = next.filter(|&next| self.set.get(next as usize) == Some(&task.set)) else {
            return Ok(());
        };
        match self.index.get(next as usize).copied() {
            Some(0) => self.visit(next),
            Some(index) if index != DONE => self.lower(pc, index),
            _ => {}
        }
        Ok(())
    }

    fn lower(&mut self, pc: u32, link: u32) {
        if let Some(low) = self.low.get_mut(pc as usize) {
            *low = (*low).min(link);
        }
    }

    /// All edges of a slot were followed: perhaps it is the first of a component.
    fn close(&mut self, program: &Program, pc: u32) -> Result<(), Refusal> {
        self.path.pop();
        let at = pc as usize;
        let (index, low) = (self.index.get(at).copied(), self.low.get(at).copied());
        if index != low {
            if let (Some(&(below, _)), Some(low)) = (self.path.last(), low) {
                self.lower(below, low);
            }
            return Ok(());
        }
        self.component(program, pc)
    }

    /// Takes the component that begins with `head` out of the pending slots, to the end of the
    /// free ranks.
    fn component(&mut self, program: &Program, head: u32) -> Result<(), Refusal> {
        let Some(task) = self.task else { return Ok(()) };
        let first = self.pending.iter().rposition(|&slot| slot == head).unwrap_or(0);
        let size = (self.pending.len() - first) as u32;
        let start = task.end - size;
        self.task = Some(Task { end: start, ..task });
        self.place(head, start, NO_SET);
        let from = program.get(head).map_or([None; 2], |insn| successors(insn, head));
        let again = from.contains(&Some(head));
        if size > 1 || again {
            if task.depth >= LOOP_DEPTH_MAX {
                let limit = Refusal::limit("LOOP_DEPTH_MAX", LOOP_DEPTH_MAX as u64);
                return Err(limit.at(head));
            }
            let (end, parent) = (task.end, u32::MAX);
            self.loops.push(Loop { start, end, back: head, parent, side_entry: false });
        }
        if size == 1 {
            self.pending.truncate(first);
            return Ok(());
        }
        self.sets += 1;
        let set = self.sets;
        for at in first + 1..self.pending.len() {
            let Some(&slot) = self.pending.get(at) else { break };
            if let (Some(seat), Some(index)) =
                (self.set.get_mut(slot as usize), self.index.get_mut(slot as usize))
            {
                (*seat, *index) = (set, 0);
            }
        }
        self.pending.truncate(first);
        let depth = task.depth + 1;
        self.later.push(Task { end: task.end, set, from, depth });
        Ok(())
    }

    fn place(&mut self, slot: u32, rank: u32, set: u32) {
        let at = slot as usize;
        if let Some(seat) = self.order.get_mut(rank as usize) {
            *seat = slot;
        }
        if let (Some(seat), Some(own), Some(index)) =
            (self.rank.get_mut(at), self.set.get_mut(at), self.index.get_mut(at))
        {
            (*seat, *own, *index) = (rank, set, DONE);
        }
    }
}
