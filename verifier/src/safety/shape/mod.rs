//! The shape of a program: its functions, the order of its instructions, its loops.
//!
//! Control flow is cut into functions (the main one and every target of a local call), each
//! instruction in one of them. The instructions of a function stand in a weak topological order
//! (Bourdoncle, "Efficient chaotic iteration strategies with widenings", 1993): each before all
//! that can follow it, except along the edges back to the head of a loop that it is in; a loop's
//! instructions stand together, the head first, loops within it likewise. Every cycle goes through
//! such an edge, so whoever counts them has counted every way round.
//!
//! Built in steps, one unit of fuel for each edge that is looked at, without recursion.

mod calls;
mod live;
mod order;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::task::Poll;

use ebpf::{CallTarget, Insn, Kind, Passed, Passing, Program, Reg};

use crate::fuel::Fuel;
use crate::graph::successors;
use crate::refusal::{Refusal, UnsafeReason};
use calls::Partition;
use live::Live;
use order::Ordering;

/// What is known of a program's control flow.
#[derive(Debug)]
pub(super) struct Shape {
    /// The slots, function by function, each function's in its order.
    order: Vec<u32>,
    /// Where each slot stands in the order.
    rank: Vec<u32>,
    /// Slots at which several ways meet.
    meeting: Vec<bool>,
    functions: Vec<Function>,
    /// Ascending by start.
    loops: Vec<Loop>,
    /// The registers that are live before each slot.
    live: Vec<u16>,
    /// Which optional arguments calls pass.
    passed: Passed,
}

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Function {
    /// Its first slot.
    pub(super) entry: u32,
    /// Its instructions' ranks: from here on,
    pub(super) start: u32,
    /// and before this.
    pub(super) end: u32,
}

/// A loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loop {
    /// Its instructions' ranks: the head's,
    pub(super) start: u32,
    /// and the first that is behind it.
    pub(super) end: u32,
    /// An instruction that goes back to the head.
    pub(super) back: u32,
    /// The loop right around it, by index.
    pub(super) parent: u32,
    /// Whether it can be entered elsewhere than at its head.
    pub(super) side_entry: bool,
}

/// Builds a [`Shape`] in steps.
#[derive(Debug)]
pub(super) struct Builder {
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Instructions are shared out among functions.
    Partition(Partition),
    /// The instructions of each function are brought into order.
    Order(Partition, Box<Ordering>),
    /// Edges are looked at once more, by slot.
    Edges(Shape, u32),
    /// What is read later is found.
    Live(Shape, Live),
    /// What is passed to helpers is found.
    Passing(Shape, Passing),
    Finished,
}

/// The most heap that a shape and its making hold for a program of `slots` slots, in bytes.
pub(super) const fn heap_bytes(slots: usize) -> usize {
    let kept = slots * (2 * size_of::<u32>() + size_of::<bool>())
        + crate::arena::table(slots, size_of::<Function>())
        + crate::arena::table(slots, size_of::<Loop>());
    // An entry of a tree takes less than twice itself.
    let passed = Passing::heap_bytes(slots) + 2 * slots * size_of::<(u32, u16)>();
    kept + passed + live::heap_bytes(slots) + calls::heap_bytes(slots) + order::heap_bytes(slots)
}

impl Builder {
    pub(super) fn new(program: &Program) -> Builder {
        Builder { stage: Stage::Partition(Partition::new(program.len())) }
    }

    /// Works until the fuel is spent or the shape is there.
    ///
    /// # Errors
    /// The program's control flow is none that is taken.
    pub(super) fn step(
        &mut self,
        program: &Program,
        fuel: &mut Fuel,
    ) -> Poll<Result<Shape, Refusal>> {
        loop {
            if fuel.is_empty() {
                return Poll::Pending;
            }
            fuel.spend(1);
            match self.advance(program) {
                Ok(None) => {}
                Ok(Some(shape)) => return Poll::Ready(Ok(shape)),
                Err(refusal) => return Poll::Ready(Err(refusal)),
            }
        }
    }

    fn advance(&mut self, program: &Program) -> Result<Option<Shape>, Refusal> {
        match &mut self.stage {
            Stage::Partition(partition) => {
                if partition.advance(program)? {
                    let Stage::Partition(partition) = self.take() else { return Ok(None) };
                    let ordering = Box::new(Ordering::new(program.len()));
                    self.stage = Stage::Order(partition, ordering);
                }
            }
            Stage::Order(partition, ordering) => {
                if ordering.advance(program, partition)? {
                    let Stage::Order(_, ordering) = self.take() else { return Ok(None) };
                    self.stage = Stage::Edges(Shape::new(*ordering), 0);
                }
            }
            Stage::Edges(shape, next) => {
                let pc = *next;
                *next += 1;
                match program.get(pc) {
                    Some(insn) => shape.look_at(program.kind(), pc, insn)?,
                    None => {
                        let Stage::Edges(shape, _) = self.take() else { return Ok(None) };
                        self.stage = Stage::Live(shape, Live::new(program.len()));
                    }
                }
            }
            Stage::Live(shape, live) => {
                if live.advance(program, shape) {
                    let Stage::Live(mut shape, live) = self.take() else { return Ok(None) };
                    shape.live = live.before();
                    self.stage = Stage::Passing(shape, Passing::new(program));
                }
            }
            Stage::Passing(shape, passing) => {
                if passing.advance(program) {
                    shape.passed = passing.found(program);
                    let Stage::Passing(shape, _) = self.take() else { return Ok(None) };
                    return Ok(Some(shape));
                }
            }
            Stage::Finished => return Err(Refusal::unsafety(0, UnsafeReason::Malformed)),
        }
        Ok(None)
    }

    fn take(&mut self) -> Stage {
        core::mem::replace(&mut self.stage, Stage::Finished)
    }
}

impl Shape {
    fn new(mut ordering: Ordering) -> Shape {
        ordering.loops.sort_unstable_by_key(|it| it.start);
        ordering.functions.sort_unstable_by_key(|it| it.entry);
        nest(&mut ordering.loops);
        let meeting = alloc::vec![false; ordering.rank.len()];
        let Ordering { order, rank, functions, loops, .. } = ordering;
        let (live, passed) = (Vec::new(), Passed::default());
        Shape { order, rank, meeting, functions, loops, live, passed }
    }

    /// The slot at a rank.
    pub(super) fn slot(&self, rank: u32) -> Option<u32> {
        self.order.get(rank as usize).copied()
    }

    /// The rank of a slot.
    pub(super) fn rank(&self, slot: u32) -> u32 {
        self.rank.get(slot as usize).copied().unwrap_or(u32::MAX)
    }

    /// Whether several ways meet before a slot.
    pub(super) fn meets(&self, slot: u32) -> bool {
        self.meeting.get(slot as usize).copied().unwrap_or(true)
    }

    /// The registers that are read behind a slot before they are written; bit n is register n.
    pub(super) fn live(&self, slot: u32) -> u16 {
        self.live.get(slot as usize).copied().unwrap_or(u16::MAX)
    }

    /// Whether the call at a slot passes what is in an optional argument's register.
    pub(super) fn passes(&self, slot: u32, reg: Reg) -> bool {
        self.passed.at(slot, reg)
    }

    /// The function that begins at a slot.
    pub(super) fn function(&self, entry: u32) -> Option<&Function> {
        let at = self.functions.binary_search_by_key(&entry, |it| it.entry).ok()?;
        self.functions.get(at)
    }

    /// The loop whose head has this rank, with its index.
    pub(super) fn loop_at(&self, rank: u32) -> Option<(usize, &Loop)> {
        let at = self.loops.binary_search_by_key(&rank, |it| it.start).ok()?;
        Some((at, self.loops.get(at)?))
    }

    /// Number of loops.
    pub(super) fn loops(&self) -> usize {
        self.loops.len()
    }

    /// Finds where ways meet, where loops go back, and where they are entered at the side.
    fn look_at(&mut self, kind: Kind, pc: u32, insn: &Insn) -> Result<(), Refusal> {
        let from = self.rank(pc);
        if from == u32::MAX {
            return Ok(());
        }
        if let Insn::Call { target: CallTarget::Local(entry) } = *insn {
            // Whatever the function returns with meets behind the call.
            self.meet(pc + 1);
            self.meet(entry);
        }
        for next in successors(insn, pc).into_iter().flatten() {
            let to = self.rank(next);
            if to != from + 1 || self.order.get(from as usize + 1) != Some(&next) {
                self.meet(next);
            }
            if to > from {
                self.side_entries(from, to);
                continue;
            }
            if kind == Kind::Filter {
                return Err(Refusal::unsafety(pc, UnsafeReason::BackEdge));
            }
            let at = self.loops.binary_search_by_key(&to, |it| it.start).ok();
            match at.and_then(|at| self.loops.get_mut(at)) {
                Some(there) if from < there.end => there.back = pc,
                // Every edge back leads to the head of a loop around it: the order's promise.
                _ => return Err(Refusal::unsafety(pc, UnsafeReason::Malformed)),
            }
        }
        Ok(())
    }

    fn meet(&mut self, slot: u32) {
        if let Some(meeting) = self.meeting.get_mut(slot as usize) {
            *meeting = true;
        }
    }

    /// An edge forward enters the loops that its goal is in and its origin is not, at their side
    /// unless the goal is the head.
    fn side_entries(&mut self, from: u32, to: u32) {
        let before = self.loops.partition_point(|it| it.start < to);
        let mut at = before.checked_sub(1);
        // Loops are nested at most `LOOP_DEPTH_MAX` deep.
        while let Some(it) = at.and_then(|at| self.loops.get_mut(at)) {
            if it.start <= from {
                return;
            }
            it.side_entry |= it.end > to;
            at = Some(it.parent as usize);
        }
    }
}

/// Finds the loop around each; they stand in the order of their starts.
fn nest(loops: &mut [Loop]) {
    let mut around: Vec<(u32, u32)> = Vec::new();
    for (at, it) in (0..).zip(loops) {
        while around.last().is_some_and(|&(_, end)| end <= it.start) {
            around.pop();
        }
        it.parent = around.last().map_or(u32::MAX, |&(outer, _)| outer);
        around.push((at, it.end));
    }
}
