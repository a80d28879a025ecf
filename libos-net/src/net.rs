//! What a program's sockets share: its own environment and the page of addresses.

use alloc::string::String;

use libos::addresses::{AddressPage, Addresses};
use libos::capability::BindError;
use libos::errors::{ErrorPage, NetError};
use libos::{Env, Environment, clock};

use crate::filter::FilterError;
use crate::neighbours::Neighbours;

/// How long a program waits for the first writing of the page of addresses, and how often it looks.
const ADDRESS_WAIT_NS: u64 = 10_000_000_000;
const ADDRESS_LOOK_NS: u64 = 1_000_000;

/// Why a socket was not opened or not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketError {
    /// The start block lacks this.
    Missing {
        /// Its name.
        name: String,
    },
    /// The page of addresses was not written in time.
    NoAddress,
    /// The filter's expression is no good.
    Filter {
        /// Why.
        error: FilterError,
    },
    /// The kernel refused the binding.
    Bind {
        /// With its record.
        error: BindError,
    },
    /// The card is behind: nothing was taken, try again when something is out.
    Full,
    /// The other side cannot be reached, ICMP says.
    Unreachable {
        /// What it said.
        error: NetError,
    },
    /// The stack refused: port zero, a datagram that does not fit, no such address.
    Stack {
        /// What it was asked.
        doing: &'static str,
    },
}

impl core::fmt::Display for SocketError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Missing { name } => write!(f, "the start block names no `{name}`"),
            Self::NoAddress => f.write_str("no address was published"),
            Self::Filter { error } => write!(f, "{error}"),
            Self::Bind { error } => write!(f, "{error}"),
            Self::Unreachable { error } => {
                write!(f, "{} cannot be reached: ICMP {:?}", error.remote, error.kind)
            }
            Self::Full => f.write_str("the card is behind"),
            Self::Stack { doing } => write!(f, "the stack refused {doing}"),
        }
    }
}

impl From<libos::environment::Missing> for SocketError {
    fn from(missing: libos::environment::Missing) -> SocketError {
        SocketError::Missing { name: missing.name }
    }
}

impl From<FilterError> for SocketError {
    fn from(error: FilterError) -> SocketError {
        SocketError::Filter { error }
    }
}

impl From<libos::Status> for SocketError {
    fn from(status: libos::Status) -> SocketError {
        SocketError::Bind { error: BindError { status, refusal: None } }
    }
}

impl From<BindError> for SocketError {
    fn from(error: BindError) -> SocketError {
        SocketError::Bind { error }
    }
}

/// The shared part.
#[derive(Clone, Debug)]
pub struct Net {
    own: Env,
    page: AddressPage,
    addresses: Addresses,
    errors: Option<ErrorPage>,
}

impl Net {
    /// From the start block; waits until the page of addresses has been written.
    ///
    /// # Errors
    /// [`SocketError::Missing`], [`SocketError::NoAddress`].
    pub fn new(environment: &Environment) -> Result<Net, SocketError> {
        let net = Net::with_page(environment.own()?, environment.addresses()?)?;
        Ok(net.with_errors(environment.errors()?))
    }

    /// As [`Net::new`], for who finds the address out: it may be all zeros.
    ///
    /// # Errors
    /// [`SocketError::Missing`], [`SocketError::NoAddress`].
    pub fn without_address(environment: &Environment) -> Result<Net, SocketError> {
        let net = Net::when(environment.own()?, environment.addresses()?, |_| true)?;
        Ok(net.with_errors(environment.errors()?))
    }

    /// From a page of addresses.
    ///
    /// # Errors
    /// [`SocketError::NoAddress`].
    pub fn with_page(own: Env, page: AddressPage) -> Result<Net, SocketError> {
        Net::when(own, page, |addresses| addresses.ipv4 != [0; 4])
    }

    fn when(
        own: Env,
        page: AddressPage,
        ready: impl Fn(&Addresses) -> bool,
    ) -> Result<Net, SocketError> {
        let deadline = clock::now_ns().saturating_add(ADDRESS_WAIT_NS);
        loop {
            if let Some(addresses) = page.read().filter(&ready) {
                return Ok(Net { own, page, addresses, errors: None });
            }
            let now = clock::now_ns();
            if now >= deadline {
                return Err(SocketError::NoAddress);
            }
            clock::wait(now + ADDRESS_LOOK_NS);
        }
    }

    /// With a page of what ICMP says.
    pub fn with_errors(self, page: ErrorPage) -> Net {
        Net { errors: Some(page), ..self }
    }

    /// The page of what ICMP says, if there is one.
    pub fn errors(&self) -> Option<&ErrorPage> {
        self.errors.as_ref()
    }

    /// The program's own environment.
    pub fn own(&self) -> Env {
        self.own
    }

    /// The page.
    pub fn page(&self) -> &AddressPage {
        &self.page
    }

    /// What the page said when this was made.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// A view of the neighbours of its own.
    pub fn neighbours(&self) -> Neighbours {
        Neighbours::new(self.page.clone())
    }
}
