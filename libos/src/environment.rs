//! What a program was given when it started.
//!
//! A reading of the start block: names to capabilities and regions. What is missing is an `Err`
//! with the name, so that a program's complaint says what its creator forgot.

use alloc::string::String;

use abi::start::Start;
use abi::{Handle, Status};

use crate::addresses::AddressPage;
use crate::capability::{Env, Grant};
use crate::errors::ErrorPage;
use crate::sys;

/// The program's own view of its start block.
#[derive(Clone, Debug)]
pub struct Environment {
    start: Start,
}

impl Environment {
    /// Around a start block that was read; the entry does this.
    pub fn new(start: Start) -> Environment {
        Environment { start }
    }

    /// The program's name.
    pub fn name(&self) -> &str {
        &self.start.name
    }

    /// The words it was given.
    pub fn arguments(&self) -> &str {
        &self.start.arguments
    }

    /// The whole block.
    pub fn start(&self) -> &Start {
        &self.start
    }

    /// The network card's address; all zero without a card.
    pub fn mac(&self) -> [u8; 6] {
        self.start.mac
    }

    /// The program's own environment.
    ///
    /// # Errors
    /// [`Missing`] if the start block names none.
    pub fn own(&self) -> Result<Env, Missing> {
        self.handle("self").map(Env)
    }

    /// The grant of that name.
    ///
    /// # Errors
    /// [`Missing`] if the start block names none.
    pub fn grant(&self, name: &str) -> Result<Grant, Missing> {
        self.handle(&alloc::format!("grant:{name}")).map(Grant)
    }

    /// The capability of that name.
    ///
    /// # Errors
    /// [`Missing`] if the start block names none.
    pub fn handle(&self, name: &str) -> Result<Handle, Missing> {
        self.start.handle(name).ok_or_else(|| Missing { name: String::from(name) })
    }

    /// The page of addresses.
    ///
    /// # Errors
    /// [`Missing`] if there is none.
    pub fn addresses(&self) -> Result<AddressPage, Missing> {
        let missing = || Missing { name: String::from("addresses") };
        let (at, bytes) = self.start.region("addresses").ok_or_else(missing)?;
        AddressPage::new(sys::shared_region(at, bytes)).ok_or_else(missing)
    }

    /// The page of errors.
    ///
    /// # Errors
    /// [`Missing`] if there is none.
    pub fn errors(&self) -> Result<ErrorPage, Missing> {
        let missing = || Missing { name: String::from("errors") };
        let (at, bytes) = self.start.region("errors").ok_or_else(missing)?;
        ErrorPage::new(sys::shared_region(at, bytes)).ok_or_else(missing)
    }

    /// Memory that was mapped read-only beforehand and that nobody writes, as `initrd`.
    ///
    /// # Errors
    /// [`Missing`] if there is none, or if it is `addresses` or `errors`, which change.
    pub fn region(&self, name: &str) -> Result<&'static [u8], Missing> {
        let missing = || Missing { name: String::from(name) };
        let (at, bytes) = self.start.region(name).ok_or_else(missing)?;
        if matches!(name, "addresses" | "errors") || at == 0 {
            return Err(missing());
        }
        Ok(sys::region(at, bytes))
    }
}

/// The start block does not have this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its name.
    pub name: String,
}

impl core::fmt::Display for Missing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "the start block names no `{}`", self.name)
    }
}

impl From<Missing> for Status {
    fn from(_: Missing) -> Status {
        Status::BadHandle
    }
}
