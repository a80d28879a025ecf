//! Calls about the caller's own time: exit, yield, wait.

use abi::start::State;
use abi::{Handle, Rights, Status};

use super::{Answer, Arguments, Done};
use crate::Kernel;
use crate::environment::{Ended, EnvironmentId};

impl Kernel {
    /// `(code)`: ends the caller.
    pub(super) fn exit(&mut self, a: &Arguments) -> Answer {
        let [code, ..] = a.words;
        self.end_environment(Ended { id: a.caller, state: State::Exited, detail: code });
        Ok(Done::Later)
    }

    /// `(environment or 0)`: gives the slice up.
    pub(super) fn yield_slice(&mut self, a: &Arguments) -> Answer {
        let heir = match a.handle() {
            Handle::NONE => None,
            handle => Some(self.live_environment_of(a.caller, handle, Rights::empty())?),
        };
        self.in_time(a.caller);
        if !heir.is_some_and(|heir| self.bequeath_slice(heir)) {
            self.scheduler.give_up();
        }
        Ok(Done::Value(0))
    }

    /// The same for an environment by name that can go on at once: who runs now. Otherwise nothing
    /// has happened.
    pub(crate) fn yield_at_once(&mut self, a: &Arguments) -> Option<EnvironmentId> {
        let heir = self.environment_of(a.caller, a.handle(), Rights::empty()).ok()?;
        self.yield_to(a.caller, heir, a.words[0])
    }

    /// `(deadline_ns)` → events.
    pub(super) fn wait(&mut self, a: &Arguments) -> Answer {
        let [deadline, ..] = a.words;
        let environment = self.environments.get_mut(a.caller).ok_or(Status::WrongState)?;
        if environment.events != 0 {
            return Ok(Done::Value(core::mem::take(&mut environment.events)));
        }
        if deadline <= machine::time::now_ns() {
            return Ok(Done::Value(abi::ring::EVENT_DEADLINE));
        }
        environment.let_go();
        environment.state = State::Waiting;
        environment.deadline = deadline;
        self.in_time(a.caller);
        self.scheduler.forget(a.caller);
        self.scheduler.next_deadline = self.scheduler.next_deadline.min(deadline);
        Ok(Done::Later)
    }
}
