//! Calls that ask for resources back, and those that prepare for the case that some are taken.

use abi::revocation::{AMOUNT_MAX, BACKING_MAX, Kind, Pending, VITAL_MAX};
use abi::{Handle, Rights, Status};
use alloc::collections::VecDeque;
use verifier::GrantId;
use zerocopy::IntoBytes;

use super::{Answer, Arguments, Done, bounded};
use crate::Kernel;
use crate::reserve::Need;

impl Kernel {
    /// `(environment, kind, amount, deadline)` → the request's number.
    pub(super) fn revoke(&mut self, a: &Arguments) -> Answer {
        let [_, kind, amount, deadline, ..] = a.words;
        let asked = self.live_environment_of(a.caller, a.handle(), Rights::CONTROL)?;
        let kind = Kind::from_number(kind).ok_or(Status::BadArgument)?;
        let amount = amount.checked_sub(1).filter(|&n| n < AMOUNT_MAX).map(|n| n + 1);
        let amount = amount.and_then(|n| u16::try_from(n).ok()).ok_or(Status::BadArgument)?;
        let number = self.ask(a.caller, (asked, kind), amount, deadline)?;
        Ok(Done::Value(u64::from(number)))
    }

    /// `(environment)` → what has become of the caller's request to it.
    pub(super) fn revoke_status(&mut self, a: &Arguments) -> Answer {
        let asked = self.environment_of(a.caller, a.handle(), Rights::CONTROL)?;
        let progress = self.progress_of(a.caller, asked).ok_or(Status::WrongState)?;
        Ok(Done::Value(progress.pack()))
    }

    /// `(capabilities, count)`: pages of the caller's own that are never taken.
    pub(super) fn vital_set(&mut self, a: &Arguments) -> Answer {
        let [list, count, ..] = a.words;
        let count = bounded(count, VITAL_MAX)?;
        let mut frames = [None; VITAL_MAX];
        for (at, place) in frames.iter_mut().enumerate().take(count) {
            let handle = self.listed_handle(a, list, at)?;
            *place = Some(self.own_frame(a.caller, handle, Rights::READ)?);
        }
        self.set_vital(a.caller, frames);
        Ok(Done::Value(0))
    }

    /// `(vector page or 0, backing capabilities, count)`.
    pub(super) fn repossession_set(&mut self, a: &Arguments) -> Answer {
        let [_, list, count, ..] = a.words;
        let count = bounded(count, BACKING_MAX)?;
        let rights = Rights::READ | Rights::WRITE;
        let vector = match a.handle() {
            Handle::NONE => None,
            handle => Some(self.own_frame(a.caller, handle, rights)?),
        };
        self.reserve(a.caller, Need { heap: 4096, ..Need::default() })?;
        let mut backing = VecDeque::with_capacity(count);
        for at in 0..count {
            let handle = self.listed_handle(a, list, at)?;
            let id = self.page_of(a.caller, handle, Rights::WRITE)?;
            if self.memory.page(id).is_some_and(|page| page.owner == a.caller) {
                return Err(Status::BadArgument);
            }
            backing.push_back((id, handle));
        }
        self.set_repossession(a.caller, vector, backing);
        Ok(Done::Value(0))
    }

    /// `(buffer, bytes)` → how many requests were written.
    pub(super) fn revoke_pending(&mut self, a: &Arguments) -> Answer {
        let [buffer, bytes, ..] = a.words;
        let mut pending = [Pending::default(); 8];
        let room = usize::try_from(bytes).unwrap_or(usize::MAX) / size_of::<Pending>();
        let mut count = 0;
        for (place, it) in pending.iter_mut().zip(self.pending_for(a.caller)).take(room) {
            *place = it;
            count += 1;
        }
        let written = pending.get(..count).ok_or(Status::BadArgument)?;
        self.copy_out(a.caller, buffer, written.as_bytes())?;
        Ok(Done::Value(count as u64))
    }

    /// `(grant, deadline)`: its users are asked to unbind until then → the request's number.
    pub(super) fn grant_recall(&mut self, a: &Arguments) -> Answer {
        let [_, deadline, ..] = a.words;
        let (grant, _) = self.grant_of(a, Rights::REVOKE)?;
        if grant == GrantId::ROOT {
            return Err(Status::BadArgument);
        }
        let number = self.recall(a.caller, grant, deadline)?;
        Ok(Done::Value(u64::from(number)))
    }

    /// `(grant or 0, buffer, bytes)` → bytes of the filter that accepts what the caller's bindings
    /// still receive.
    pub(super) fn flow_residual(&mut self, a: &Arguments) -> Answer {
        let [_, buffer, bytes, ..] = a.words;
        let grant = self.named_grant(a.caller, a.handle())?;
        let program = self.residual(a.caller, grant)?;
        if program.len() as u64 > bytes {
            return Err(Status::BadArgument);
        }
        self.copy_out(a.caller, buffer, &program)?;
        Ok(Done::Value(program.len() as u64))
    }

    fn listed_handle(&self, a: &Arguments, list: u64, at: usize) -> Result<Handle, Status> {
        let mut word = [0; 8];
        let address = list.checked_add(8 * at as u64).ok_or(Status::BadAddress)?;
        self.copy_into(a.caller, address, &mut word)?;
        Ok(Handle(u64::from_le_bytes(word)))
    }
}
