//! Calls on processor time: allocate, free and give positions of the vector; look at them.

use abi::slice::{ANY, POSITIONS, SliceStats};
use abi::{Handle, Rights, Status};
use alloc::vec::Vec;
use zerocopy::IntoBytes;

use super::{Answer, Arguments, Done, bounded, permitted};
use crate::Kernel;
use crate::capability::{Capability, Object};
use crate::scheduler::SliceId;

/// What whoever allocates a position may do with it.
const FRESH: Rights = Rights::GRANT.union(Rights::CONTROL);

impl Kernel {
    /// `(vector, environment, position or ANY)` → slice capability.
    pub(super) fn slice_allocate(&mut self, a: &Arguments) -> Answer {
        let [_, environment, position, ..] = a.words;
        if self.slice_of(a)?.is_some() {
            return Err(Status::WrongKind);
        }
        let owner = self.live_environment_of(a.caller, Handle(environment), Rights::CONTROL)?;
        let wish = match position {
            ANY => None,
            position => Some(bounded(position, POSITIONS - 1)?),
        };
        self.reserve_slot(a.caller)?;
        let none = if wish.is_some() { Status::NotFree } else { Status::Limit };
        let slice = self.scheduler.allocate(owner, wish).ok_or(none)?;
        let capability = Capability { object: Object::Slice(slice), rights: FRESH };
        Ok(Done::Value(self.give(a.caller, capability)?.0))
    }

    /// `(slice or vector, position)`: the position is free.
    pub(super) fn slice_free(&mut self, a: &Arguments) -> Answer {
        let [_, position, ..] = a.words;
        let position = bounded(position, POSITIONS - 1)?;
        if self.slice_of(a)?.is_some_and(|slice| slice.position != position) {
            return Err(Status::BadArgument);
        }
        let owner = self.scheduler.free(position).ok_or(Status::WrongState)?;
        self.returned(owner, abi::revocation::Kind::Slices);
        Ok(Done::Value(0))
    }

    /// `(slice, environment)`: the position is that environment's.
    pub(super) fn slice_give(&mut self, a: &Arguments) -> Answer {
        let [_, environment, ..] = a.words;
        let slice = self.slice_of(a)?.ok_or(Status::WrongKind)?;
        let to = self.live_environment_of(a.caller, Handle(environment), Rights::empty())?;
        self.scheduler.assign(slice.position, to);
        Ok(Done::Value(0))
    }

    /// `(buffer, count)` → positions written.
    pub(super) fn slice_owners(&mut self, a: &Arguments) -> Answer {
        let [buffer, count, ..] = a.words;
        let count = bounded(count, POSITIONS)?;
        let owners = self.scheduler.owners().take(count);
        let owners: Vec<u32> = owners.map(|owner| owner.map_or(0, |id| id.0)).collect();
        self.copy_out(a.caller, buffer, owners.as_bytes())?;
        Ok(Done::Value(count as u64))
    }

    /// `(environment, &mut SliceStats)`.
    pub(super) fn slice_stats(&mut self, a: &Arguments) -> Answer {
        let id = self.live_environment_of(a.caller, a.handle(), Rights::empty())?;
        let environment = self.environments.get(id).ok_or(Status::WrongState)?;
        let (positions, forfeited) = self.scheduler.share_of(id);
        let quanta = environment.quanta + environment.context.inherited();
        let excess = u64::from(environment.excess);
        let stats = SliceStats { positions, quanta, excess, forfeited };
        self.copy_out(a.caller, a.words[1], stats.as_bytes())?;
        Ok(Done::Value(0))
    }

    /// The position behind the first argument, or none for the whole vector; with `CONTROL`.
    fn slice_of(&self, a: &Arguments) -> Result<Option<SliceId>, Status> {
        let capability = self.capability(a.caller, a.handle())?;
        let slice = match capability.object {
            Object::Slice(id) => Some(id),
            Object::Vector => None,
            _ => return Err(Status::WrongKind),
        };
        permitted(capability.rights, Rights::CONTROL).map(|()| slice)
    }
}
