//! Upcalls: the kernel enters a library OS at an address that it registered.
//!
//! Registration is a secure binding: that the save area lies in a writable page of the caller's
//! own, and that entry and stack are addresses of ring 3, is checked once, and the page is pinned.
//! Delivery ([`Kernel::upcall`]) writes the save area through the frame and moves `rax`, `rsp`,
//! `rip` and the flags; nothing is checked again and nothing else changes. On bare metal most
//! faults never get here: the machine does the same in its trap entry (`machine::FaultUpcall`).
//!
//! Whoever has something to say calls [`Kernel::upcall`], which delivers it now or not at all, or
//! [`Kernel::raise`], which keeps what cannot be delivered now until the environment runs next.

use abi::Status;
use abi::limits::{PAGE_BYTES, USER_END, USER_START};
use abi::start::State;
use abi::upcall::{self, KINDS, Kind};

use crate::Kernel;
use crate::environment::{Environment, EnvironmentId};
use crate::pages::Memory;

/// What an upcall says; where it stands in the save area is in `abi::upcall`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) detail: u64,
    pub(crate) error: u64,
    pub(crate) address: u64,
    pub(crate) argument: u64,
}

/// One registration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registration {
    entry: u64,
    stack: u64,
    /// The save area's address in the environment.
    pub(crate) save: u64,
    /// The frame that it lies in, pinned, and where in it.
    pub(crate) frame: u64,
    offset: usize,
}

/// What an environment has registered, and what waits to be delivered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Upcalls {
    registered: [Option<Registration>; KINDS],
    waiting: [Option<Cause>; KINDS],
    /// A bit for each of those.
    raised: u32,
}

impl Upcalls {
    /// Whether this kind is registered.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.get(kind).is_some()
    }

    /// Whether something waits to be delivered.
    pub(crate) fn pending(&self) -> bool {
        self.raised != 0
    }

    /// Whether a save area lies in that frame.
    pub(crate) fn pins(&self, frame: u64) -> bool {
        self.registered.iter().flatten().any(|it| it.frame == frame)
    }

    /// Entry and stack of a kind.
    pub(crate) fn entry(&self, kind: Kind) -> Option<(u64, u64)> {
        self.get(kind).map(|it| (it.entry, it.stack))
    }

    fn get(&self, kind: Kind) -> Option<Registration> {
        self.registered.get(kind as usize).copied().flatten()
    }

    fn set(&mut self, kind: Kind, to: Option<Registration>) -> Option<Registration> {
        self.cancel(kind);
        let place = self.registered.get_mut(kind as usize)?;
        core::mem::replace(place, to)
    }

    fn keep(&mut self, kind: Kind, cause: Cause) {
        if let Some(place) = self.waiting.get_mut(kind as usize) {
            *place = Some(cause);
            self.raised |= 1 << kind as u32;
        }
    }

    fn cancel(&mut self, kind: Kind) {
        if let Some(place) = self.waiting.get_mut(kind as usize) {
            *place = None;
            self.raised &= !(1 << kind as u32);
        }
    }
}

impl Kernel {
    /// Enters an environment at what it registered for `kind`, when it runs next. A `Wait` that it
    /// is in returns, with the events there are. `false`, and nothing has happened: it has not
    /// registered that kind, its save area is still active, a call of its is still being worked
    /// on, or it is no more.
    pub(crate) fn upcall(&mut self, id: EnvironmentId, kind: Kind, cause: Cause) -> bool {
        let Some(environment) = self.environments.get_mut(id) else { return false };
        let Some(to) = environment.upcalls.get(kind) else { return false };
        let waiting = match environment.state {
            State::Runnable => false,
            State::Waiting => true,
            _ => return false,
        };
        // While a short call of its is answered its registers are not here to be kept.
        if self.away == Some(id) || !is_free(&self.memory, to) || !environment.admit_upcall() {
            return false;
        }
        if !enter(&self.memory, environment, to, cause, waiting) {
            return false;
        }
        environment.context.hold_back();
        environment.upcalls.cancel(kind);
        if waiting {
            environment.state = State::Runnable;
            self.scheduler.enqueue(id);
        }
        true
    }

    /// The same, but what cannot be delivered now waits until it can be; a later cause takes the
    /// place of an earlier one that still waits. `false`: that kind is not registered.
    pub(crate) fn raise(&mut self, id: EnvironmentId, kind: Kind, cause: Cause) -> bool {
        if self.upcall(id, kind, cause) {
            return true;
        }
        let Some(environment) = self.environments.get_mut(id) else { return false };
        let registered = environment.upcalls.has(kind);
        if registered {
            environment.context.hold_back();
            environment.upcalls.keep(kind, cause);
        }
        registered
    }

    /// Delivers one of those that wait, if it can be: before the environment runs.
    pub(crate) fn deliver_raised(&mut self, id: EnvironmentId) {
        for &kind in Kind::ALL {
            let environment = self.environments.get(id);
            let cause = environment.and_then(|it| it.upcalls.waiting.get(kind as usize).copied());
            if let Some(Some(cause)) = cause
                && self.upcall(id, kind, cause)
            {
                return;
            }
        }
    }

    /// Registers entry, stack and save area for a kind, in the place of what was there.
    ///
    /// # Errors
    /// [`Status::BadAddress`] for an entry or stack outside ring 3's half and for a save area that
    /// is not mapped writable; [`Status::BadArgument`] for a misaligned stack or save area;
    /// [`Status::MissingRight`] for a save area in a page of somebody else's.
    pub(crate) fn register_upcall(
        &mut self,
        id: EnvironmentId,
        kind: Kind,
        [entry, stack, save]: [u64; 3],
    ) -> Result<(), Status> {
        if !(USER_START..USER_END).contains(&entry) || !(USER_START..=USER_END).contains(&stack) {
            return Err(Status::BadAddress);
        }
        let aligned = save.is_multiple_of(upcall::SAVE_ALIGN as u64);
        if !aligned || !stack.is_multiple_of(upcall::STACK_ALIGN) {
            return Err(Status::BadArgument);
        }
        let environment = self.environments.get(id).ok_or(Status::WrongState)?;
        let (frame, rights) = environment.space.lookup(save).ok_or(Status::BadAddress)?;
        if !rights.write {
            return Err(Status::BadAddress);
        }
        let frame = frame.0;
        if self.memory.at_mut(frame).is_none_or(|page| page.owner != id) {
            return Err(Status::MissingRight);
        }
        let offset = (save % PAGE_BYTES as u64) as usize;
        self.pin(frame);
        self.exchange(id, kind, Some(Registration { entry, stack, save, frame, offset }));
        Ok(())
    }

    /// Takes a registration back.
    pub(crate) fn forget_upcall(&mut self, id: EnvironmentId, kind: Kind) {
        self.exchange(id, kind, None);
    }

    /// Takes all registrations back: the environment ends.
    pub(crate) fn forget_upcalls(&mut self, id: EnvironmentId) {
        Kind::ALL.iter().for_each(|&kind| self.forget_upcall(id, kind));
    }

    fn exchange(&mut self, id: EnvironmentId, kind: Kind, to: Option<Registration>) {
        let Some(environment) = self.environments.get_mut(id) else { return };
        let before = environment.upcalls.set(kind, to);
        if kind == Kind::Fault {
            let fast = to.and_then(|to| {
                let frame = self.memory.frame(to.frame)?;
                let Registration { entry, stack, save, offset, .. } = to;
                Some(machine::FaultUpcall { frame, offset, save, entry, stack })
            });
            environment.context.set_fault_upcall(fast);
        }
        if kind == Kind::SliceEnd {
            // From now on, or no more, its heirs' yields are to be noticed.
            machine::this_cpu().close_gates();
        }
        if kind == Kind::TransferSync {
            environment.set_transfer_entry();
        }
        if let Some(before) = before {
            self.unpin(before.frame);
        }
    }
}

/// Whether the save area is not in use.
fn is_free(memory: &Memory, to: Registration) -> bool {
    memory.frame(to.frame).is_some_and(|frame| frame.load_u64(to.offset + upcall::ACTIVE) == 0)
}

/// Writes the save area and moves the registers; `false` if the save area is active.
fn enter(
    memory: &Memory,
    environment: &mut Environment,
    to: Registration,
    cause: Cause,
    waiting: bool,
) -> bool {
    let Some(frame) = memory.frame(to.frame) else { return false };
    if frame.load_u64(to.offset + upcall::ACTIVE) != 0 {
        return false;
    }
    if waiting {
        let events = core::mem::take(&mut environment.events);
        environment.answer(Status::Ok, events);
    }
    let registers = &mut environment.context.registers;
    for (place, value) in [
        (upcall::DETAIL, cause.detail),
        (upcall::ERROR, cause.error),
        (upcall::ADDRESS, cause.address),
        (upcall::ARGUMENT, cause.argument),
        (upcall::RIP, registers.rip),
        (upcall::RFLAGS, registers.rflags),
        (upcall::RSP, registers.rsp),
        (upcall::RAX, registers.rax),
        (upcall::ACTIVE, 1),
    ] {
        frame.store_u64(to.offset + place, value);
    }
    registers.rax = to.save;
    registers.rsp = to.stack;
    registers.rip = to.entry;
    registers.rflags = upcall::FLAGS;
    true
}
