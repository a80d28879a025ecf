//! System calls: the table, and what all calls share.
//!
//! Each call is a function from its arguments to an [`Answer`]. It looks handles up with
//! [`Kernel::capability`] and its relatives, which check kind and rights and that the object is
//! still there; it reads and writes the caller's memory only through [`Kernel::copy_in`] and
//! [`Kernel::copy_out`]; and it changes nothing before all of that has succeeded.

mod capabilities;
mod carving;
mod downloads;
mod environments;
mod flows;
mod maps;
mod output;
mod pages;
mod process;
mod revocation;
mod slices;
mod transfers;
mod upcalls;

use abi::{Call, Handle, Rights, Status};
use alloc::vec::Vec;
use verifier::{BindingId, GrantId};

use crate::Kernel;
use crate::capability::{Capability, Object};
use crate::environment::EnvironmentId;
use crate::limits::SLOTS_PER_CHUNK;
use crate::pages::PageId;
use crate::reserve::Need;

/// How a call that was not refused ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// With this value.
    Value(u64),
    /// With a refusal whose record, so many bytes of it, is in the caller's buffer.
    Refused(u64),
    /// With this in `rax` and nothing else: a transfer's answer.
    Raw(u64),
    /// It has not: the caller sleeps, proves, or is no more, and is answered later.
    Later,
}

pub(crate) type Answer = Result<Done, Status>;

/// Who calls, with what in `rdi rsi rdx r10 r8 r9`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arguments {
    pub(crate) caller: EnvironmentId,
    pub(crate) words: [u64; 6],
}

impl Arguments {
    /// The first argument as a handle; it is one in nearly every call.
    fn handle(&self) -> Handle {
        Handle(self.words[0])
    }
}

impl Kernel {
    /// Does what the caller's registers ask for, and answers in them.
    pub(crate) fn system_call(&mut self, caller: EnvironmentId) {
        let Some(environment) = self.environments.get(caller) else { return };
        let r = environment.context.registers;
        let arguments = Arguments { caller, words: [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9] };
        let answer = match Call::from_number(r.rax) {
            Some(call) => self.dispatch(call, &arguments),
            None => Err(Status::UnknownCall),
        };
        log::trace!("{}: call {} {:x?} -> {answer:x?}", caller.0, r.rax, arguments.words);
        let (status, value) = match answer {
            Ok(Done::Value(value)) => (Status::Ok, value),
            Ok(Done::Refused(bytes)) => (Status::Refused, bytes),
            Ok(Done::Raw(rax)) => return self.answer_raw(caller, rax),
            Ok(Done::Later) => return,
            Err(status) => (status, 0),
        };
        if let Some(environment) = self.environments.get_mut(caller) {
            environment.answer(status, value);
        }
    }

    fn answer_raw(&mut self, caller: EnvironmentId, rax: u64) {
        if let Some(environment) = self.environments.get_mut(caller) {
            environment.context.registers.rax = rax;
        }
    }

    pub(crate) fn dispatch(&mut self, call: Call, a: &Arguments) -> Answer {
        match call {
            Call::Null => Ok(Done::Value(u64::from(abi::VERSION))),
            Call::Exit => self.exit(a),
            Call::Yield => self.yield_slice(a),
            Call::Wait => self.wait(a),
            Call::Print => self.print(a),
            Call::Report => self.report(a),
            Call::Clock => Ok(Done::Value(machine::time::now_ns())),
            Call::UpcallSet => self.upcall_set(a),
            Call::CapDrop => self.cap_drop(a),
            Call::CapDerive => self.cap_derive(a),
            Call::CapGrant => self.cap_grant(a),
            Call::CapInspect => self.cap_inspect(a),
            Call::PageAlloc => self.page_alloc(a),
            Call::PageFree => self.page_free(a),
            Call::PageMap => self.page_map(a),
            Call::PageUnmap => self.page_unmap(a),
            Call::PageName => self.page_name(a),
            Call::PageProtect => self.page_protect(a),
            Call::PageBatch => self.page_batch(a),
            Call::PageRenew => self.page_renew(a),
            Call::EnvCreate => self.env_create(a),
            Call::EnvStart => self.env_start(a),
            Call::EnvKill => self.env_kill(a),
            Call::EnvStatus => self.env_status(a),
            Call::GrantDerive => self.grant_derive(a),
            Call::GrantRevoke => self.grant_revoke(a),
            Call::Bind => self.bind(a),
            Call::Unbind => self.unbind(a),
            Call::Transmit => self.transmit_call(a),
            Call::BindingStats => self.binding_stats(a),
            Call::Carve => self.carve(a),
            Call::HandOver => self.hand_over_call(a),
            Call::GrantSettle => self.grant_settle(a),
            Call::Revoke => self.revoke(a),
            Call::RevokeStatus => self.revoke_status(a),
            Call::VitalSet => self.vital_set(a),
            Call::RepossessionSet => self.repossession_set(a),
            Call::RevokePending => self.revoke_pending(a),
            Call::GrantRecall => self.grant_recall(a),
            Call::FlowResidual => self.flow_residual(a),
            Call::PipeSet => self.pipe_set(a),
            Call::PredicateSet => self.predicate_set(a),
            Call::WaitUntil => self.wait_until_call(a),
            Call::Books => self.books_call(a),
            Call::Audit => self.audit_call(a),
            Call::Halt => self.halt(a),
            Call::SliceAllocate => self.slice_allocate(a),
            Call::SliceFree => self.slice_free(a),
            Call::SliceGive => self.slice_give(a),
            Call::SliceOwners => self.slice_owners(a),
            Call::SliceStats => self.slice_stats(a),
            Call::TransferSync => self.transfer_sync(a),
            Call::TransferAsync => self.transfer_async_call(a),
            Call::MapCreate => self.map_create(a),
            Call::MapLookup => self.map_lookup(a),
            Call::MapUpdate => self.map_update(a),
            Call::MapDelete => self.map_delete(a),
            Call::MapNext => self.map_next(a),
        }
    }

    /// What a handle of `owner` names.
    ///
    /// # Errors
    /// [`Status::BadHandle`] if it names nothing, or something that is no more.
    pub(crate) fn capability(
        &self,
        owner: EnvironmentId,
        handle: Handle,
    ) -> Result<Capability, Status> {
        let environment = self.environments.get(owner).ok_or(Status::WrongState)?;
        let capability = environment.table.get(handle)?;
        if self.exists(capability.object) { Ok(capability) } else { Err(Status::BadHandle) }
    }

    /// Whether an object is still there. An ended environment is, while its end is remembered.
    fn exists(&self, object: Object) -> bool {
        match object {
            Object::Page(id) => self.memory.page(id).is_some(),
            Object::Environment(id) => {
                self.environments.get(id).is_some() || self.environments.ended(id).is_some()
            }
            Object::Grant(id) => self.network.registry.grant(id).is_some(),
            Object::Binding(id) => self.network.bindings.contains_key(&id),
            Object::Slice(id) => self.scheduler.exists(id),
            Object::Map(id) => self.maps.get(id).is_some(),
            Object::Vector | Object::Debug => true,
        }
    }

    /// The page behind a handle, if the capability has these rights.
    pub(crate) fn page_of(
        &self,
        owner: EnvironmentId,
        handle: Handle,
        rights: Rights,
    ) -> Result<PageId, Status> {
        match self.capability(owner, handle)? {
            Capability { object: Object::Page(id), rights: held } => {
                permitted(held, rights).map(|()| id)
            }
            _ => Err(Status::WrongKind),
        }
    }

    /// The environment behind a handle, alive or ended, if the capability has these rights.
    fn environment_of(
        &self,
        owner: EnvironmentId,
        handle: Handle,
        rights: Rights,
    ) -> Result<EnvironmentId, Status> {
        match self.capability(owner, handle)? {
            Capability { object: Object::Environment(id), rights: held } => {
                permitted(held, rights).map(|()| id)
            }
            _ => Err(Status::WrongKind),
        }
    }

    /// The same, and it must be alive.
    fn live_environment_of(
        &self,
        owner: EnvironmentId,
        handle: Handle,
        rights: Rights,
    ) -> Result<EnvironmentId, Status> {
        let id = self.environment_of(owner, handle, rights)?;
        self.environments.get(id).map(|_| id).ok_or(Status::WrongState)
    }

    fn grant_of(&self, a: &Arguments, rights: Rights) -> Result<(GrantId, Rights), Status> {
        match self.capability(a.caller, a.handle())? {
            Capability { object: Object::Grant(id), rights: held } => {
                permitted(held, rights).map(|()| (id, held))
            }
            _ => Err(Status::WrongKind),
        }
    }

    fn binding_of(&self, a: &Arguments, rights: Rights) -> Result<BindingId, Status> {
        match self.capability(a.caller, a.handle())? {
            Capability { object: Object::Binding(id), rights: held } => {
                permitted(held, rights).map(|()| id)
            }
            _ => Err(Status::WrongKind),
        }
    }

    fn debug_of(&self, a: &Arguments, rights: Rights) -> Result<(), Status> {
        match self.capability(a.caller, a.handle())? {
            Capability { object: Object::Debug, rights: held } => permitted(held, rights),
            _ => Err(Status::WrongKind),
        }
    }

    /// Makes sure that a capability can be put into a table, growing it if it must.
    ///
    /// # Errors
    /// [`Status::NoMemory`], [`Status::Limit`], [`Status::WrongState`].
    pub(crate) fn reserve_slot(&mut self, owner: EnvironmentId) -> Result<(), Status> {
        let environment = self.environments.get(owner).ok_or(Status::WrongState)?;
        if !environment.table.is_full() {
            return Ok(());
        }
        // One slot's bytes, rounded up, and the list of chunks.
        let heap = SLOTS_PER_CHUNK * 64 + 4096;
        self.reserve(owner, Need { charge: 1, heap, ..Need::default() })?;
        let environment = self.environments.get_mut(owner).ok_or(Status::WrongState)?;
        environment.table.grow()?;
        environment.account.chunks = environment.table.chunks() as u64;
        Ok(())
    }

    /// Puts a capability into a table in which a slot was reserved.
    pub(crate) fn give(
        &mut self,
        owner: EnvironmentId,
        capability: Capability,
    ) -> Result<Handle, Status> {
        let environment = self.environments.get_mut(owner).ok_or(Status::WrongState)?;
        let handle = environment.table.insert(capability)?;
        self.hold(capability.object);
        Ok(handle)
    }

    /// Reads bytes of an environment. The caller bounds `bytes` first and has reserved them.
    ///
    /// # Errors
    /// [`Status::BadAddress`].
    pub(crate) fn copy_in(
        &self,
        owner: EnvironmentId,
        address: u64,
        bytes: usize,
    ) -> Result<Vec<u8>, Status> {
        let mut copy = alloc::vec![0; bytes];
        self.copy_into(owner, address, &mut copy)?;
        Ok(copy)
    }

    /// Fills a buffer from an environment's memory.
    pub(crate) fn copy_into(
        &self,
        owner: EnvironmentId,
        address: u64,
        buffer: &mut [u8],
    ) -> Result<(), Status> {
        let environment = self.environments.get(owner).ok_or(Status::WrongState)?;
        environment.space.read(address, buffer).map_err(|_| Status::BadAddress)
    }

    /// Writes bytes to an environment: all of them, or none if any address is not writable.
    ///
    /// # Errors
    /// [`Status::BadAddress`].
    pub(crate) fn copy_out(
        &self,
        owner: EnvironmentId,
        address: u64,
        bytes: &[u8],
    ) -> Result<(), Status> {
        if !self.reaches(owner, (address, bytes.len() as u64), true) {
            return Err(Status::BadAddress);
        }
        let environment = self.environments.get(owner).ok_or(Status::WrongState)?;
        environment.space.write(address, bytes).map_err(|_| Status::BadAddress)
    }
}

fn permitted(held: Rights, wanted: Rights) -> Result<(), Status> {
    if held.contains(wanted) { Ok(()) } else { Err(Status::MissingRight) }
}

/// A length argument, at most `limit`.
fn bounded(bytes: u64, limit: usize) -> Result<usize, Status> {
    usize::try_from(bytes).ok().filter(|&n| n <= limit).ok_or(Status::BadArgument)
}
