//! Calls on environments: create, start, kill, status.

use abi::limits::{ENVIRONMENTS_MAX, NAME_BYTES_MAX, USER_END, USER_START};
use abi::record::Record;
use abi::start::State;
use abi::{Rights, Status};
use alloc::string::String;
use machine::{AddressSpace, Link, UserContext};

use super::{Answer, Arguments, Done, bounded};
use crate::Kernel;
use crate::capability::{Capability, Object};
use crate::environment::{Ended, Environment, EnvironmentId};
use crate::limits::{ENVIRONMENT_COST, ENVIRONMENT_FRAMES_MIN};
use crate::reserve::{Account, Need};

impl Kernel {
    /// `(frames, name, length)` → environment capability.
    pub(super) fn env_create(&mut self, a: &Arguments) -> Answer {
        let [frames, name, length, ..] = a.words;
        let length = bounded(length, NAME_BYTES_MAX)?;
        if frames < ENVIRONMENT_FRAMES_MIN {
            return Err(Status::BadArgument);
        }
        let mut buffer = [0; NAME_BYTES_MAX];
        let bytes = buffer.get_mut(..length).ok_or(Status::BadArgument)?;
        self.copy_into(a.caller, name, bytes)?;
        let name = checked_name(bytes)?;
        self.reserve_slot(a.caller)?;
        let id = self.create_environment(name, Some(a.caller), frames)?;
        let rights = Rights::CONTROL | Rights::GRANT | Rights::READ;
        let capability = Capability { object: Object::Environment(id), rights };
        Ok(Done::Value(self.give(a.caller, capability)?.0))
    }

    /// Makes an environment with a quota of `frames` out of its creator's.
    ///
    /// # Errors
    /// [`Status::Limit`] at `ENVIRONMENTS_MAX`, [`Status::NoMemory`].
    pub(crate) fn create_environment(
        &mut self,
        name: &str,
        parent: Option<EnvironmentId>,
        frames: u64,
    ) -> Result<EnvironmentId, Status> {
        if self.environments.len() >= ENVIRONMENTS_MAX {
            return Err(Status::Limit);
        }
        if let Some(parent) = parent {
            let heap = ENVIRONMENT_COST as usize;
            self.reserve(parent, Need { charge: frames, heap, frames: 0 })?;
        }
        let space = self.new_space()?;
        self.memory.tables_changed(0, space.table_frames());
        let tables = space.table_frames() as u64;
        let account = Account { tables, heap: ENVIRONMENT_COST, ..Account::new(frames) };
        if let Some(parent) = parent.and_then(|id| self.environments.get_mut(id)) {
            parent.account.quota = parent.account.quota.saturating_sub(frames);
        }
        let environment = Environment::new(String::from(name), parent, space, account);
        let id = self.environments.insert(environment);
        log::info!("{name} ({}) created with {frames} frames", id.0);
        self.show_soon();
        self.emit_state(id, name, State::Created);
        Ok(id)
    }

    /// An address space in which nothing is but what every one shows.
    fn new_space(&mut self) -> Result<AddressSpace, Status> {
        let pool = &mut self.memory.pool;
        let mut space = AddressSpace::new(pool).map_err(|_| Status::NoMemory)?;
        let shown = self.exposed.as_ref().map_or(Ok(()), |it| space.expose(pool, &it.shown));
        if shown.is_err() {
            space.destroy(pool);
            return Err(Status::NoMemory);
        }
        Ok(space)
    }

    /// `(environment, entry, stack, argument)`: makes it runnable.
    pub(super) fn env_start(&mut self, a: &Arguments) -> Answer {
        let [_, entry, stack, argument, ..] = a.words;
        let id = self.live_environment_of(a.caller, a.handle(), Rights::CONTROL)?;
        let user = USER_START..USER_END;
        if !user.contains(&entry) || !(USER_START..=USER_END).contains(&stack) {
            return Err(Status::BadAddress);
        }
        self.start_environment(id, UserContext::new(entry, stack, argument))?;
        Ok(Done::Value(0))
    }

    /// Makes a created environment runnable.
    ///
    /// # Errors
    /// [`Status::WrongState`] if it was started before, or has ended.
    pub(crate) fn start_environment(
        &mut self,
        id: EnvironmentId,
        context: UserContext,
    ) -> Result<(), Status> {
        let environment = self.environments.get_mut(id).ok_or(Status::WrongState)?;
        if environment.state != State::Created {
            return Err(Status::WrongState);
        }
        environment.context = context;
        environment.context.settle(u64::from(id.0), &environment.space);
        environment.state = State::Runnable;
        let name = environment.name.clone();
        log::info!("{name} ({}) started", id.0);
        self.scheduler.enqueue(id);
        self.show_soon();
        self.emit_state(id, &name, State::Runnable);
        Ok(())
    }

    /// `(environment)`: ends it. Ending one that has ended is [`Status::WrongState`].
    pub(super) fn env_kill(&mut self, a: &Arguments) -> Answer {
        let id = self.live_environment_of(a.caller, a.handle(), Rights::CONTROL)?;
        self.end_environment(Ended { id, state: State::Killed, detail: 0 });
        Ok(if id == a.caller { Done::Later } else { Done::Value(0) })
    }

    /// `(environment)` → state in bits 0–7, detail in bits 8–63.
    pub(crate) fn env_status(&mut self, a: &Arguments) -> Answer {
        let id = self.environment_of(a.caller, a.handle(), Rights::empty())?;
        let (state, detail) = match (self.environments.get(id), self.environments.ended(id)) {
            (Some(it), _) if it.context.link() == Link::Parked => (State::Waiting, 0),
            (Some(environment), _) => (environment.state, 0),
            (None, Some(end)) => (end.state, end.detail),
            (None, None) => return Err(Status::BadHandle),
        };
        Ok(Done::Value(state as u64 | detail << 8))
    }

    fn emit_state(&mut self, id: EnvironmentId, name: &str, state: State) {
        self.channel.emit(64, || Record::Environment {
            id: id.0,
            name: String::from(name),
            state,
            detail: 0,
        });
    }
}

/// A name: printable ASCII without blanks, not empty.
fn checked_name(bytes: &[u8]) -> Result<&str, Status> {
    let plain = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_graphic);
    let name = core::str::from_utf8(bytes).map_err(|_| Status::BadArgument)?;
    if plain { Ok(name) } else { Err(Status::BadArgument) }
}
