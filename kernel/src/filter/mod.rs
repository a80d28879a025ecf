//! The filter path: from bytes of ring 3 to a published binding or grant, step by step.
//!
//! ```text
//! bind    copy in -> decode -> safe -> (ASH: safe, cost) -> (certificate) -> claim -> inside
//!                 -> disjoint -> reserve -> compile, check -> own -> prepare -> commit -> publish
//! derive  copy in -> decode -> safe -> claim -> (transmit: safe, claim | mirror) -> guardable
//!                 -> guard: lower, safe -> inside the parent, apart -> reserve -> compile, check
//!                 -> prepare -> adopt -> publish
//! carve   the stages of both: inside the listener's claim instead, apart from what was carved
//! hand-   copy in -> decode -> safe -> claim, for both parts -> together exactly the old binding
//!  over           -> reserve -> compile, check -> exchange -> prepare -> commit -> publish
//! ```
//!
//! `bind.rs`, `derive.rs`, `carve.rs` and `handover.rs` hold one stage after the other. A call
//! starts a [`Proof`]; its environment is then `Proving` and each of its turns is one
//! [`Kernel::prove`], a bounded number of instructions long, with the card and the clock served in
//! between. The proof's memory is an
//! arena of frames that the caller pays for while it runs; what survives is made anew in the
//! kernel heap, after that was reserved too. The proof is dropped, and the arena given back, when
//! it answers or its owner ends.

mod arena;
mod bind;
mod carve;
mod claim;
mod derive;
mod handler;
mod handover;
mod predicate;
mod refusal;

use core::task::Poll;

use abi::refusal::{Blame, Code};
use abi::start::State;
use abi::{Handle, Status};
use alloc::boxed::Box;
use machine::heap::Arena;
use verifier::{Fuel, GrantId, Step};

use crate::Kernel;
use crate::calls::{Answer, Done};
use crate::environment::EnvironmentId;
use crate::limits::PROOF_FUEL;

pub(crate) use bind::{BindStart, RingPages};
pub(crate) use carve::CarveStart;
pub(crate) use derive::DeriveStart;
pub(crate) use handover::HandOverStart;
pub(crate) use refusal::Trouble;

/// A proof that is being worked on.
pub(crate) struct Proof {
    work: Work,
    arena: Arena,
    /// Frames of the arena.
    frames: u64,
    /// Cycles spent in its steps so far.
    cycles: u64,
    /// Steps so far, and the cycles of the longest.
    steps: (u32, u64),
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
    /// Starts a proof, if its first stages (copy in, decode) and its memory allow.
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
            bind::Bind::decode(kernel, arena, caller, start).map(Work::Bind)
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
            derive::Derive::decode(kernel, arena, caller, start).map(Work::Derive)
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
            let carve = carve::Carve::decode(kernel, arena, caller, start)?;
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
            let parts = handover::HandOver::decode(kernel, arena, caller, start)?;
            Ok(Work::HandOver(Box::new(parts)))
        })
    }

    fn start(
        &mut self,
        caller: EnvironmentId,
        order: Order,
        size: Size,
        decode: impl FnOnce(&Kernel, &mut Arena) -> Result<Work, Trouble>,
    ) -> Answer {
        let before = machine::time::cycles();
        self.watch_proof();
        let (mut arena, frames) = match self.open_arena(caller, size) {
            Ok(opened) => opened,
            Err(trouble) => return self.refuse_at_once(caller, order, &trouble),
        };
        match decode(self, &mut arena) {
            Ok(work) => {
                let cycles = machine::time::cycles().saturating_sub(before);
                let proof = Box::new(Proof { work, arena, frames, cycles, steps: (0, 0), order });
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
        let before = machine::time::cycles();
        let mut fuel = Fuel(PROOF_FUEL);
        let outcome = match &mut proof.work {
            Work::Bind(bind) => bind.step(&mut proof.arena, self, proof.order.grant, &mut fuel),
            Work::Derive(derive) => {
                derive.step(&mut proof.arena, self, proof.order.grant, &mut fuel)
            }
            Work::Carve(carve) => carve.step(&mut proof.arena, self, proof.order.grant, &mut fuel),
            Work::HandOver(parts) => parts.step(&mut proof.arena, self, &mut fuel),
        };
        let took = machine::time::cycles().saturating_sub(before);
        proof.cycles += took;
        proof.steps = (proof.steps.0.saturating_add(1), proof.steps.1.max(took));
        let finished = match outcome {
            Ok(false) => {
                if let Some(environment) = self.environments.get_mut(id) {
                    environment.proof = Some(proof);
                }
                return;
            }
            Ok(true) => Ok(()),
            Err(trouble) => Err(trouble),
        };
        let Proof { work, arena, frames, cycles, steps, order } = *proof;
        let published = finished.and_then(|()| self.publish(id, work, order, cycles));
        self.close_arena(id, arena, frames);
        self.answer_proof(id, order, published, cycles);
        self.watched_proof(id, steps.0, steps.1);
    }

    /// What is left when everything is proven.
    fn publish(
        &mut self,
        id: EnvironmentId,
        work: Work,
        order: Order,
        cycles: u64,
    ) -> Result<Handle, Trouble> {
        match work {
            Work::Bind(bind) => self.publish_binding(id, bind, cycles),
            Work::Derive(derive) => self.publish_grant(id, derive, order.grant, cycles),
            Work::Carve(carve) => self.publish_carved(id, *carve, order.grant, cycles),
            Work::HandOver(parts) => self.publish_parts(id, *parts, cycles),
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
        let Proof { work, arena, frames, .. } = *proof;
        drop(work);
        self.close_arena(id, arena, frames);
    }
}

/// Copies a program in and decodes it, both inside the arena.
fn decode(
    kernel: &Kernel,
    arena: &mut Arena,
    (owner, source): (EnvironmentId, Source),
    kind: ebpf::Kind,
    blame: Blame,
) -> Result<ebpf::Program, Trouble> {
    let slots = abi::limits::PROGRAM_SLOTS_MAX;
    if source.slots() > slots {
        return Err(Trouble::limit(Code::Limit, blame, ("PROGRAM_SLOTS_MAX", slots as u64)));
    }
    let decoded = arena.enter(|| {
        let bytes = kernel.copy_in(owner, source.address, source.bytes)?;
        Ok(ebpf::decode(&bytes, kind, slots))
    });
    decoded.map_err(Trouble::Failed)?.map_err(|error| Trouble::malformed(blame, &error))
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
