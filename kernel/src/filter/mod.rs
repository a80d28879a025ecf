//! The filter path: from bytes of ring 3 to a published binding or grant, step by step.
//!
//! ```text
//! bind    copy in -> (ASH: decode, safe, cost) -> decode -> safe -> (certificate) -> claim
//!                 -> inside the grant -> disjoint -> compile -> check -> reserve -> seal -> own
//!                 -> prepare -> commit -> publish
//! derive  copy in -> decode -> safe -> claim -> (transmit: safe, claim | mirror) -> guardable
//!                 -> guard: lower, safe -> inside the parent, apart -> compile -> check -> reserve
//!                 -> seal -> prepare -> adopt -> publish
//! carve   the stages of both: inside the listener's claim instead, apart from what was carved
//! hand-   copy in -> decode -> safe -> claim, for both parts -> together exactly the old binding
//!  over           -> compile -> check -> reserve -> seal -> exchange -> prepare -> commit
//!                 -> publish
//! ```
//!
//! `bind.rs`, `derive.rs`, `carve.rs` and `handover.rs` hold one stage after the other; `upload.rs`
//! and `build.rs` hold those that are the same for all. A call starts a [`Proof`]; its environment
//! is then `Proving` and each of its turns is one [`Kernel::prove`], a bounded number of
//! instructions long, with the card and the clock served in between. The proof's memory is an
//! arena of frames that the caller pays for while it runs; what survives is made anew in the
//! kernel heap, after that was reserved too. The proof is dropped, and the arena given back, when
//! it answers or its owner ends: whatever it is at, nothing is anywhere else.

mod arena;
mod bind;
mod build;
mod carve;
mod claim;
mod derive;
mod handler;
mod handover;
mod predicate;
mod refusal;
mod steps;
mod told;
mod upload;

use core::task::Poll;

use abi::refusal::Blame;
use abi::start::State;
use abi::{Handle, Status};
use alloc::boxed::Box;
use machine::heap::Arena;
use verifier::{Fuel, GrantId, Step};

use crate::Kernel;
use crate::calls::{Answer, Done};
use crate::environment::EnvironmentId;
use crate::limits::PROOF_FUEL;
use crate::maps::MapId;
use build::{Build, Plans};
use steps::{At, Steps};

pub(crate) use bind::{BindStart, RingPages};
pub(crate) use carve::CarveStart;
pub(crate) use derive::DeriveStart;
pub(crate) use handover::HandOverStart;
pub(crate) use refusal::Trouble;

/// A proof that is being worked on.
pub(crate) struct Proof {
    work: Work,
    /// What becomes of it once it is proven.
    build: Option<Box<Build>>,
    /// What it came to: only the arena is left to be given back.
    outcome: Option<Result<Handle, Trouble>>,
    arena: Arena,
    /// Frames of the arena.
    frames: u64,
    /// Cycles spent in its steps so far.
    cycles: u64,
    steps: Steps,
    order: Order,
}

/// What was asked for, besides the programs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) grant: GrantId,
    /// Where a refusal record goes, and the room there.
    pub(crate) refusal: (u64, u64),
    pub(crate) programs: Programs,
}

/// The caller's programs, for whoever is told of a refusal.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Programs {
    pub(crate) filter: Source,
    pub(crate) ash: Option<Source>,
    /// The transmit filter, or the filter of a hand-over's second part.
    pub(crate) other: Option<Source>,
}

enum Work {
    Bind(bind::Bind),
    Derive(derive::Derive),
    Carve(Box<carve::Carve>),
    HandOver(Box<handover::HandOver>),
    Over,
}

/// What to decode, and where it lies in the caller's memory: address and bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Source {
    pub(crate) address: u64,
    pub(crate) bytes: usize,
}

/// How much there is to prove.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// Slots of the largest program.
    slots: usize,
    /// Bytes of all.
    bytes: usize,
    /// Whether a certificate came along.
    certified: bool,
}

impl Source {
    /// Slots that the bytes can hold.
    pub(crate) fn slots(self) -> usize {
        self.bytes.div_ceil(8)
    }
}

impl Kernel {
    /// Starts a proof, if its memory allows and its programs can be copied in.
    pub(crate) fn start_bind(
        &mut self,
        caller: EnvironmentId,
        order: Order,
        start: BindStart,
    ) -> Answer {
        let slots = start.filter.slots().max(start.ash.map_or(0, Source::slots));
        let bytes = start.filter.bytes + start.ash.map_or(0, |ash| ash.bytes);
        let certified = start.certificate.is_some();
        self.start(caller, order, Size { slots, bytes, certified }, |kernel, arena| {
            bind::Bind::new(kernel, arena, caller, start).map(Work::Bind)
        })
    }

    /// The same for a grant.
    pub(crate) fn start_derive(
        &mut self,
        caller: EnvironmentId,
        order: Order,
        start: DeriveStart,
    ) -> Answer {
        let bytes = start.receive.bytes + start.transmit.map_or(0, |source| source.bytes);
        let size = Size { slots: start.slots(), bytes, certified: false };
        self.start(caller, order, size, |kernel, arena| {
            derive::Derive::new(kernel, arena, caller, start).map(Work::Derive)
        })
    }

    /// The same for a grant with one binding, carved from another binding.
    pub(crate) fn start_carve(
        &mut self,
        caller: EnvironmentId,
        order: Order,
        start: CarveStart,
    ) -> Answer {
        let (ash, derivation) = (start.bind.ash.unwrap_or_default(), start.derivation());
        let transmit = start.transmit.unwrap_or_default();
        let slots = derivation.slots().max(ash.slots());
        let bytes = start.bind.filter.bytes + transmit.bytes + ash.bytes;
        let certified = start.bind.certificate.is_some();
        self.start(caller, order, Size { slots, bytes, certified }, |kernel, arena| {
            let carve = carve::Carve::new(kernel, arena, caller, start)?;
            Ok(Work::Carve(Box::new(carve)))
        })
    }

    /// The same for two parts of a binding.
    pub(crate) fn start_hand_over(
        &mut self,
        caller: EnvironmentId,
        order: Order,
        start: HandOverStart,
    ) -> Answer {
        let (first, second) = (start.first, start.second.filter);
        let ash = start.second.ash.unwrap_or_default();
        // The first part's proof and claim are there while the second's is worked on.
        let slots = first.slots() + second.slots().max(ash.slots());
        let bytes = first.bytes + second.bytes + ash.bytes;
        let certified = start.second.certificate.is_some();
        self.start(caller, order, Size { slots, bytes, certified }, |kernel, arena| {
            let parts = handover::HandOver::new(kernel, arena, caller, start)?;
            Ok(Work::HandOver(Box::new(parts)))
        })
    }

    fn start(
        &mut self,
        caller: EnvironmentId,
        order: Order,
        size: Size,
        copy_in: impl FnOnce(&Kernel, &mut Arena) -> Result<Work, Trouble>,
    ) -> Answer {
        let before = machine::time::cycles();
        self.watch_proof();
        let (mut arena, frames) = match self.open_arena(caller, size) {
            Ok(opened) => opened,
            Err(trouble) => return self.refuse_at_once(caller, order, &trouble),
        };
        match copy_in(self, &mut arena) {
            Ok(work) => {
                let cycles = machine::time::cycles().saturating_sub(before);
                let mut steps = Steps::default();
                steps.note(At::CopyIn, cycles);
                let (build, outcome) = (None, None);
                let proof = Proof { work, build, outcome, arena, frames, cycles, steps, order };
                let proof = Box::new(proof);
                if let Some(environment) = self.environments.get_mut(caller) {
                    environment.proof = Some(proof);
                    environment.state = State::Proving;
                }
                Ok(Done::Later)
            }
            Err(trouble) => {
                self.close_arena(caller, arena, frames);
                self.refuse_at_once(caller, order, &trouble)
            }
        }
    }

    fn refuse_at_once(&mut self, caller: EnvironmentId, order: Order, trouble: &Trouble) -> Answer {
        match trouble {
            Trouble::Failed(status) => Err(*status),
            Trouble::Refused(_) => Ok(Done::Refused(self.refuse(caller, order, trouble, 0))),
        }
    }

    /// One step of an environment's proof; when that was the last one, the call is answered.
    pub(crate) fn prove(&mut self, id: EnvironmentId) {
        let Some(mut proof) = self.environments.get_mut(id).and_then(|it| it.proof.take()) else {
            return;
        };
        if proof.outcome.is_some() {
            return self.end_proof(id, *proof);
        }
        let (at, before) = (proof.at(), machine::time::cycles());
        match self.advance_proof(id, &mut proof) {
            Ok(None) => {}
            Ok(Some(handle)) => proof.outcome = Some(Ok(handle)),
            Err(trouble) => proof.outcome = Some(Err(trouble)),
        }
        let took = machine::time::cycles().saturating_sub(before);
        if at != At::Publish {
            proof.cycles += took;
        }
        proof.steps.note(at, took);
        if let Some(environment) = self.environments.get_mut(id) {
            environment.proof = Some(proof);
        }
    }

    /// Prove, then compile and check, then publish: the handle, once it is there.
    fn advance_proof(
        &mut self,
        id: EnvironmentId,
        proof: &mut Proof,
    ) -> Result<Option<Handle>, Trouble> {
        let mut fuel = Fuel(PROOF_FUEL);
        match proof.build.take() {
            None => {
                let Proof { work, arena, order, .. } = proof;
                if work.step(arena, self, order.grant, &mut fuel)? {
                    let (plans, maps) = work.plans();
                    let build = Build::new(self, arena, (id, maps), &plans)?;
                    proof.build = Some(Box::new(build));
                }
                Ok(None)
            }
            Some(mut build) => {
                if !build.step(&mut proof.arena, self, &mut fuel)? {
                    proof.build = Some(build);
                    return Ok(None);
                }
                let work = core::mem::replace(&mut proof.work, Work::Over);
                self.publish(id, (work, build), proof.order, proof.cycles).map(Some)
            }
        }
    }

    /// Gives the arena back and answers the call.
    fn end_proof(&mut self, id: EnvironmentId, proof: Proof) {
        let before = machine::time::cycles();
        let Proof { work, build, outcome, arena, frames, cycles, mut steps, order } = proof;
        drop((work, build));
        self.close_arena(id, arena, frames);
        let outcome = outcome.unwrap_or_else(|| Err(Trouble::over()));
        self.answer_proof(id, order, outcome, cycles);
        steps.note(At::Close, machine::time::cycles().saturating_sub(before));
        self.watched_proof(id, (steps.count(), steps.longest()), steps.0);
    }

    /// What is left when everything is proven, compiled and checked.
    fn publish(
        &mut self,
        id: EnvironmentId,
        (work, build): (Work, Box<Build>),
        order: Order,
        cycles: u64,
    ) -> Result<Handle, Trouble> {
        match work {
            Work::Bind(bind) => self.publish_binding(id, (bind, build), cycles),
            Work::Derive(derive) => self.publish_grant(id, (derive, build), order.grant, cycles),
            Work::Carve(carve) => self.publish_carved(id, (*carve, build), order.grant, cycles),
            Work::HandOver(parts) => self.publish_parts(id, (*parts, build), cycles),
            Work::Over => Err(Trouble::over()),
        }
    }

    fn answer_proof(
        &mut self,
        id: EnvironmentId,
        order: Order,
        published: Result<Handle, Trouble>,
        cycles: u64,
    ) {
        let (status, value) = match published {
            Ok(handle) => (Status::Ok, handle.0),
            Err(Trouble::Failed(status)) => (status, 0),
            Err(trouble) => (Status::Refused, self.refuse(id, order, &trouble, cycles)),
        };
        if let Some(environment) = self.environments.get_mut(id) {
            environment.state = State::Runnable;
            environment.answer(status, value);
        }
    }

    /// Drops an environment's proof, if it has one.
    pub(crate) fn abandon_proof(&mut self, id: EnvironmentId) {
        let Some(proof) = self.environments.get_mut(id).and_then(|it| it.proof.take()) else {
            return;
        };
        let Proof { work, build, arena, frames, .. } = *proof;
        drop((work, build));
        self.close_arena(id, arena, frames);
    }
}

impl Proof {
    fn at(&self) -> At {
        match (&self.outcome, &self.build) {
            (Some(_), _) => At::Close,
            (None, Some(build)) => build.at(),
            (None, None) => self.work.at(),
        }
    }

    /// The name of what it is at.
    pub(crate) fn stage(&self) -> &'static str {
        self.at().name()
    }
}

impl Work {
    /// Works on the current stage; true once everything is proven.
    fn step(
        &mut self,
        arena: &mut Arena,
        kernel: &Kernel,
        grant: GrantId,
        fuel: &mut Fuel,
    ) -> Result<bool, Trouble> {
        match self {
            Work::Bind(bind) => bind.step(arena, kernel, grant, fuel),
            Work::Derive(derive) => derive.step(arena, kernel, grant, fuel),
            Work::Carve(carve) => carve.step(arena, kernel, grant, fuel),
            Work::HandOver(parts) => parts.step(arena, kernel, fuel),
            Work::Over => Err(Trouble::over()),
        }
    }

    /// What it is at.
    fn at(&self) -> At {
        match self {
            Work::Bind(bind) => bind.at(),
            Work::Derive(derive) => derive.at(),
            Work::Carve(carve) => carve.at(),
            Work::HandOver(parts) => parts.at(),
            Work::Over => At::Close,
        }
    }

    /// What becomes code, and the maps of the handler.
    fn plans(&self) -> (Plans<'_>, &[MapId]) {
        match self {
            Work::Bind(bind) => bind.plans(),
            Work::Derive(derive) => (derive.plans(), &[]),
            Work::Carve(carve) => carve.plans(),
            Work::HandOver(parts) => parts.plans(),
            Work::Over => (Plans::default(), &[]),
        }
    }
}

/// Does one step inside the arena; the answer's refusal is brought out of it.
fn drive<T>(
    arena: &mut Arena,
    blame: Blame,
    step: impl FnOnce() -> Step<T>,
) -> Result<Option<T>, Trouble> {
    match arena.enter(step) {
        Poll::Pending => Ok(None),
        Poll::Ready(Ok(answer)) => Ok(Some(answer)),
        Poll::Ready(Err(refusal)) => Err(Trouble::refused(blame, &refusal)),
    }
}
