//! The control-flow graph of a loop-free program: order, reachability.
//!
//! One depth-first walk with a stack of its own finds every instruction that control can reach and
//! refuses the first edge back into the path that led to it. Instructions are finished after all
//! that can follow them, so the reverse of that order is topological.

use alloc::vec::Vec;
use core::task::Poll;

use ebpf::{CallTarget, Insn, Program};

use crate::fuel::Fuel;
use crate::refusal::{Refusal, UnsafeReason};

/// What is known of a loop-free program's control flow.
#[derive(Debug)]
pub(crate) struct Graph {
    /// Every instruction, each before all that can follow it.
    pub(crate) order: Vec<u32>,
}

/// Builds a [`Graph`] in steps.
#[derive(Debug)]
pub(crate) struct Walk {
    marks: Vec<Mark>,
    path: Vec<(u32, usize)>,
    finished: Vec<u32>,
    sweep: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    New,
    OnPath,
    Finished,
}

/// The slots that control can go to from the instruction at `pc`.
pub(crate) fn successors(insn: &Insn, pc: u32) -> [Option<u32>; 2] {
    match *insn {
        Insn::Exit => [None, None],
        Insn::Jump { target } => [Some(target), None],
        Insn::Branch { target, .. } => [Some(pc + 1), Some(target)],
        Insn::LoadImm64 { .. } => [Some(pc + 2), None],
        _ => [Some(pc + 1), None],
    }
}

/// The most heap that a walk and its graph hold for a program of `slots` slots, in bytes.
pub(crate) const fn heap_bytes(slots: usize) -> usize {
    slots * (size_of::<Mark>() + size_of::<u32>())
        + crate::arena::table(slots, size_of::<(u32, usize)>())
}

impl Walk {
    /// A walk from the first instruction.
    pub(crate) fn new(program: &Program) -> Walk {
        let slots = program.len();
        Walk {
            marks: alloc::vec![Mark::New; slots],
            path: Vec::new(),
            finished: Vec::with_capacity(slots),
            sweep: 0,
        }
    }

    /// Works until the fuel is spent or the graph is there; one unit for each edge.
    pub(crate) fn step(
        &mut self,
        program: &Program,
        fuel: &mut Fuel,
    ) -> Poll<Result<Graph, Refusal>> {
        if self.finished.is_empty() && self.path.is_empty() {
            self.enter(0, 0);
        }
        while let Some(&(pc, edge)) = self.path.last() {
            if fuel.is_empty() {
                return Poll::Pending;
            }
            fuel.spend(1);
            if let Err(refusal) = self.follow(program, pc, edge) {
                return Poll::Ready(Err(refusal));
            }
        }
        while let (Some(mark), Some(insn)) =
            (self.marks.get(self.sweep), program.insns().get(self.sweep))
        {
            if fuel.is_empty() {
                return Poll::Pending;
            }
            fuel.spend(1);
            if *mark == Mark::New && !matches!(insn, Insn::LoadImm64High) {
                let reason = UnsafeReason::UnreachableCode;
                return Poll::Ready(Err(Refusal::unsafety(self.sweep as u32, reason)));
            }
            self.sweep += 1;
        }
        let mut order = core::mem::take(&mut self.finished);
        order.reverse();
        Poll::Ready(Ok(Graph { order }))
    }

    fn enter(&mut self, pc: u32, edge: usize) {
        if let Some(mark) = self.marks.get_mut(pc as usize) {
            *mark = Mark::OnPath;
        }
        self.path.push((pc, edge));
    }

    /// Follows the next edge of the instruction on top of the path, or finishes it.
    fn follow(&mut self, program: &Program, pc: u32, edge: usize) -> Result<(), Refusal> {
        let refuse = |reason| Err(Refusal::unsafety(pc, reason));
        let Some(insn) = program.get(pc) else { return refuse(UnsafeReason::Malformed) };
        if let Insn::Call { target: CallTarget::Local(_) } = insn {
            return refuse(UnsafeReason::LocalCall);
        }
        let Some(&next) = successors(insn, pc).get(edge) else {
            self.finish(pc);
            return Ok(());
        };
        if let Some(top) = self.path.last_mut() {
            top.1 += 1;
        }
        let Some(next) = next else { return Ok(()) };
        match self.marks.get(next as usize) {
            Some(Mark::New) => self.enter(next, 0),
            Some(Mark::OnPath) => return refuse(UnsafeReason::BackEdge),
            Some(Mark::Finished) => {}
            None => return refuse(UnsafeReason::Malformed),
        }
        Ok(())
    }

    fn finish(&mut self, pc: u32) {
        self.path.pop();
        self.finished.push(pc);
        if let Some(mark) = self.marks.get_mut(pc as usize) {
            *mark = Mark::Finished;
        }
    }
}
