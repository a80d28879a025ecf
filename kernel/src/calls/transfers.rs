//! Calls of protected control transfer.
//!
//! They answer in `rax` alone, and only when they fail or are asynchronous: the registers are the
//! message.

use abi::{Handle, Rights, Status};

use super::{Answer, Arguments, Done};
use crate::Kernel;
use crate::environment::EnvironmentId;

impl Kernel {
    /// `(environment or 0)`.
    pub(super) fn transfer_sync(&mut self, a: &Arguments) -> Answer {
        if a.handle() == Handle::NONE {
            self.give_back(a.caller);
            return Ok(Done::Later);
        }
        let done = self.receiver(a).and_then(|to| {
            let donor = self.environments.get(a.caller).and_then(|it| it.context.donor());
            if donor == Some(u64::from(to.0)) {
                self.give_back(a.caller);
                return Ok(());
            }
            self.transfer(a.caller, to, a.words[0])
        });
        Ok(done.map_or_else(|status| Done::Raw(abi::transfer::refused(status)), |()| Done::Later))
    }

    /// `(environment)`.
    pub(super) fn transfer_async_call(&mut self, a: &Arguments) -> Answer {
        let done = self.receiver(a).and_then(|to| self.transfer_async(a.caller, to));
        Ok(Done::Raw(done.map_or_else(abi::transfer::refused, |()| 0)))
    }

    fn receiver(&self, a: &Arguments) -> Result<EnvironmentId, Status> {
        self.live_environment_of(a.caller, a.handle(), Rights::empty())
    }
}
