//! Calls on capabilities themselves: drop, derive, grant, inspect.

use abi::{Handle, Rights, Status};

use super::{Answer, Arguments, Done};
use crate::Kernel;
use crate::capability::Object;

impl Kernel {
    /// `(capability)`: forgets it, whether or not its object is still there.
    pub(super) fn cap_drop(&mut self, a: &Arguments) -> Answer {
        let environment = self.environments.get_mut(a.caller).ok_or(Status::WrongState)?;
        let capability = environment.table.remove(a.handle())?;
        if matches!(capability.object, Object::Environment(_)) {
            machine::this_cpu().close_gates();
        }
        self.forget(capability.object);
        if let Object::Grant(_) = capability.object {
            self.returned(a.caller, abi::revocation::Kind::Grants);
        }
        Ok(Done::Value(0))
    }

    /// `(capability, rights)` → a capability with no more than those rights.
    pub(super) fn cap_derive(&mut self, a: &Arguments) -> Answer {
        let [_, rights, ..] = a.words;
        let capability = self.capability(a.caller, a.handle())?.shrink(rights)?;
        self.reserve_slot(a.caller)?;
        Ok(Done::Value(self.give(a.caller, capability)?.0))
    }

    /// `(capability, environment, rights)` → its handle there.
    pub(super) fn cap_grant(&mut self, a: &Arguments) -> Answer {
        let [_, environment, rights, ..] = a.words;
        let capability = self.capability(a.caller, a.handle())?;
        if !capability.rights.contains(Rights::GRANT) {
            return Err(Status::MissingRight);
        }
        let capability = capability.shrink(rights)?;
        let to = self.live_environment_of(a.caller, Handle(environment), Rights::CONTROL)?;
        self.reserve_slot(to)?;
        Ok(Done::Value(self.give(to, capability)?.0))
    }

    /// `(capability)` → kind in bits 0–7, rights in bits 8–39.
    pub(crate) fn cap_inspect(&mut self, a: &Arguments) -> Answer {
        let capability = self.capability(a.caller, a.handle())?;
        let kind = capability.object.kind() as u64;
        Ok(Done::Value(kind | u64::from(capability.rights.bits()) << 8))
    }
}
