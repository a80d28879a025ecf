//! Calls on pages: allocate, free, map, unmap, protect, rename; one by one or many at once.

use abi::bind::{BATCH_MAP, BATCH_PROTECT, BATCH_UNMAP, BatchEntry};
use abi::limits::BATCH_MAX;
use abi::{Handle, Rights, Status};
use zerocopy::FromBytes;

use super::{Answer, Arguments, Done, bounded, permitted};
use crate::Kernel;
use crate::capability::{Capability, Object};
use crate::environment::EnvironmentId;
use crate::limits::REAP_BATCH;
use crate::reserve::Need;

/// What whoever allocates a page may do with it.
const FRESH: Rights = Rights::READ
    .union(Rights::WRITE)
    .union(Rights::EXECUTE)
    .union(Rights::GRANT)
    .union(Rights::CONTROL);

impl Kernel {
    /// `(environment, frame number or u64::MAX)` → page capability.
    pub(super) fn page_alloc(&mut self, a: &Arguments) -> Answer {
        let [_, number, ..] = a.words;
        let payer = self.live_environment_of(a.caller, a.handle(), Rights::CONTROL)?;
        let wish = (number != u64::MAX).then_some(number);
        self.reserve_slot(a.caller)?;
        let page = self.allocate_page(payer, wish)?;
        let capability = Capability { object: Object::Page(page), rights: FRESH };
        Ok(Done::Value(self.give(a.caller, capability)?.0))
    }

    /// `(page)`: gives the frame back. Not while it is part of a ring.
    pub(super) fn page_free(&mut self, a: &Arguments) -> Answer {
        let id = self.page_of(a.caller, a.handle(), Rights::CONTROL)?;
        if self.memory.page(id).is_some_and(|page| page.pins > 0) {
            return Err(Status::WrongState);
        }
        self.free_page(id.frame);
        let environment = self.environments.get_mut(a.caller).ok_or(Status::WrongState)?;
        environment.table.remove(a.handle())?;
        Ok(Done::Value(0))
    }

    /// `(environment, page, address, rights)`: binds the page there.
    pub(crate) fn page_map(&mut self, a: &Arguments) -> Answer {
        let [_, page, address, rights, ..] = a.words;
        let place = self.live_environment_of(a.caller, a.handle(), Rights::CONTROL)?;
        let page = self.page_of(a.caller, Handle(page), Rights::READ)?;
        let wanted = map_rights(rights)?;
        let held = self.capability(a.caller, Handle(a.words[1]))?.rights;
        permitted(held, wanted)?;
        // Whoever binds for somebody else passes on no more than what it asks for.
        let most = if place == a.caller { held } else { wanted };
        self.bind_page(place, page, address, (of_mapping(wanted), of_mapping(most)))?;
        Ok(Done::Value(0))
    }

    /// `(environment, address, pages, rights)`: other rights for bound pages.
    pub(crate) fn page_protect(&mut self, a: &Arguments) -> Answer {
        let [_, address, pages, rights, ..] = a.words;
        let place = self.live_environment_of(a.caller, a.handle(), Rights::CONTROL)?;
        let pages = bounded(pages, BATCH_MAX)?;
        let rights = of_mapping(map_rights(rights)?);
        self.protect_pages(place, address, pages, rights)?;
        Ok(Done::Value(0))
    }

    /// `(environment, entries, count)` → how many were done, and what stopped it.
    pub(super) fn page_batch(&mut self, a: &Arguments) -> Answer {
        let [environment, entries, count, ..] = a.words;
        self.live_environment_of(a.caller, a.handle(), Rights::CONTROL)?;
        let count = bounded(count, BATCH_MAX)?;
        let bytes = count * size_of::<BatchEntry>();
        self.reserve(a.caller, Need { heap: bytes, ..Need::default() })?;
        let copy = self.copy_in(a.caller, entries, bytes)?;
        let mut done = 0;
        for bytes in copy.chunks_exact(size_of::<BatchEntry>()) {
            let entry = BatchEntry::read_from_bytes(bytes).map_err(|_| Status::BadArgument)?;
            if let Err(status) = self.batch_entry(a.caller, environment, entry) {
                return Ok(Done::Value(done | (status as u64) << 16));
            }
            done += 1;
            if done.is_multiple_of(REAP_BATCH as u64) {
                self.poll_card();
            }
        }
        Ok(Done::Value(done))
    }

    fn batch_entry(&mut self, caller: EnvironmentId, place: u64, entry: BatchEntry) -> Answer {
        let BatchEntry { operation, page, address, rights } = entry;
        let call = |words| Arguments { caller, words };
        match operation {
            BATCH_MAP => self.page_map(&call([place, page, address, rights, 0, 0])),
            BATCH_UNMAP => self.page_unmap(&call([place, address, 0, 0, 0, 0])),
            BATCH_PROTECT => self.page_protect(&call([place, address, 1, rights, 0, 0])),
            _ => Err(Status::BadArgument),
        }
    }

    /// `(page)` → a new capability to it; all others are void, all mappings broken.
    pub(super) fn page_renew(&mut self, a: &Arguments) -> Answer {
        let id = self.page_of(a.caller, a.handle(), Rights::CONTROL)?;
        let rights = self.capability(a.caller, a.handle())?.rights;
        if self.memory.page(id).is_some_and(|page| page.pins > 0) {
            return Err(Status::WrongState);
        }
        self.break_mappings(id.frame);
        let id = self.memory.rename(id).ok_or(Status::BadHandle)?;
        let environment = self.environments.get_mut(a.caller).ok_or(Status::WrongState)?;
        // The slot that this frees is the one that is used.
        environment.table.remove(a.handle())?;
        Ok(Done::Value(self.give(a.caller, Capability { object: Object::Page(id), rights })?.0))
    }

    /// `(environment, address)`: breaks the binding there.
    pub(super) fn page_unmap(&mut self, a: &Arguments) -> Answer {
        let [_, address, ..] = a.words;
        let place = self.live_environment_of(a.caller, a.handle(), Rights::CONTROL)?;
        self.unmap_page(place, address)?;
        Ok(Done::Value(0))
    }

    /// `(page)` → frame number.
    pub(crate) fn page_name(&mut self, a: &Arguments) -> Answer {
        let id = self.page_of(a.caller, a.handle(), Rights::empty())?;
        Ok(Done::Value(id.frame))
    }
}

/// The same for the machine.
fn of_mapping(rights: Rights) -> machine::Rights {
    machine::Rights {
        write: rights.contains(Rights::WRITE),
        execute: rights.contains(Rights::EXECUTE),
    }
}

/// The rights of a mapping: readable, and writable or executable or neither.
fn map_rights(rights: u64) -> Result<Rights, Status> {
    let bits = u32::try_from(rights).map_err(|_| Status::BadArgument)?;
    let rights = Rights::from_bits(bits).ok_or(Status::BadArgument)?;
    let known = Rights::READ | Rights::WRITE | Rights::EXECUTE;
    if !known.contains(rights) || !rights.contains(Rights::READ) {
        return Err(Status::BadArgument);
    }
    if rights.contains(Rights::WRITE | Rights::EXECUTE) {
        return Err(Status::WriteAndExecute);
    }
    Ok(rights)
}
