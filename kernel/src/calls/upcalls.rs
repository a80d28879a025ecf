//! The call about upcalls: register entry, stack and save area.

use abi::Status;
use abi::upcall::Kind;

use super::{Answer, Arguments, Done};
use crate::Kernel;

impl Kernel {
    /// `(kind, entry, stack, save area)`; an entry of 0 takes the registration back.
    pub(super) fn upcall_set(&mut self, a: &Arguments) -> Answer {
        let [kind, entry, stack, save, ..] = a.words;
        let kind = Kind::from_number(kind).ok_or(Status::BadArgument)?;
        if entry == 0 {
            self.forget_upcall(a.caller, kind);
        } else {
            self.register_upcall(a.caller, kind, [entry, stack, save])?;
        }
        Ok(Done::Value(0))
    }
}
