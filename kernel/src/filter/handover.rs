//! Hand-over: one binding becomes two that are proven to be exactly it.
//!
//! The first part stays what the old binding was: its rings with all that is in them, its ASH, maps
//! and pipe, its counts, and what the card still sends for it. The second gets rings and an ASH of
//! its own. Both are compiled before the exchange, and the exchange is one step between two
//! packets: none is lost, none is seen twice.

use abi::certificate::Reader;
use abi::record::Record;
use abi::refusal::Blame;
use abi::{Handle, Status};
use alloc::boxed::Box;
use dpf::Loading;
use ebpf::Kind;
use machine::heap::Arena;
use verifier::{
    BindingId, Claim, ClaimProof, Fuel, GrantId, HandedOver, Handover, HashKey, Verified,
};

use super::bind::Parts;
use super::build::{Build, Plans};
use super::claim::Claiming;
use super::handler::Handler;
use super::upload::Upload;
use super::{At, BindStart, Source, Trouble, claim, drive};
use crate::Kernel;
use crate::binding::Binding;
use crate::capability::{Capability, Object};
use crate::environment::EnvironmentId;
use crate::limits::BINDING_COST;
use crate::maps::MapId;

/// What a hand-over asks for.
pub(crate) struct HandOverStart {
    pub(crate) old: BindingId,
    /// The caller's capability to it: to the first part from then on.
    pub(crate) handle: Handle,
    /// Filter of the first part.
    pub(crate) first: Source,
    pub(crate) second: BindStart,
}

/// Two parts on their way.
pub(super) struct HandOver {
    old: BindingId,
    handle: Handle,
    stage: Stage,
    handler: Handler,
    parts: Parts,
    /// For the filters of both parts.
    certificate: Option<Reader>,
}

enum Stage {
    FirstSafe(Upload, Upload),
    SecondSafe(Verified, Upload),
    FirstClaim(Claiming, Verified),
    SecondClaim(Claim, Claiming),
    Prove(Box<Handover>),
    Proven(HandedOver),
    Over,
}

impl HandOver {
    /// Copy in.
    pub(super) fn new(
        kernel: &Kernel,
        arena: &mut Arena,
        caller: EnvironmentId,
        start: HandOverStart,
    ) -> Result<HandOver, Trouble> {
        let HandOverStart { old, handle, first, second } = start;
        let BindStart { filter, ash, rings, maps, certificate } = second;
        let mut upload =
            |source, blame| Upload::new(kernel, arena, (caller, source), (Kind::Filter, blame));
        let stage = Stage::FirstSafe(upload(first, Blame::Filter)?, upload(filter, Blame::Rest)?);
        let handler = Handler::new(kernel, arena, (caller, ash), &maps)?;
        let certificate = claim::certificate(kernel, arena, (caller, certificate))?;
        let parts = Parts { ash: None, rings, maps };
        Ok(HandOver { old, handle, stage, handler, parts, certificate })
    }

    /// Works on the current stage; true once everything is proven.
    pub(super) fn step(
        &mut self,
        arena: &mut Arena,
        kernel: &Kernel,
        fuel: &mut Fuel,
    ) -> Result<bool, Trouble> {
        if !self.handler.step(arena, fuel)? {
            return Ok(false);
        }
        let registry = &kernel.network.registry;
        let key = registry.hash_key();
        self.stage = match core::mem::replace(&mut self.stage, Stage::Over) {
            Stage::FirstSafe(mut upload, second) => match upload.step(arena, fuel)? {
                None => Stage::FirstSafe(upload, second),
                Some(first) => Stage::SecondSafe(first, second),
            },
            Stage::SecondSafe(first, mut upload) => match upload.step(arena, fuel)? {
                None => Stage::SecondSafe(first, upload),
                Some(second) => {
                    Stage::FirstClaim(self.claim(arena, (Blame::Filter, first), key), second)
                }
            },
            Stage::FirstClaim(mut proof, second) => match proof.step(arena, fuel)? {
                None => Stage::FirstClaim(proof, second),
                Some(first) => {
                    Stage::SecondClaim(first, self.claim(arena, (Blame::Rest, second), key))
                }
            },
            Stage::SecondClaim(first, mut proof) => match proof.step(arena, fuel)? {
                None => Stage::SecondClaim(first, proof),
                Some(second) => {
                    let proof = Handover::new(registry, self.old, [first, second]);
                    let proof = proof.map_err(|it| Trouble::refused(Blame::Filter, &it))?;
                    Stage::Prove(Box::new(proof))
                }
            },
            Stage::Prove(mut proof) => {
                match drive(arena, Blame::Filter, || proof.step(registry, fuel))? {
                    None => Stage::Prove(proof),
                    Some(handed) => Stage::Proven(handed),
                }
            }
            Stage::Proven(handed) => Stage::Proven(handed),
            Stage::Over => return Err(Trouble::over()),
        };
        Ok(matches!(self.stage, Stage::Proven(_)))
    }

    /// What it is at.
    pub(super) fn at(&self) -> At {
        self.handler.at().unwrap_or(match &self.stage {
            Stage::FirstSafe(upload, _) | Stage::SecondSafe(_, upload) => upload.at(),
            Stage::FirstClaim(..) | Stage::SecondClaim(..) => At::Claim,
            Stage::Prove(_) | Stage::Proven(_) | Stage::Over => At::Place,
        })
    }

    /// What becomes code, once everything is proven.
    pub(super) fn plans(&self) -> (Plans<'_>, &[MapId]) {
        let Stage::Proven(handed) = &self.stage else { return (Plans::default(), &[]) };
        let claims = handed.claims().each_ref().map(Some);
        (Plans { handler: self.handler.ready(), guard: None, claims }, &self.parts.maps)
    }

    fn claim(&self, arena: &mut Arena, filter: (Blame, Verified), key: HashKey) -> Claiming {
        Claiming::new(arena, filter, key, self.certificate.as_ref(), ClaimProof::keyed)
    }
}

impl Kernel {
    /// Reserve, seal, exchange, prepare, commit, publish.
    pub(super) fn publish_parts(
        &mut self,
        owner: EnvironmentId,
        (hand_over, mut build): (HandOver, Box<Build>),
        proof_cycles: u64,
    ) -> Result<Handle, Trouble> {
        let HandOver { old, handle, stage: Stage::Proven(handed), handler, parts, .. } = hand_over
        else {
            return Err(Trouble::over());
        };
        let before = machine::time::cycles();
        let slots = handed.claims().each_ref().map(|claim| claim.verified().program().len());
        let filters =
            handed.claims().each_ref().map(|it| self.program_for_record(it.verified().program()));
        let ash = handler.take();
        let ash_slots = ash.as_ref().map_or(0, |ash| ash.program().len());
        let grant = self.still_ours(owner, handle, old)?;
        let more = self.longer(old, slots[0]);
        let cost = BINDING_COST + 64 * (slots[1] + ash_slots) as u64;
        let all = 2 * (slots[0] + slots[1] + ash_slots);
        self.reserve_for_publication(owner, all, cost + more)?;
        let second = self.make_binding(owner, grant, (Parts { ash, ..parts }, &mut build), cost)?;
        let new = self.exchange_parts(handed, second, build.residuals())?;
        self.rename(owner, handle, (old, new[0]), more);
        let given = self.entrust(owner, new[1], cost)?;
        let compile_cycles = machine::time::cycles().saturating_sub(before);
        log::info!("environment {}: binding {old} is {} and {} now", owner.0, new[0], new[1]);
        self.channel.emit(16, || Record::Unbound { binding: old.to_raw() });
        for ((id, filter), ash_slots) in new.into_iter().zip(filters).zip([0, ash_slots]) {
            let cycles = [proof_cycles, compile_cycles];
            self.tell_bound((owner, grant, id), (filter, ash_slots), cycles);
        }
        Ok(given)
    }

    /// The grant of a binding that is still the caller's, by the same capability.
    fn still_ours(
        &self,
        owner: EnvironmentId,
        handle: Handle,
        old: BindingId,
    ) -> Result<GrantId, Trouble> {
        let named = self.capability(owner, handle).map(|it| it.object);
        let binding = self.network.bindings.get(&old).filter(|it| it.owner == owner);
        match binding {
            Some(binding) if named == Ok(Object::Binding(old)) => Ok(binding.grant),
            _ => Err(Trouble::stale("the binding went while the proof ran")),
        }
    }

    /// Bytes that a longer filter of the first part costs more than the old one.
    fn longer(&self, old: BindingId, slots: usize) -> u64 {
        let claim = self.network.registry.binding(old).map(|it| it.claim().clone());
        let before = claim.map_or(0, |claim| claim.verified().program().len());
        64 * slots.saturating_sub(before) as u64
    }

    /// The exchange itself: after `prepare_exchange` nothing can fail.
    fn exchange_parts(
        &mut self,
        handed: HandedOver,
        second: Binding,
        residuals: [Option<Loading>; 2],
    ) -> Result<[BindingId; 2], Trouble> {
        let network = &mut self.network;
        let (engine, code) = (&mut network.engine, &mut network.code);
        let prepared = network
            .registry
            .exchange(handed)
            .map_err(|refusal| Trouble::refused(Blame::Filter, &refusal))
            .and_then(|exchange| match engine.prepare_exchange_with(&exchange, residuals, code) {
                Ok(prepared) => Ok((exchange.old(), prepared, exchange.commit())),
                Err(error) => Err(Trouble::engine(Blame::Filter, &error)),
            });
        match prepared {
            Ok((old, prepared, new)) => {
                if !engine.publish_exchange(prepared, (old, new), code) {
                    log::error!("binding {old} was not in the engine");
                }
                if let Some(first) = network.bindings.remove(&old) {
                    network.bindings.insert(new[0], first);
                }
                network.bindings.insert(new[1], second);
                Ok(new)
            }
            Err(trouble) => {
                if let Some(ash) = second.ash {
                    ash.free(code);
                }
                Err(trouble)
            }
        }
    }

    /// Whatever named the old binding names its first part.
    fn rename(
        &mut self,
        owner: EnvironmentId,
        handle: Handle,
        (old, new): (BindingId, BindingId),
        more: u64,
    ) {
        for sending in self.network.sending.iter_mut().filter(|it| it.binding == old) {
            sending.binding = new;
        }
        // Their first is in the ring that the first part keeps.
        self.network.pieces.rename(old, new);
        if let Some(binding) = self.network.bindings.get_mut(&new) {
            binding.cost += more;
        }
        if let Some(environment) = self.environments.get_mut(owner) {
            environment.account.heap += more;
            // It was there a moment ago.
            let _renamed: Result<Capability, Status> =
                environment.table.rename(handle, Object::Binding(new));
        }
    }
}
