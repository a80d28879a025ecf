//! Is this program safe to run: it reads only what it may, writes only what it may, keeps every
//! address to itself, and ends.
//!
//! The proof is abstract interpretation over a loop-free program in topological order: one state
//! for each instruction, joined where paths meet, so that the work grows with the program and not
//! with its paths.
//!
//! | file | is |
//! |---|---|
//! | `require` | obligations: what an instruction requires, as a table |
//! | `entail` | whether a state meets an obligation |
//! | `effect` | what an instruction does to a state |
//! | `branch`, `refine` | what going one way at a branch teaches |
//! | `join` | where paths meet |
//! | `state`, `stack`, `value`, `scalar`, `bits`, `name` | the domain |
//! | `arith` | arithmetic on what is known of numbers |
//! | `audit` | for fuzzing: a run held against the states |
//!
//! A state never grows beyond its fixed size, `STATES_MAX` of them wait at once, and a step ends
//! between two instructions.

mod arith;
pub(crate) mod audit;
mod bits;
mod branch;
pub mod domains;
mod effect;
mod entail;
mod join;
mod name;
mod refine;
mod require;
mod scalar;
mod stack;
mod state;
mod value;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Poll;

use ebpf::context::Field;
use ebpf::{Insn, Kind, Program};

use crate::arena;
use crate::fuel::{Fuel, Step};
use crate::graph::{self, Graph, Walk, successors};
use crate::limits::STATES_MAX;
use crate::refusal::{Refusal, RefusalCode, UnsafeReason};
use branch::Test;
use state::State;
use value::Value;

/// Proves a program safe.
#[derive(Debug)]
pub struct SafetyProof {
    program: Arc<Program>,
    stage: Stage,
}

/// A program that was proven safe: made by [`SafetyProof`] only.
///
/// The proof holds for packets of any length up to `ebpf::limits::PACKET_MAX`: a program must
/// compare with `data_end` even for the Ethernet header.
#[derive(Clone, Debug)]
pub struct Verified {
    program: Arc<Program>,
    worst_case: u32,
    /// The loads that read the context, ascending by slot.
    context: Arc<[(u32, Field)]>,
}

/// What is being done.
#[derive(Debug)]
enum Stage {
    /// The control-flow graph is built.
    Order(Walk),
    /// States are pushed along it.
    Walk(Flow),
    /// The answer was given.
    Finished,
}

/// The abstract interpretation.
#[derive(Debug)]
struct Flow {
    graph: Graph,
    /// Index in the graph's order of the next instruction.
    next: usize,
    /// The states before instructions that were not reached yet, by slot.
    waiting: Vec<Option<Box<State>>>,
    count: usize,
    /// Loads that read the context, in the order of the visits.
    context: Vec<(u32, Field)>,
}

/// What the proof found: the worst case, and the loads that read the context.
type Facts = (u32, Arc<[(u32, Field)]>);

/// Fuel for one instruction's obligations and effect.
const INSN_UNITS: u32 = 20;
/// Fuel for one join of two states.
const JOIN_UNITS: u32 = 120;

const _: () = assert!(2 * INSN_UNITS + JOIN_UNITS <= crate::limits::ITEM_UNITS);

/// The most heap that a safety proof holds for a program of `slots` slots, in bytes.
pub(crate) const fn heap_bytes(slots: usize) -> usize {
    // One state more for each side of a branch, one for a join.
    let states = (if slots < STATES_MAX { slots } else { STATES_MAX }) + 3;
    graph::heap_bytes(slots)
        + slots * size_of::<Option<Box<State>>>()
        + states * state::heap_bytes()
        + 2 * arena::table(slots, size_of::<(u32, Field)>())
}

impl SafetyProof {
    /// Starts the proof.
    #[must_use]
    pub fn new(program: Program) -> SafetyProof {
        let stage = Stage::Order(Walk::new(&program));
        SafetyProof { program: Arc::new(program), stage }
    }

    /// Works until the fuel is spent or the answer is there.
    ///
    /// The answer's errors: [`RefusalCode::Unsafe`] with the instruction, [`RefusalCode::Limit`]
    /// naming `STATES_MAX`, and [`RefusalCode::Finished`] after the first answer.
    pub fn step(&mut self, fuel: &mut Fuel) -> Step<Verified> {
        let answer = match self.advance(fuel) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(answer) => answer,
        };
        self.stage = Stage::Finished;
        let program = Arc::clone(&self.program);
        Poll::Ready(answer.map(|(worst_case, context)| Verified { program, worst_case, context }))
    }

    fn advance(&mut self, fuel: &mut Fuel) -> Poll<Result<Facts, Refusal>> {
        if let Stage::Order(walk) = &mut self.stage {
            match walk.step(&self.program, fuel) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(refusal)) => return Poll::Ready(Err(refusal)),
                Poll::Ready(Ok(graph)) => self.stage = Stage::Walk(Flow::new(&self.program, graph)),
            }
        }
        match &mut self.stage {
            Stage::Walk(flow) => flow.step(&self.program, fuel),
            _ => Poll::Ready(Err(Refusal::new(RefusalCode::Finished))),
        }
    }
}

impl Verified {
    /// The program.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// What it is for.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.program.kind()
    }

    /// The most instructions that one run can take.
    #[must_use]
    pub const fn worst_case(&self) -> u32 {
        self.worst_case
    }

    /// The field that the load at `pc` reads of the context, on every path; `None` if it reads
    /// something else, also on every path, or is never run. A compiler needs it, because the
    /// context's pointers are wider than its loads (as in Linux).
    #[must_use]
    pub fn context_load(&self, pc: u32) -> Option<Field> {
        let at = self.context.binary_search_by_key(&pc, |&(pc, _)| pc).ok()?;
        self.context.get(at).map(|&(_, field)| field)
    }

    /// A copy that shares no memory with this one: for whoever takes the memory back that the
    /// proof ran in.
    #[must_use]
    pub fn detach(&self) -> Verified {
        Verified {
            program: Arc::new(Program::clone(&self.program)),
            worst_case: self.worst_case,
            context: Arc::from(&*self.context),
        }
    }
}

impl Flow {
    fn new(program: &Program, graph: Graph) -> Flow {
        let mut waiting = Vec::new();
        waiting.resize_with(program.len(), || None);
        if let Some(first) = waiting.first_mut() {
            *first = Some(Box::new(State::at_entry(program.kind())));
        }
        Flow { graph, next: 0, waiting, count: 1, context: Vec::new() }
    }

    fn step(&mut self, program: &Program, fuel: &mut Fuel) -> Poll<Result<Facts, Refusal>> {
        while let Some(&pc) = self.graph.order.get(self.next) {
            if fuel.is_empty() {
                return Poll::Pending;
            }
            self.next += 1;
            let Some(state) = self.waiting.get_mut(pc as usize).and_then(Option::take) else {
                // No path that can be gone leads here.
                fuel.spend(1);
                continue;
            };
            self.count -= 1;
            if let Err(refusal) = self.visit(program, pc, state, fuel) {
                return Poll::Ready(Err(refusal));
            }
        }
        self.context.sort_unstable_by_key(|&(pc, _)| pc);
        Poll::Ready(Ok((self.graph.worst_case, Arc::from(&*self.context))))
    }

    /// Obligations first, then the effect, then on along the edges.
    fn visit(
        &mut self,
        program: &Program,
        pc: u32,
        mut state: Box<State>,
        fuel: &mut Fuel,
    ) -> Result<(), Refusal> {
        fuel.spend(INSN_UNITS);
        let Some(insn) = program.get(pc) else {
            return Err(Refusal::unsafety(pc, UnsafeReason::Malformed));
        };
        for need in require::needs(program.kind(), insn).into_iter().flatten() {
            entail::check(program.kind(), &state, need)
                .map_err(|reason| Refusal::unsafety(pc, reason))?;
        }
        if let Insn::Branch { width, cond, dst, src, target } = *insn {
            let test = Test { width, cond, dst, src };
            let mut taken = state.clone();
            if branch::follow(&mut taken, test, true) {
                self.arrive(target, taken, fuel)?;
            }
            if branch::follow(&mut state, test, false) {
                self.arrive(pc + 1, state, fuel)?;
            }
            return Ok(());
        }
        if let Insn::Load { base, offset, .. } = *insn
            && state.get(base) == Value::Context
        {
            self.context.extend(Field::at(offset.into()).map(|field| (pc, field)));
        }
        effect::apply(&mut state, pc, insn);
        match successors(insn, pc) {
            [Some(next), _] => self.arrive(next, state, fuel),
            _ => Ok(()),
        }
    }

    /// Control comes to `pc` with `state`.
    fn arrive(&mut self, pc: u32, state: Box<State>, fuel: &mut Fuel) -> Result<(), Refusal> {
        let Some(seat) = self.waiting.get_mut(pc as usize) else {
            return Err(Refusal::unsafety(pc, UnsafeReason::Malformed));
        };
        match seat {
            Some(there) => {
                fuel.spend(JOIN_UNITS);
                **there = join::join(pc, there, &state);
            }
            None if self.count >= STATES_MAX => {
                return Err(Refusal::limit("STATES_MAX", STATES_MAX as u64).at(pc));
            }
            None => {
                *seat = Some(state);
                self.count += 1;
            }
        }
        Ok(())
    }
}
