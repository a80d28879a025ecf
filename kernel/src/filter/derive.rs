//! Deriving a grant: the stages from uploaded filters to an adopted grant with its guard.

use abi::certificate::Reader;
use abi::limits::{GUARDED_BYTES_MAX, PROGRAM_SLOTS_MAX};
use abi::refusal::{Blame, Code};
use abi::{Handle, Rights};
use alloc::boxed::Box;
use ebpf::Kind;
use flow::Space;
use machine::heap::Arena;
use verifier::{
    BindingId, Claim, ClaimProof, Derivation, Fuel, GrantId, PlacedGrant, Transmit, Verified,
};

use super::build::{Build, Plans};
use super::claim::Claiming;
use super::upload::Upload;
use super::{At, Source, Trouble, claim, drive};
use crate::Kernel;
use crate::capability::{Capability, Object};
use crate::environment::EnvironmentId;
use crate::grant::{GrantRecord, is_guardable};
use crate::limits::BINDING_COST;

/// What a derivation asks for.
#[derive(Clone, Copy)]
pub(crate) struct DeriveStart {
    pub(crate) receive: Source,
    /// None: the mirror of the receive space.
    pub(crate) transmit: Option<Source>,
    /// What the caller may do with the child.
    pub(crate) rights: Rights,
    /// The binding that it is carved from; none: the parent itself.
    pub(crate) from: Option<BindingId>,
    /// Cases for the receive filter.
    pub(crate) certificate: Option<Source>,
}

impl DeriveStart {
    /// Slots of the largest program to be proven; a mirror's guard can be any legal size.
    pub(super) fn slots(&self) -> usize {
        self.transmit.map_or(PROGRAM_SLOTS_MAX, |it| it.slots().max(self.receive.slots()))
    }
}

/// A grant on its way.
pub(super) struct Derive {
    pub(super) stage: Stage,
    transmit_upload: Option<Upload>,
    pub(super) guard: Option<Verified>,
    rights: Rights,
    from: Option<BindingId>,
    certificate: Option<Reader>,
}

pub(super) enum Stage {
    ReceiveSafe(Upload),
    ReceiveClaim(Claiming),
    TransmitSafe(Claim, Upload),
    TransmitClaim(Claim, ClaimProof),
    GuardSafe(Claim, Space, Upload),
    Place(Box<Derivation>),
    Proven(PlacedGrant),
    Over,
}

impl Derive {
    /// Copy in.
    pub(super) fn new(
        kernel: &Kernel,
        arena: &mut Arena,
        caller: EnvironmentId,
        start: DeriveStart,
    ) -> Result<Derive, Trouble> {
        let mut upload =
            |source, blame| Upload::new(kernel, arena, (caller, source), (Kind::Filter, blame));
        let stage = Stage::ReceiveSafe(upload(start.receive, Blame::Filter)?);
        let transmit = start.transmit.map(|source| upload(source, Blame::Transmit));
        let transmit_upload = transmit.transpose()?;
        let certificate = claim::certificate(kernel, arena, (caller, start.certificate))?;
        let DeriveStart { rights, from, .. } = start;
        Ok(Derive { stage, transmit_upload, guard: None, rights, from, certificate })
    }

    /// Works on the current stage; true once everything is proven.
    pub(super) fn step(
        &mut self,
        arena: &mut Arena,
        kernel: &Kernel,
        parent: GrantId,
        fuel: &mut Fuel,
    ) -> Result<bool, Trouble> {
        let key = kernel.network.registry.hash_key();
        self.stage = match core::mem::replace(&mut self.stage, Stage::Over) {
            Stage::ReceiveSafe(mut upload) => match upload.step(arena, fuel)? {
                None => Stage::ReceiveSafe(upload),
                Some(it) => {
                    let (filter, cases) = ((Blame::Filter, it), self.certificate.as_ref());
                    let extract = ClaimProof::keyed;
                    Stage::ReceiveClaim(Claiming::new(arena, filter, key, cases, extract))
                }
            },
            Stage::ReceiveClaim(mut proof) => match proof.step(arena, fuel)? {
                None => Stage::ReceiveClaim(proof),
                Some(claim) => self.after_receive(arena, kernel, claim)?,
            },
            Stage::TransmitSafe(receive, mut upload) => match upload.step(arena, fuel)? {
                None => Stage::TransmitSafe(receive, upload),
                Some(it) => {
                    self.guard = Some(it.clone());
                    Stage::TransmitClaim(receive, arena.enter(|| ClaimProof::keyed(it, key)))
                }
            },
            Stage::TransmitClaim(receive, mut proof) => {
                match drive(arena, Blame::Transmit, || proof.step(fuel))? {
                    None => Stage::TransmitClaim(receive, proof),
                    Some(claim) => {
                        guardable(claim.space())?;
                        let transmit = Transmit::Claim(claim.detach());
                        place(kernel, (parent, self.from), receive, transmit)?
                    }
                }
            }
            Stage::GuardSafe(receive, space, mut upload) => match upload.step(arena, fuel)? {
                None => Stage::GuardSafe(receive, space, upload),
                Some(guard) => {
                    self.guard = Some(guard);
                    place(kernel, (parent, self.from), receive, Transmit::Space(space))?
                }
            },
            Stage::Place(mut proof) => {
                let registry = &kernel.network.registry;
                match drive(arena, Blame::Filter, || proof.step(registry, fuel))? {
                    None => Stage::Place(proof),
                    Some(placed) => Stage::Proven(placed),
                }
            }
            Stage::Proven(placed) => Stage::Proven(placed),
            Stage::Over => return Err(Trouble::over()),
        };
        Ok(matches!(self.stage, Stage::Proven(_)))
    }

    /// On to the transmit space: the caller's program, or the mirror and its guard.
    fn after_receive(
        &mut self,
        arena: &mut Arena,
        kernel: &Kernel,
        receive: Claim,
    ) -> Result<Stage, Trouble> {
        if let Some(upload) = self.transmit_upload.take() {
            return Ok(Stage::TransmitSafe(receive, upload));
        }
        let identity = flow::mirror::Identity { mac: kernel.network.mac().unwrap_or_default() };
        let space = flow::mirror::mirror(receive.space(), &identity)
            .map_err(|error| Trouble::no_mirror(&error))?;
        guardable(&space)?;
        let lowered = arena.enter(|| flow::lower::lower(&space));
        let guard = lowered.map_err(|error| Trouble::no_mirror(&error))?;
        let upload = Upload::made(arena, guard, Blame::Transmit);
        Ok(Stage::GuardSafe(receive, space, upload))
    }

    /// What it is at.
    pub(super) const fn at(&self) -> At {
        match &self.stage {
            Stage::ReceiveSafe(it) | Stage::TransmitSafe(_, it) | Stage::GuardSafe(.., it) => {
                it.at()
            }
            Stage::ReceiveClaim(_) | Stage::TransmitClaim(..) => At::Claim,
            Stage::Place(_) | Stage::Proven(_) | Stage::Over => At::Place,
        }
    }

    /// What becomes code, once everything is proven.
    pub(super) fn plans(&self) -> Plans<'_> {
        let Stage::Proven(placed) = &self.stage else { return Plans::default() };
        let claims = [Some(placed.receive()), None];
        Plans { handler: None, guard: self.guard.as_ref(), claims }
    }
}

/// Inside the parent in both directions, apart from its other children and bindings; or inside the
/// binding that it is carved from.
fn place(
    kernel: &Kernel,
    (parent, from): (GrantId, Option<BindingId>),
    receive: Claim,
    transmit: Transmit,
) -> Result<Stage, Trouble> {
    let registry = &kernel.network.registry;
    let proof = match from {
        Some(from) => Derivation::carve(registry, from, receive, transmit),
        None => Derivation::new(registry, parent, receive, transmit),
    };
    proof.map(|it| Stage::Place(Box::new(it))).map_err(|it| Trouble::refused(Blame::Filter, &it))
}

fn guardable(space: &Space) -> Result<(), Trouble> {
    let limit = ("GUARDED_BYTES_MAX", GUARDED_BYTES_MAX as u64);
    if is_guardable(space) {
        Ok(())
    } else {
        Err(Trouble::limit(Code::Limit, Blame::Transmit, limit))
    }
}

impl Kernel {
    /// Reserve, seal, prepare, adopt, publish.
    pub(super) fn publish_grant(
        &mut self,
        owner: EnvironmentId,
        (derive, mut build): (Derive, Box<Build>),
        parent: GrantId,
        proof_cycles: u64,
    ) -> Result<Handle, Trouble> {
        let Derive { stage: Stage::Proven(placed), guard: Some(guard), rights, .. } = derive else {
            return Err(Trouble::over());
        };
        let slots = placed.receive().verified().program().len() + guard.program().len();
        let cost = BINDING_COST + 64 * slots as u64;
        self.reserve_for_publication(owner, slots, cost)?;
        let receive = self.program_for_record(placed.receive().verified().program());
        let guard = build.guard(self)?;
        let record = GrantRecord { guard, holders: 0, payer: Some(owner), cost };
        let id = self.adopt_and_publish(placed, record, &mut build)?;
        if let Some(environment) = self.environments.get_mut(owner) {
            environment.account.heap += cost;
        }
        let capability = Capability { object: Object::Grant(id), rights };
        let handle = self.give(owner, capability).map_err(Trouble::Failed)?;
        log::info!("environment {}: grant {id} derived from {parent}", owner.0);
        self.tell_granted((owner, parent, id), receive, proof_cycles);
        Ok(handle)
    }

    pub(super) fn adopt_and_publish(
        &mut self,
        placed: PlacedGrant,
        record: GrantRecord,
        build: &mut Build,
    ) -> Result<GrantId, Trouble> {
        let network = &mut self.network;
        let prepared = network.engine.prepare_grant_with(
            (&network.registry, &placed),
            build.residual(),
            &mut network.code,
        );
        let adopted = match prepared {
            Err(error) => Err(Trouble::engine(Blame::Filter, &error)),
            Ok(prepared) => match network.registry.adopt(placed) {
                Ok(id) => {
                    network.engine.publish_grant(prepared, id);
                    Ok(id)
                }
                Err(refusal) => {
                    network.engine.discard_grant(prepared, &mut network.code);
                    Err(Trouble::refused(Blame::Filter, &refusal))
                }
            },
        };
        match adopted {
            Ok(id) => {
                network.grants.insert(id, record);
                Ok(id)
            }
            Err(trouble) => {
                if let Some(guard) = record.guard {
                    guard.free(&mut network.code);
                }
                Err(trouble)
            }
        }
    }
}
