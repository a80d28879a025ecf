//! Calls on pages: allocate, free, map, unmap, name.

use abi::{Handle, Rights, Status};

use super::{Answer, Arguments, Done, permitted};
use crate::Kernel;
use crate::capability::{Capability, Object};

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
    pub(super) fn page_map(&mut self, a: &Arguments) -> Answer {
        let [_, page, address, rights, ..] = a.words;
        let place = self.live_environment_of(a.caller, a.handle(), Rights::CONTROL)?;
        let page = self.page_of(a.caller, Handle(page), Rights::READ)?;
        let wanted = map_rights(rights)?;
        let held = self.capability(a.caller, Handle(a.words[1]))?.rights;
        permitted(held, wanted)?;
        let rights = machine::Rights {
            write: wanted.contains(Rights::WRITE),
            execute: wanted.contains(Rights::EXECUTE),
        };
        self.map_page(place, page, address, rights)?;
        Ok(Done::Value(0))
    }

    /// `(environment, address)`: breaks the binding there.
    pub(super) fn page_unmap(&mut self, a: &Arguments) -> Answer {
        let [_, address, ..] = a.words;
        let place = self.live_environment_of(a.caller, a.handle(), Rights::CONTROL)?;
        self.unmap_page(place, address)?;
        Ok(Done::Value(0))
    }

    /// `(page)` → frame number.
    pub(super) fn page_name(&mut self, a: &Arguments) -> Answer {
        let id = self.page_of(a.caller, a.handle(), Rights::empty())?;
        Ok(Done::Value(id.frame))
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
