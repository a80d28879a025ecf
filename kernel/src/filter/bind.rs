//! Binding: the stages from an uploaded filter to a published binding.

use abi::bind::BindingStats;
use abi::certificate::Reader;
use abi::refusal::{Blame, Code};
use abi::{Handle, Rights};
use alloc::boxed::Box;
use alloc::vec::Vec;
use ebpf::{CallTarget, Insn, Kind, Program};
use machine::Frame;
use machine::heap::Arena;
use verifier::{BindingId, ClaimProof, Fuel, GrantId, Placed, Placement, Verified};

use super::build::{Build, Plans};
use super::claim::Claiming;
use super::handler::Handler;
use super::upload::Upload;
use super::{At, Source, Trouble, claim, drive};
use crate::Kernel;
use crate::binding::Binding;
use crate::capability::{Capability, Object};
use crate::charge;
use crate::environment::EnvironmentId;
use crate::limits::{BINDING_COST, compile_heap};
use crate::maps::MapId;
use crate::pages::PageId;
use crate::reserve::{Need, frames_of};
use crate::ring::Rings;

/// What a bind call asks for.
pub(crate) struct BindStart {
    pub(crate) filter: Source,
    pub(crate) ash: Option<Source>,
    pub(crate) rings: Option<RingPages>,
    /// The maps that the ASH names by position.
    pub(crate) maps: Vec<MapId>,
    /// Cases for the filter.
    pub(crate) certificate: Option<Source>,
}

/// The pages of a binding's rings, all owned by the caller.
pub(crate) struct RingPages {
    pub(crate) control: PageId,
    pub(crate) receive: Vec<PageId>,
    pub(crate) transmit: Vec<PageId>,
}

/// What a binding has besides its filter.
pub(super) struct Parts {
    pub(super) ash: Option<Verified>,
    pub(super) rings: Option<RingPages>,
    /// The maps that the ASH names by position.
    pub(super) maps: Vec<MapId>,
}

/// A binding on its way.
pub(super) struct Bind {
    stage: Stage,
    handler: Handler,
    parts: Parts,
    certificate: Option<Reader>,
}

enum Stage {
    FilterSafe(Upload),
    Claim(Claiming),
    Place(Box<Placement>),
    Proven(Placed),
    Over,
}

impl Bind {
    /// Copy in.
    pub(super) fn new(
        kernel: &Kernel,
        arena: &mut Arena,
        caller: EnvironmentId,
        start: BindStart,
    ) -> Result<Bind, Trouble> {
        let kind = (Kind::Filter, Blame::Filter);
        let filter = Upload::new(kernel, arena, (caller, start.filter), kind)?;
        let handler = Handler::new(kernel, arena, (caller, start.ash), &start.maps)?;
        let certificate = claim::certificate(kernel, arena, (caller, start.certificate))?;
        let stage = Stage::FilterSafe(filter);
        let BindStart { rings, maps, .. } = start;
        Ok(Bind { stage, handler, parts: Parts { ash: None, rings, maps }, certificate })
    }

    /// Works on the current stage; true once everything is proven.
    pub(super) fn step(
        &mut self,
        arena: &mut Arena,
        kernel: &Kernel,
        grant: GrantId,
        fuel: &mut Fuel,
    ) -> Result<bool, Trouble> {
        if !self.handler.step(arena, fuel)? {
            return Ok(false);
        }
        let registry = &kernel.network.registry;
        self.stage = match core::mem::replace(&mut self.stage, Stage::Over) {
            Stage::FilterSafe(mut upload) => match upload.step(arena, fuel)? {
                None => Stage::FilterSafe(upload),
                Some(filter) => {
                    let (filter, cases) = ((Blame::Filter, filter), self.certificate.as_ref());
                    let (key, extract) = (registry.hash_key(), ClaimProof::guarding);
                    Stage::Claim(Claiming::new(arena, filter, key, cases, extract))
                }
            },
            Stage::Claim(mut proof) => match proof.step(arena, fuel)? {
                None => Stage::Claim(proof),
                Some(claim) => {
                    let placement = Placement::bind(registry, grant, claim);
                    let placement = placement.map_err(|it| Trouble::refused(Blame::Filter, &it));
                    Stage::Place(Box::new(placement?))
                }
            },
            Stage::Place(mut proof) => {
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

    /// What it is at.
    pub(super) fn at(&self) -> At {
        self.handler.at().unwrap_or(match &self.stage {
            Stage::FilterSafe(upload) => upload.at(),
            Stage::Claim(_) => At::Claim,
            Stage::Place(_) | Stage::Proven(_) | Stage::Over => At::Place,
        })
    }

    /// What becomes code, once everything is proven.
    pub(super) fn plans(&self) -> (Plans<'_>, &[MapId]) {
        let Stage::Proven(placed) = &self.stage else { return (Plans::default(), &[]) };
        let claims = [Some(placed.claim()), None];
        (Plans { handler: self.handler.ready(), guard: None, claims }, &self.parts.maps)
    }
}

impl Kernel {
    /// Reserve, seal, own, prepare, commit, publish.
    pub(super) fn publish_binding(
        &mut self,
        owner: EnvironmentId,
        (bind, mut build): (Bind, Box<Build>),
        proof_cycles: u64,
    ) -> Result<Handle, Trouble> {
        let Bind { stage: Stage::Proven(placed), handler, parts, .. } = bind else {
            return Err(Trouble::over());
        };
        let before = machine::time::cycles();
        let ash = handler.take();
        let filter_slots = placed.claim().verified().program().len();
        let ash_slots = ash.as_ref().map_or(0, |ash| ash.program().len());
        let cost = BINDING_COST + 64 * (filter_slots + ash_slots) as u64;
        self.reserve_for_publication(owner, filter_slots + ash_slots, cost)?;
        let parts = Parts { ash, ..parts };
        let binding = self.make_binding(owner, placed.grant(), (parts, &mut build), cost)?;
        let filter = self.program_for_record(placed.claim().verified().program());
        let grant = placed.grant();
        let id = self.own_and_publish(placed, binding, &mut build)?;
        let handle = self.entrust(owner, id, cost)?;
        let compile_cycles = machine::time::cycles().saturating_sub(before);
        log::info!("environment {}: binding {id} under grant {grant}", owner.0);
        let cycles = [proof_cycles, compile_cycles];
        self.tell_bound((owner, grant, id), (filter, ash_slots), cycles);
        Ok(handle)
    }

    /// What the kernel keeps for a binding: its pages looked at again, its ASH sealed.
    pub(super) fn make_binding(
        &mut self,
        owner: EnvironmentId,
        grant: GrantId,
        (Parts { ash, rings, maps }, build): (Parts, &mut Build),
        cost: u64,
    ) -> Result<Binding, Trouble> {
        let rings = self.check_rings(owner, rings)?;
        let ash_cost = ash.as_ref().map_or(0, charge::cost_of);
        let ash_calls = ash.as_ref().is_some_and(|ash| calls_helpers(ash.program()));
        let ash = build.handler(self)?;
        Ok(Binding {
            owner,
            grant,
            ash,
            ash_calls,
            ash_cost,
            rings,
            maps,
            pipe: None,
            stats: BindingStats::default(),
            picked_up: None,
            cost,
        })
    }

    /// The last steps: after `prepare` nothing can fail.
    pub(super) fn own_and_publish(
        &mut self,
        placed: Placed,
        binding: Binding,
        build: &mut Build,
    ) -> Result<BindingId, Trouble> {
        let residual = build.residual();
        let network = &mut self.network;
        let prepared = network
            .registry
            .own(placed)
            .map_err(|refusal| Trouble::refused(Blame::Filter, &refusal))
            .and_then(|owned| {
                let prepared = network.engine.prepare_with(&owned, residual, &mut network.code);
                match prepared {
                    Ok(prepared) => Ok((prepared, owned.commit())),
                    Err(error) => Err(Trouble::engine(Blame::Filter, &error)),
                }
            });
        match prepared {
            Ok((prepared, id)) => {
                network.bindings.insert(id, binding);
                network.engine.publish(prepared, id);
                Ok(id)
            }
            Err(trouble) => {
                if let Some(ash) = binding.ash {
                    ash.free(&mut network.code);
                }
                Err(trouble)
            }
        }
    }

    /// Charges and pins what the binding keeps, and gives its owner the capability.
    pub(super) fn entrust(
        &mut self,
        owner: EnvironmentId,
        id: BindingId,
        cost: u64,
    ) -> Result<Handle, Trouble> {
        if let Some(environment) = self.environments.get_mut(owner) {
            environment.bindings += 1;
            environment.account.heap += cost;
        }
        let rings = self.network.bindings.get(&id).and_then(|binding| binding.rings.as_ref());
        let frames: Vec<u64> = rings.into_iter().flat_map(Rings::frames).collect();
        if let Some(rings) = rings {
            rings.reset();
        }
        frames.into_iter().for_each(|frame| self.pin(frame));
        let maps = self.network.bindings.get(&id).map_or(Vec::new(), |it| it.maps.clone());
        self.pin_maps(&maps);
        let rights = Rights::READ | Rights::TRANSMIT | Rights::REVOKE | Rights::GRANT;
        let capability = Capability { object: Object::Binding(id), rights };
        self.give(owner, capability).map_err(Trouble::Failed)
    }

    /// Heap for compiling, a slot for the capability, and the account for what stays.
    pub(super) fn reserve_for_publication(
        &mut self,
        owner: EnvironmentId,
        slots: usize,
        cost: u64,
    ) -> Result<(), Trouble> {
        let heap = compile_heap(slots);
        let missing =
            |name, value| move |_| Trouble::limit(Code::NoMemory, Blame::Request, (name, value));
        self.reserve_slot(owner).map_err(missing("capability slot", 1))?;
        let need = Need { frames: 0, charge: frames_of(cost), heap };
        self.reserve(owner, need).map_err(missing("kernel heap bytes", heap as u64))
    }

    /// The pages are looked at again: they may have been given back while the proof ran.
    fn check_rings(
        &self,
        owner: EnvironmentId,
        rings: Option<RingPages>,
    ) -> Result<Option<Rings>, Trouble> {
        let Some(pages) = rings else { return Ok(None) };
        let all = pages.receive.iter().chain(&pages.transmit);
        let mut all = core::iter::once(&pages.control).chain(all);
        let owned = |&id: &PageId| self.memory.page(id).is_some_and(|page| page.owner == owner);
        if !all.all(owned) {
            return Err(Trouble::stale("a page of the ring was given back while the proof ran"));
        }
        let pinned = |id: &PageId| self.memory.frame(id.frame).map(Frame::pin);
        let frames = |ids: &[PageId]| ids.iter().filter_map(pinned).collect();
        let (receive, transmit) = (frames(&pages.receive), frames(&pages.transmit));
        let control = pinned(&pages.control);
        Ok(control.map(|control| Rings::new(control, receive, transmit)))
    }

    /// A program's bytes for the framed channel; none if there is no room for them.
    pub(super) fn program_for_record(&self, program: &Program) -> Vec<u8> {
        let room = machine::heap::free_bytes() > crate::limits::HEAP_HEADROOM * 2;
        if room { ebpf::encode(program) } else { Vec::new() }
    }
}

/// Whether a program calls anything but itself.
fn calls_helpers(program: &Program) -> bool {
    let own = |target| matches!(target, CallTarget::Local(_));
    program.insns().iter().any(|insn| matches!(*insn, Insn::Call { target } if !own(target)))
}
