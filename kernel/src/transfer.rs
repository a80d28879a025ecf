//! Protected control transfer, the kernel's part: everything but the way through an open gate.
//!
//! The contexts themselves know who is parked and who waits for whom (`machine`), because on bare
//! metal the trap entry transfers by itself once the kernel has opened a gate. What is done here
//! is what must be judged: that the sender holds a capability, and that the receiver is parked and
//! registered; and what becomes of one side when the other ends.

use abi::Status;
use abi::start::State;
use abi::upcall::Kind;
use machine::{Link, UserContext};

use crate::Kernel;
use crate::environment::{Environment, EnvironmentId};

impl Kernel {
    /// Transfers synchronously. The sender waits; its slices are the receiver's.
    ///
    /// # Errors
    /// [`Status::BadArgument`] to itself, [`Status::Busy`] if the receiver is not parked, or
    /// waits, [`Status::WrongState`] if it has registered no entry.
    pub(crate) fn transfer(
        &mut self,
        from: EnvironmentId,
        to: EnvironmentId,
        handle: u64,
    ) -> Result<(), Status> {
        self.check_receiver(from, to, Kind::TransferSync)?;
        if let Some((sender, receiver)) = self.environments.pair_mut(from, to) {
            sender.context.transfer(&mut receiver.context, handle);
        }
        self.scheduler.changed();
        Ok(())
    }

    /// Gives the time back to whoever transferred here, with the registers as the answer, and
    /// parks.
    pub(crate) fn give_back(&mut self, id: EnvironmentId) {
        self.in_time(id);
        let Some(environment) = self.environments.get_mut(id) else { return };
        let donor = environment.context.donor().map(|number| EnvironmentId(number as u32));
        match donor.and_then(|donor| self.environments.pair_mut(id, donor)) {
            Some((receiver, sender)) => receiver.context.give_back(&mut sender.context),
            None => {
                if let Some(environment) = self.environments.get_mut(id) {
                    environment.context.park();
                }
            }
        }
        self.scheduler.changed();
    }

    /// Transfers asynchronously: the rest of this slice is the receiver's.
    ///
    /// # Errors
    /// As [`Kernel::transfer`].
    pub(crate) fn transfer_async(
        &mut self,
        from: EnvironmentId,
        to: EnvironmentId,
    ) -> Result<(), Status> {
        self.check_receiver(from, to, Kind::TransferAsync)?;
        if let Some((sender, receiver)) = self.environments.pair_mut(from, to)
            && let Some((entry, stack)) = receiver.upcalls.entry(Kind::TransferAsync)
        {
            let registers = &mut receiver.context.registers;
            *registers = sender.context.registers;
            (registers.rax, registers.rip, registers.rsp) = (u64::from(from.0), entry, stack);
            (registers.rcx, registers.r11) = (0, 0);
            registers.rflags = abi::upcall::FLAGS;
            receiver.context.unpark();
        }
        self.in_time(from);
        self.bequeath_slice(to);
        Ok(())
    }

    fn check_receiver(
        &self,
        from: EnvironmentId,
        to: EnvironmentId,
        kind: Kind,
    ) -> Result<(), Status> {
        if from == to {
            return Err(Status::BadArgument);
        }
        let receiver = self.environments.get(to).ok_or(Status::WrongState)?;
        if receiver.context.link() != Link::Parked || receiver.state != State::Runnable {
            return Err(Status::Busy);
        }
        receiver.upcalls.entry(kind).map(drop).ok_or(Status::WrongState)
    }

    /// Whoever waits for an environment that ends goes on with a refusal; whoever serves it has
    /// nobody to answer any more.
    pub(crate) fn break_transfers_of(&mut self, id: EnvironmentId) {
        let number = u64::from(id.0);
        for (_, other) in self.environments.iter_mut() {
            if other.context.link() == Link::Awaiting(number) {
                other.context.unpark();
                other.context.registers.rax = abi::transfer::refused(Status::WrongState);
            }
            if other.context.donor() == Some(number) {
                other.context.forget_donor();
            }
        }
        if let Some(environment) = self.environments.get_mut(id) {
            environment.context.unpark();
        }
        machine::this_cpu().close_gates();
        self.scheduler.changed();
    }
}

impl Environment {
    /// Readies it to be entered by an upcall that is no transfer. One that waits for the answer of
    /// a transfer cannot be; one that is parked goes on behind its call afterwards.
    pub(crate) fn admit_upcall(&mut self) -> bool {
        match self.context.link() {
            Link::Free => true,
            Link::Parked => {
                self.context.unpark();
                self.context.registers.rax = abi::transfer::WOKEN;
                true
            }
            Link::Awaiting(_) => false,
        }
    }

    /// Registers where synchronous transfers enter it.
    pub(crate) fn set_transfer_entry(&mut self) {
        let entry = self.upcalls.entry(Kind::TransferSync);
        UserContext::set_transfer_entry(&mut self.context, entry);
    }
}
