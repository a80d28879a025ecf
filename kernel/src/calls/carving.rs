//! Calls that take bindings apart: a connection carved from its listener, one binding handed over
//! as two; and the index kept ready for them.

use abi::bind::{
    BindRequest, CarveRequest, CertificateAt, HandOverRequest, MapList, WITH_CERTIFICATE, WITH_MAPS,
};
use abi::limits::BINDINGS_MAX;
use abi::{Rights, Status};
use verifier::{BindingId, Fuel, GrantId};

use super::{Answer, Arguments, Done};
use crate::Kernel;
use crate::environment::EnvironmentId;
use crate::filter::{BindStart, CarveStart, HandOverStart, Order, Programs, Source};
use crate::limits::{PROOF_FUEL, SETTLE_HEAP};
use crate::reserve::Need;

/// Where the [`BindRequest`] is in the blocks that hold one.
const INNER: u64 = (size_of::<CarveRequest>() - size_of::<BindRequest>()) as u64;

const _: () = assert!(size_of::<CarveRequest>() == size_of::<HandOverRequest>());

impl Kernel {
    /// `(binding, &CarveRequest)` → binding capability of what is carved from it.
    pub(super) fn carve(&mut self, a: &Arguments) -> Answer {
        let (from, grant) = self.binding_under(a, Rights::REVOKE | Rights::TRANSMIT)?;
        let request: CarveRequest = self.read_block(a.caller, a.words[1])?;
        let refusal = self.refusal_of(a.caller, &request.bind)?;
        let transmit = self.optional(a.caller, request.transmit, request.transmit_bytes)?;
        let bind = self.bind_start(a.caller, a.words[1].wrapping_add(INNER), &request.bind)?;
        let programs = Programs { filter: bind.filter, ash: bind.ash, other: transmit };
        let order = Order { grant, refusal, programs };
        self.start_carve(a.caller, order, CarveStart { from, bind, transmit })
    }

    /// `(binding, &HandOverRequest)` → binding capability of the second part.
    pub(super) fn hand_over_call(&mut self, a: &Arguments) -> Answer {
        let (old, grant) = self.binding_under(a, Rights::REVOKE)?;
        let owner = self.network.bindings.get(&old).map(|it| it.owner);
        if owner != Some(a.caller) {
            return Err(Status::BadArgument);
        }
        let request: HandOverRequest = self.read_block(a.caller, a.words[1])?;
        let refusal = self.refusal_of(a.caller, &request.second)?;
        let first = self.source(a.caller, request.first, request.first_bytes)?;
        let second = self.bind_start(a.caller, a.words[1].wrapping_add(INNER), &request.second)?;
        let programs = Programs { filter: first, ash: second.ash, other: Some(second.filter) };
        let order = Order { grant, refusal, programs };
        let start = HandOverStart { old, handle: a.handle(), first, second };
        self.start_hand_over(a.caller, order, start)
    }

    /// `(grant)` → 1 once every table that proofs under it look into is whole, 0 before.
    pub(super) fn grant_settle(&mut self, a: &Arguments) -> Answer {
        let (grant, _) = self.grant_of(a, Rights::BIND)?;
        self.reserve(a.caller, Need { heap: SETTLE_HEAP, ..Need::default() })?;
        let whole = self.network.registry.settle(grant, &mut Fuel(PROOF_FUEL));
        Ok(Done::Value(u64::from(whole)))
    }

    /// The binding that the first argument names, if the capability has these rights, and its
    /// grant.
    fn binding_under(&self, a: &Arguments, rights: Rights) -> Result<(BindingId, GrantId), Status> {
        let id = self.binding_of(a, rights)?;
        let binding = self.network.bindings.get(&id).ok_or(Status::BadHandle)?;
        Ok((id, binding.grant))
    }

    fn refusal_of(
        &self,
        caller: EnvironmentId,
        request: &BindRequest,
    ) -> Result<(u64, u64), Status> {
        self.refusal_buffer(caller, request.refusal, request.refusal_bytes)
    }

    /// What a request at an address asks to be bound.
    pub(super) fn bind_start(
        &mut self,
        caller: EnvironmentId,
        address: u64,
        request: &BindRequest,
    ) -> Result<BindStart, Status> {
        if request.flags & !(WITH_MAPS | WITH_CERTIFICATE) != 0 {
            return Err(Status::BadArgument);
        }
        let filter = self.source(caller, request.filter, request.filter_bytes)?;
        let ash = self.optional(caller, request.ash, request.ash_bytes)?;
        let rings = self.ring_pages(caller, request)?;
        let maps = self.map_list(caller, address, request)?;
        let certificate = self.certificate_at(caller, address, request.flags)?;
        let bindings = self.environments.get(caller).map_or(0, |it| it.bindings);
        if bindings >= BINDINGS_MAX {
            return Err(Status::Limit);
        }
        Ok(BindStart { filter, ash, rings, maps, certificate })
    }

    /// Where the certificate of a request at an address lies.
    fn certificate_at(
        &self,
        caller: EnvironmentId,
        address: u64,
        flags: u64,
    ) -> Result<Option<Source>, Status> {
        if flags & WITH_CERTIFICATE == 0 {
            return Ok(None);
        }
        let list = if flags & WITH_MAPS == 0 { 0 } else { size_of::<MapList>() };
        let behind = address.checked_add((size_of::<BindRequest>() + list) as u64);
        let at: CertificateAt = self.read_block(caller, behind.ok_or(Status::BadAddress)?)?;
        self.optional(caller, at.certificate, at.certificate_bytes)
    }
}
