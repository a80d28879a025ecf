//! Calls on grants and bindings.

use abi::bind::{BindRequest, GrantRequest};
use abi::limits::{PROGRAM_SLOTS_MAX, REFUSAL_BYTES_MAX, RING_PAGES_MAX};
use abi::{Handle, Rights, Status};
use alloc::vec::Vec;
use verifier::GrantId;
use zerocopy::{FromBytes, IntoBytes};

use super::{Answer, Arguments, Done, bounded};
use crate::Kernel;
use crate::environment::EnvironmentId;
use crate::filter::{DeriveStart, Order, Programs, RingPages, Source};
use crate::pages::PageId;
use crate::reserve::Need;

/// Longest program that is read at all: one slot more than is allowed, so that the refusal can
/// name the limit.
const PROGRAM_BYTES_MAX: usize = (PROGRAM_SLOTS_MAX + 1) * 8;

impl Kernel {
    /// `(grant, &GrantRequest)` → grant capability of the child.
    pub(super) fn grant_derive(&mut self, a: &Arguments) -> Answer {
        let (grant, rights) = self.grant_of(a, Rights::DERIVE)?;
        let request: GrantRequest = self.read_block(a.caller, a.words[1])?;
        let refusal = self.refusal_buffer(a.caller, request.refusal, request.refusal_bytes)?;
        let start = DeriveStart {
            receive: self.source(a.caller, request.receive, request.receive_bytes)?,
            transmit: self.optional(a.caller, request.transmit, request.transmit_bytes)?,
            rights: rights | Rights::REVOKE,
            from: None,
            certificate: None,
        };
        let programs = Programs { filter: start.receive, ash: None, other: start.transmit };
        self.start_derive(a.caller, Order { grant, refusal, programs }, start)
    }

    /// `(grant)`: takes it back with everything under it. The root cannot be taken back.
    pub(super) fn grant_revoke(&mut self, a: &Arguments) -> Answer {
        let (grant, _) = self.grant_of(a, Rights::REVOKE)?;
        if grant == GrantId::ROOT {
            return Err(Status::BadArgument);
        }
        log::info!("environment {}: grant {grant} revoked", a.caller.0);
        self.revoke_grant(grant, Some(a.caller));
        Ok(Done::Value(0))
    }

    /// `(grant, &BindRequest)` → binding capability.
    pub(super) fn bind(&mut self, a: &Arguments) -> Answer {
        let (grant, _) = self.grant_of(a, Rights::BIND)?;
        let request: BindRequest = self.read_block(a.caller, a.words[1])?;
        let refusal = self.refusal_buffer(a.caller, request.refusal, request.refusal_bytes)?;
        let start = self.bind_start(a.caller, a.words[1], &request)?;
        let programs = Programs { filter: start.filter, ash: start.ash, other: None };
        self.start_bind(a.caller, Order { grant, refusal, programs }, start)
    }

    /// `(binding)`: out again.
    pub(super) fn unbind(&mut self, a: &Arguments) -> Answer {
        let id = self.binding_of(a, Rights::REVOKE)?;
        self.remove_binding(id);
        let environment = self.environments.get_mut(a.caller).ok_or(Status::WrongState)?;
        environment.table.remove(a.handle())?;
        Ok(Done::Value(0))
    }

    /// `(binding)` → slots taken from its transmit ring.
    pub(super) fn transmit_call(&mut self, a: &Arguments) -> Answer {
        let id = self.binding_of(a, Rights::TRANSMIT)?;
        self.transmit(id).map(Done::Value)
    }

    /// `(binding, &mut BindingStats)`.
    pub(super) fn binding_stats(&mut self, a: &Arguments) -> Answer {
        let id = self.binding_of(a, Rights::READ)?;
        let binding = self.network.bindings.get(&id).ok_or(Status::BadHandle)?;
        self.copy_out(a.caller, a.words[1], binding.stats.as_bytes())?;
        Ok(Done::Value(0))
    }

    /// An argument block.
    pub(super) fn read_block<T: FromBytes + IntoBytes + Default>(
        &self,
        caller: EnvironmentId,
        address: u64,
    ) -> Result<T, Status> {
        let mut block = T::default();
        self.copy_into(caller, address, block.as_mut_bytes())?;
        Ok(block)
    }

    /// A program in the caller's memory.
    pub(super) fn source(
        &self,
        caller: EnvironmentId,
        address: u64,
        bytes: u64,
    ) -> Result<Source, Status> {
        let bytes = bounded(bytes, PROGRAM_BYTES_MAX).unwrap_or(PROGRAM_BYTES_MAX);
        if self.reaches(caller, (address, bytes as u64), false) {
            Ok(Source { address, bytes })
        } else {
            Err(Status::BadAddress)
        }
    }

    /// A program that need not be there.
    pub(super) fn optional(
        &self,
        caller: EnvironmentId,
        address: u64,
        bytes: u64,
    ) -> Result<Option<Source>, Status> {
        match (address, bytes) {
            (0, 0) => Ok(None),
            (0, _) => Err(Status::BadArgument),
            _ => self.source(caller, address, bytes).map(Some),
        }
    }

    /// Where a refusal record may go: nowhere, or into memory that is writable now.
    pub(super) fn refusal_buffer(
        &self,
        caller: EnvironmentId,
        address: u64,
        bytes: u64,
    ) -> Result<(u64, u64), Status> {
        let bytes = bytes.min(REFUSAL_BYTES_MAX as u64);
        if address == 0 || self.reaches(caller, (address, bytes), true) {
            Ok((address, bytes))
        } else {
            Err(Status::BadAddress)
        }
    }

    /// The pages of the rings that a request asks for.
    pub(super) fn ring_pages(
        &mut self,
        caller: EnvironmentId,
        request: &BindRequest,
    ) -> Result<Option<RingPages>, Status> {
        let (receive, transmit) = (request.rx_page_count, request.tx_page_count);
        if request.control_page == 0 {
            let none = receive == 0 && transmit == 0;
            return if none { Ok(None) } else { Err(Status::BadArgument) };
        }
        self.reserve(caller, Need { heap: 16 * 1024, ..Need::default() })?;
        Ok(Some(RingPages {
            control: self.ring_page(caller, Handle(request.control_page))?,
            receive: self.page_list(caller, request.rx_pages, receive)?,
            transmit: self.page_list(caller, request.tx_pages, transmit)?,
        }))
    }

    fn page_list(
        &self,
        caller: EnvironmentId,
        address: u64,
        count: u64,
    ) -> Result<Vec<PageId>, Status> {
        let count = bounded(count, RING_PAGES_MAX)?;
        if count != 0 && !count.is_power_of_two() {
            return Err(Status::BadArgument);
        }
        let bytes = self.copy_in(caller, address, count * 8)?;
        let handles = bytes.chunks_exact(8).filter_map(|word| word.try_into().ok());
        handles.map(|word| self.ring_page(caller, Handle(u64::from_le_bytes(word)))).collect()
    }

    /// A page that the caller may read and write, and pays for itself: it dies with the binding's
    /// owner and not before.
    fn ring_page(&self, caller: EnvironmentId, handle: Handle) -> Result<PageId, Status> {
        let id = self.page_of(caller, handle, Rights::READ | Rights::WRITE)?;
        let owner = self.memory.page(id).map(|page| page.owner);
        if owner == Some(caller) { Ok(id) } else { Err(Status::BadArgument) }
    }
}
