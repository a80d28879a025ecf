//! Environments: what the kernel keeps for each library OS.
//!
//! An environment is an address space, a table of capabilities, an account of frames, and the
//! registers it continues with. It is created by another one, out of that one's quota; when it
//! ends, everything it held goes back and its creator is told. Its last state is remembered for a
//! while (`ENDED_MAX` environments).

mod end;
mod memory;
mod orphans;
mod table;

use alloc::collections::BTreeSet;
use alloc::string::String;

use abi::start::State;
use machine::{AddressSpace, UserContext};

use crate::capability::Table;
use crate::charge::Allowance;
use crate::filter::Proof;
use crate::predicate::Predicate;
use crate::reserve::Account;
use crate::revocation::Repossession;
use crate::upcall::Upcalls;

pub(crate) use table::{Ended, Environments};

/// Names an environment; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnvironmentId(pub u32);

/// One environment.
pub(crate) struct Environment {
    pub(crate) name: String,
    /// Who created it, or took over when that one ended; none for `init`.
    pub(crate) parent: Option<EnvironmentId>,
    pub(crate) state: State,
    /// When a `Wait` ends at the latest, in nanoseconds since boot.
    pub(crate) deadline: u64,
    /// Events that no `Wait` has returned yet.
    pub(crate) events: u64,
    pub(crate) context: UserContext,
    pub(crate) space: AddressSpace,
    /// Addresses at which pages are bound in `space`.
    pub(crate) mapped: BTreeSet<u64>,
    /// Frames of the pages that it owns.
    pub(crate) pages: BTreeSet<u64>,
    pub(crate) table: Table,
    pub(crate) account: Account,
    /// Where the kernel enters it of its own accord.
    pub(crate) upcalls: Upcalls,
    /// What is left of its time for downloaded code.
    pub(crate) downloads: Allowance,
    /// What it prepared for the case that something is taken from it.
    pub(crate) repossession: Repossession,
    /// Slices that began with it, or whose rest it was given by name.
    pub(crate) quanta: u64,
    /// Slices that it kept to the end although it was told.
    pub(crate) excess: u32,
    /// Says when it may run again, once it waits for that.
    pub(crate) predicate: Option<alloc::boxed::Box<Predicate>>,
    /// Bindings that it owns.
    pub(crate) bindings: usize,
    /// The proof being worked on in its slices.
    pub(crate) proof: Option<alloc::boxed::Box<Proof>>,
}

impl Environment {
    /// A new one with an empty address space.
    pub(crate) fn new(
        name: String,
        parent: Option<EnvironmentId>,
        space: AddressSpace,
        account: Account,
    ) -> Environment {
        Environment {
            name,
            parent,
            state: State::Created,
            deadline: u64::MAX,
            events: 0,
            context: UserContext::new(0, 0, 0),
            space,
            mapped: BTreeSet::new(),
            pages: BTreeSet::new(),
            table: Table::new(),
            account,
            upcalls: Upcalls::default(),
            quanta: 0,
            excess: 0,
            repossession: Repossession::default(),
            downloads: Allowance::default(),
            predicate: None,
            bindings: 0,
            proof: None,
        }
    }

    /// Whether only its predicate or its deadline wakes it.
    pub(crate) fn is_held(&self) -> bool {
        self.state == State::Waiting && self.predicate.as_ref().is_some_and(|it| it.awaited)
    }

    /// Its predicate holds it no longer.
    pub(crate) fn let_go(&mut self) {
        if let Some(predicate) = &mut self.predicate {
            predicate.awaited = false;
        }
    }

    /// What the call that it made returns.
    pub(crate) fn answer(&mut self, status: abi::Status, value: u64) {
        self.context.registers.rax = status as u64;
        self.context.registers.rdx = value;
    }
}
