//! Is this program safe to run: it reads only what it may, writes only what it may, keeps every
//! address to itself, and ends.
//!
//! The proof is abstract interpretation: states are pushed along the instructions in an order in
//! which each stands before all that can follow it, kept apart or joined where ways meet. Loops are
//! summed up by a state that holds in every round, or gone through round by round; either way
//! the most instructions that a run can take are known in the end. It is tried with little
//! effort first, and with more where that is not enough (`docs/decisions/038-*.md` argues the
//! scheme and its soundness).
//!
//! | file | is |
//! |---|---|
//! | `shape` | functions, the order of instructions, loops, what is read later |
//! | `engine` | the walk: visits, calls, where states go |
//! | `passes`, `rounds`, `ranking`, `widen` | loops: a state for all rounds, why they end |
//! | `pending`, `join` | states that wait, and where they meet |
//! | `require` | obligations: what an instruction requires, as a table |
//! | `entail`, `access`, `argument` | whether a state meets an obligation |
//! | `effect`, `returns` | what an instruction does to a state |
//! | `branch`, `refine` | what going one way at a branch teaches |
//! | `state`, `stack`, `value`, `scalar`, `number`, `bits`, `name` | the domain |
//! | `arith` | arithmetic on what is known of numbers |
//! | `trail` | the way that a state came |
//! | `record`, `scene` | what accepted and refused programs are told with |
//! | `audit` | for fuzzing: a run held against the states |
//!
//! No step recurses; one ends between two visits. Memory is counted state by state.

mod access;
mod argument;
pub(crate) mod arith;
pub mod audit;
pub(crate) mod bits;
mod branch;
pub mod domains;
mod effect;
mod engine;
mod entail;
mod join;
mod name;
pub(crate) mod number;
mod passes;
mod pending;
mod ranking;
mod record;
pub(crate) mod refine;
mod require;
mod returns;
mod rounds;
mod scalar;
mod scene;
mod shape;
mod stack;
mod state;
mod trail;
mod value;
mod widen;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::task::Poll;

use ebpf::context::Field;
use ebpf::{Kind, Program};

use crate::fuel::{Fuel, Step};
use crate::limits::EFFORTS;
use crate::refusal::{Refusal, RefusalCode, UnsafeReason};
use engine::{Effort, Engine, Ground};
use record::Note;
use shape::{Builder, Shape};

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
    /// What instructions do in every run, ascending by slot.
    notes: Arc<[(u32, Note)]>,
}

/// What is being done.
#[derive(Debug)]
enum Stage {
    /// The control flow is brought into order.
    Order(Box<Builder>),
    /// States are pushed along it.
    Walk(Box<Walk>),
    /// The answer was given.
    Finished,
}

/// The attempts at a proof.
#[derive(Debug)]
struct Walk {
    shape: Shape,
    engine: Engine,
    /// Which of the efforts is being made.
    attempt: usize,
    /// Why the attempts so far failed.
    refused: Option<Refusal>,
    /// The last attempt failed, and its memory is being given back.
    over: bool,
}

/// What the proof found: the worst case, and what instructions do.
type Facts = (u32, Arc<[(u32, Note)]>);

/// The most heap that a safety proof holds for a program of `slots` slots, in bytes.
pub(crate) const fn heap_bytes(slots: usize) -> usize {
    shape::heap_bytes(slots) + engine::heap_bytes(slots)
}

impl SafetyProof {
    /// Starts the proof.
    #[must_use]
    pub fn new(program: Program) -> SafetyProof {
        let stage = Stage::Order(Box::new(Builder::new(&program)));
        SafetyProof { program: Arc::new(program), stage }
    }

    /// Works until the fuel is spent or the answer is there.
    ///
    /// The answer's errors: [`RefusalCode::Unsafe`] with the instruction, [`RefusalCode::Limit`]
    /// naming a constant of [`crate::limits`], and [`RefusalCode::Finished`] after the first
    /// answer.
    pub fn step(&mut self, fuel: &mut Fuel) -> Step<Verified> {
        let answer = match self.advance(fuel) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(answer) => answer,
        };
        self.stage = Stage::Finished;
        let program = Arc::clone(&self.program);
        Poll::Ready(answer.map(|(worst_case, notes)| Verified { program, worst_case, notes }))
    }

    fn advance(&mut self, fuel: &mut Fuel) -> Poll<Result<Facts, Refusal>> {
        if let Stage::Order(builder) = &mut self.stage {
            match builder.step(&self.program, fuel) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(refusal)) => return Poll::Ready(Err(refusal)),
                Poll::Ready(Ok(shape)) => {
                    self.stage = Stage::Walk(Box::new(Walk::new(&self.program, shape)));
                }
            }
        }
        match &mut self.stage {
            Stage::Walk(walk) => walk.step(&self.program, fuel),
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

    /// The most instructions that one run can take, those of the helpers that it calls included
    /// ([`ebpf::cost`]).
    #[must_use]
    pub const fn worst_case(&self) -> u32 {
        self.worst_case
    }

    /// The field that the load at `pc` reads of the context, on every path; `None` if it reads
    /// something else, also on every path, or is never run. A compiler needs it, because the
    /// context's pointers are wider than its loads (as in Linux).
    #[must_use]
    pub fn context_load(&self, pc: u32) -> Option<Field> {
        match self.note(pc)? {
            Note::Context(field) => Some(field),
            _ => None,
        }
    }

    /// The map, by its position in the program, that the helper call at `pc` gets as its first
    /// argument, if it is the same on every path.
    #[must_use]
    pub fn map_at(&self, pc: u32) -> Option<u32> {
        match self.note(pc)? {
            Note::Map(map) => Some(map),
            Note::Helper(_, map) => map,
            _ => None,
        }
    }

    /// The helper that the indirect call at `pc` calls, the same on every path; `None` if there is
    /// no indirect call, or it is never run.
    #[must_use]
    pub fn helper_at(&self, pc: u32) -> Option<u32> {
        match self.note(pc)? {
            Note::Helper(id, _) => Some(id),
            _ => None,
        }
    }

    /// A copy that shares no memory with this one: for whoever takes the memory back that the
    /// proof ran in.
    #[must_use]
    pub fn detach(&self) -> Verified {
        Verified {
            program: Arc::new(Program::clone(&self.program)),
            worst_case: self.worst_case,
            notes: Arc::from(&*self.notes),
        }
    }

    fn note(&self, pc: u32) -> Option<Note> {
        let at = self.notes.binary_search_by_key(&pc, |&(pc, _)| pc).ok()?;
        self.notes.get(at).map(|&(_, note)| note)
    }
}

impl Walk {
    fn new(program: &Program, shape: Shape) -> Walk {
        let engine = Engine::new(Ground { program, shape: &shape }, effort(0));
        Walk { shape, engine, attempt: 0, refused: None, over: false }
    }

    fn step(&mut self, program: &Program, fuel: &mut Fuel) -> Poll<Result<Facts, Refusal>> {
        loop {
            if fuel.is_empty() {
                return Poll::Pending;
            }
            let ground = Ground { program, shape: &self.shape };
            if self.over {
                fuel.spend(1);
                if self.engine.pending.give_back() {
                    if self.attempt >= EFFORTS.len() {
                        let finished = || Refusal::new(RefusalCode::Finished);
                        return Poll::Ready(Err(self.refused.take().unwrap_or_else(finished)));
                    }
                    self.engine = Engine::new(ground, effort(self.attempt));
                    self.over = false;
                }
                continue;
            }
            let before = fuel.0;
            let done = self.engine.advance(ground, fuel);
            debug_assert!(before - fuel.0 <= crate::limits::ITEM_UNITS, "an item is too large");
            match done {
                Ok(None) => {}
                Ok(Some(worst)) => {
                    // No more than `WORST_CASE_MAX`.
                    return Poll::Ready(Ok((worst as u32, self.engine.record.facts())));
                }
                Err(refusal) => self.failed(refusal),
            }
        }
    }

    /// An attempt failed. The answer, if none succeeds, is that of the most precise one which did
    /// not run out of something.
    fn failed(&mut self, refusal: Refusal) {
        let limit = match refusal.code {
            RefusalCode::Limit => refusal.limit,
            _ => None,
        };
        match (&mut self.refused, limit) {
            (Some(before), Some(limit)) => before.limit = Some(limit),
            // Where the budget ends in a loop, the loop around it may be the one to blame.
            (Some(before), None) if before.code == UNBOUNDED && refusal.code == UNBOUNDED => {}
            (refused, _) => *refused = Some(refusal),
        }
        self.attempt += 1;
        self.over = true;
    }
}

const UNBOUNDED: RefusalCode = RefusalCode::Unsafe(UnsafeReason::UnboundedLoop);

fn effort(attempt: usize) -> Effort {
    let (cap, explore, visits) = EFFORTS.get(attempt).copied().unwrap_or((1, false, 0));
    Effort { cap, explore, visits }
}
