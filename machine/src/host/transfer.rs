//! Protected control transfer between scripted contexts: the same states, every step the kernel's.

use std::cell::Cell;

use super::boot::Cpu;
use super::script::UserContext;
use super::space::AddressSpace;
use crate::event::Link;

std::thread_local! {
    static RUNNING: Cell<u64> = const { Cell::new(0) };
}

/// A context's part in transfers: numbers in the place of bare metal's pointers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Transfers {
    tag: u64,
    parked: bool,
    awaits: Option<u64>,
    donor: Option<u64>,
    entry: Option<(u64, u64)>,
}

impl UserContext {
    /// Says whose it is, and which address space goes with it. From now on it must not move.
    pub fn settle(&mut self, tag: u64, _space: &AddressSpace) {
        self.link.tag = tag;
    }

    /// Where it can be entered while it is parked: address and stack; or nowhere.
    pub fn set_transfer_entry(&mut self, to: Option<(u64, u64)>) {
        self.link.entry = to;
    }

    /// Whether it runs, is parked, or waits for another one.
    pub fn link(&self) -> Link {
        match self.link {
            Transfers { awaits: Some(tag), .. } => Link::Awaiting(tag),
            Transfers { parked: true, .. } => Link::Parked,
            _ => Link::Free,
        }
    }

    /// Who waits for it. Unlike bare metal's, this one must be told of a donor's end.
    pub fn donor(&self) -> Option<u64> {
        self.link.donor
    }

    /// Gives its registers up.
    pub fn park(&mut self) {
        self.link.parked = true;
    }

    /// It runs again: parked no more, and waiting for nobody.
    pub fn unpark(&mut self) {
        (self.link.parked, self.link.awaits) = (false, None);
    }

    /// Its donor ended.
    pub fn forget_donor(&mut self) {
        self.link.donor = None;
    }

    /// Whether a synchronous transfer can enter it.
    pub fn accepts(&self) -> bool {
        self.link() == Link::Parked && self.link.entry.is_some()
    }

    /// Transfers to a context that accepts; this one waits.
    pub fn transfer(&mut self, to: &mut UserContext, _handle: u64) {
        assert!(self.link() == Link::Free && to.accepts(), "a transfer that cannot be");
        self.link.awaits = Some(to.link.tag);
        to.link.donor = Some(self.link.tag);
        to.link.parked = false;
        to.registers.receive(&self.registers, self.link.tag);
        (to.registers.rip, to.registers.rsp) = to.link.entry.unwrap_or_default();
        to.registers.rflags = abi::upcall::FLAGS;
    }

    /// Gives the time back to its donor, with its registers, and parks.
    pub fn give_back(&mut self, donor: &mut UserContext) {
        assert_eq!(self.link.donor, Some(donor.link.tag), "not the donor");
        (self.link.donor, self.link.parked) = (None, true);
        donor.link.awaits = None;
        donor.registers.receive(&self.registers, self.link.tag);
    }

    /// On bare metal opens a gate for the handle; here every yield is the kernel's.
    pub fn open_yield(&mut self, _to: &mut UserContext, _handle: u64) {}

    /// There are no gates to hold it back from.
    pub fn hold_back(&mut self) {}

    /// How often it was given a slice through a gate: never.
    pub fn inherited(&self) -> u64 {
        0
    }

    pub(super) fn is_running(&self) {
        RUNNING.set(self.link.tag);
    }
}

impl Cpu {
    /// Synchronous transfers that the entry code made by itself: none here.
    pub fn transfers(&self) -> u64 {
        0
    }

    /// Number of the environment whose context ran last.
    pub fn running(&self) -> u64 {
        RUNNING.get()
    }

    /// Nobody is given a slice through a gate.
    pub fn heir(&self) -> Option<u64> {
        None
    }

    /// There are no gates on the host.
    pub fn close_gates(&self) {}
}
