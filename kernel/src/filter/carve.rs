//! Carving: a connection out of its listener, in one call.
//!
//! The child grant and the one binding that is all of it come into being together, or not at all:
//! between the two nothing is classified. Nobody holds the grant, so it goes with its binding, and
//! its frames are the listener's again.

use abi::Handle;
use abi::refusal::Blame;
use alloc::boxed::Box;
use machine::heap::Arena;
use verifier::{BindingId, Fuel, GrantId, Placed};

use super::bind::Parts;
use super::build::{Build, Plans};
use super::derive::{Derive, Stage};
use super::handler::Handler;
use super::{At, BindStart, DeriveStart, Source, Trouble};
use crate::Kernel;
use crate::environment::EnvironmentId;
use crate::grant::GrantRecord;
use crate::limits::BINDING_COST;
use crate::maps::MapId;

/// What a carve call asks for.
pub(crate) struct CarveStart {
    /// The listener.
    pub(crate) from: BindingId,
    /// The connection; its filter is the grant's receive space and the binding's claim.
    pub(crate) bind: BindStart,
    /// None: the mirror of the receive space.
    pub(crate) transmit: Option<Source>,
}

/// A connection on its way.
pub(super) struct Carve {
    derive: Derive,
    handler: Handler,
    parts: Parts,
}

impl CarveStart {
    /// The grant that is a part of it.
    pub(super) fn derivation(&self) -> DeriveStart {
        DeriveStart {
            receive: self.bind.filter,
            transmit: self.transmit,
            rights: abi::Rights::empty(),
            from: Some(self.from),
            certificate: self.bind.certificate,
        }
    }
}

impl Carve {
    /// Copy in.
    pub(super) fn new(
        kernel: &Kernel,
        arena: &mut Arena,
        caller: EnvironmentId,
        start: CarveStart,
    ) -> Result<Carve, Trouble> {
        let derive = Derive::new(kernel, arena, caller, start.derivation())?;
        let BindStart { ash, rings, maps, .. } = start.bind;
        let handler = Handler::new(kernel, arena, (caller, ash), &maps)?;
        Ok(Carve { derive, handler, parts: Parts { ash: None, rings, maps } })
    }

    /// Works on the current stage; true once everything is proven.
    pub(super) fn step(
        &mut self,
        arena: &mut Arena,
        kernel: &Kernel,
        parent: GrantId,
        fuel: &mut Fuel,
    ) -> Result<bool, Trouble> {
        Ok(self.handler.step(arena, fuel)? && self.derive.step(arena, kernel, parent, fuel)?)
    }

    /// What it is at.
    pub(super) fn at(&self) -> At {
        self.handler.at().unwrap_or(self.derive.at())
    }

    /// What becomes code, once everything is proven.
    pub(super) fn plans(&self) -> (Plans<'_>, &[MapId]) {
        let plans = self.derive.plans();
        // The binding is all of the grant.
        let claims = [plans.claims[0]; 2];
        (Plans { handler: self.handler.ready(), claims, ..plans }, &self.parts.maps)
    }
}

impl Kernel {
    /// Reserve, seal, adopt, own, commit, publish.
    pub(super) fn publish_carved(
        &mut self,
        owner: EnvironmentId,
        (carve, mut build): (Carve, Box<Build>),
        parent: GrantId,
        proof_cycles: u64,
    ) -> Result<Handle, Trouble> {
        let Carve { derive, handler, parts } = carve;
        let Derive { stage: Stage::Proven(placed), guard: Some(guard), .. } = derive else {
            return Err(Trouble::over());
        };
        let before = machine::time::cycles();
        let ash = handler.take();
        let ash_slots = ash.as_ref().map_or(0, |ash| ash.program().len());
        let filter_slots = placed.receive().verified().program().len();
        let grant_slots = filter_slots + guard.program().len();
        let costs =
            [grant_slots, filter_slots + ash_slots].map(|slots| BINDING_COST + 64 * slots as u64);
        // Two holders are merged, one after the other.
        let slots = 2 * (grant_slots + ash_slots) + MERGED_TWICE;
        self.reserve_for_publication(owner, slots, costs.iter().sum())?;
        let filter = self.program_for_record(placed.receive().verified().program());
        let guard = build.guard(self)?;
        let record = GrantRecord { guard, holders: 0, payer: Some(owner), cost: costs[0] };
        let grant = self.adopt_and_publish(placed, record, &mut build)?;
        if let Some(environment) = self.environments.get_mut(owner) {
            environment.account.heap += costs[0];
        }
        let parts = Parts { ash, ..parts };
        let id = match self.bind_all(owner, grant, (parts, &mut build), costs[1]) {
            Ok(id) => id,
            Err(trouble) => {
                // Nobody has seen it: as if it had never been.
                let _nothing_else = self.network.registry.revoke(grant);
                self.take_grant_down(grant);
                return Err(trouble);
            }
        };
        let handle = self.entrust(owner, id, costs[1])?;
        let compile_cycles = machine::time::cycles().saturating_sub(before);
        log::info!("environment {}: binding {id} carved under grant {parent}", owner.0);
        self.tell_granted((owner, parent, grant), filter.clone(), proof_cycles);
        let cycles = [proof_cycles, compile_cycles];
        self.tell_bound((owner, grant, id), (filter, ash_slots), cycles);
        Ok(handle)
    }

    /// The binding that is all of a grant that was just adopted.
    fn bind_all(
        &mut self,
        owner: EnvironmentId,
        grant: GrantId,
        (parts, build): (Parts, &mut Build),
        cost: u64,
    ) -> Result<BindingId, Trouble> {
        let placed = Placed::all_of(&self.network.registry, grant);
        let placed = placed.map_err(|refusal| Trouble::refused(Blame::Filter, &refusal))?;
        let binding = self.make_binding(owner, grant, (parts, build), cost)?;
        self.own_and_publish(placed, binding, build)
    }
}

/// Slots that stand for what merging takes besides programs, a second time.
const MERGED_TWICE: usize = 1_024;
