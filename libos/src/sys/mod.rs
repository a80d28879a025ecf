//! The one place that talks to the kernel: everything unsafe in ring 3 is in here.
//!
//! A call is a [`Request`] whose pointers are still slices, so that no safe code can hand the
//! kernel an address that it does not own. [`perform`] turns it into registers (`bare`) or gives
//! it to a test's script (`host`).
#![allow(unsafe_code)]

#[cfg(target_os = "none")]
mod bare;
mod entropy;
mod exclusive;
pub mod fault;
#[cfg(any(target_os = "none", test))]
mod growth;
#[cfg(target_os = "none")]
mod heap;
#[cfg(not(target_os = "none"))]
pub mod host;
pub mod hostile;
pub mod measure;
pub mod paged;
#[cfg(target_os = "none")]
mod start;
pub mod stubs;
pub mod transfer;
pub mod twin;
pub mod upcall;
mod vector;
mod window;

use core::sync::atomic::{AtomicU64, Ordering};

use abi::{Call, Handle, Status};

#[cfg(target_os = "none")]
use bare as platform;
#[cfg(not(target_os = "none"))]
use host as platform;

pub use entropy::entropy;
pub use exclusive::Exclusive;
#[cfg(target_os = "none")]
pub use start::start;
pub use vector::{expected_sum, vector_sum};
pub use window::{Window, new_window, with_scratch};

pub(crate) use platform::{region, shared_region};

/// One call, with its pointers still borrowed.
#[derive(Debug)]
pub enum Request<'a> {
    /// Registers only.
    Plain {
        /// Which call.
        call: Call,
        /// Its arguments; what a call does not use is zero.
        args: [u64; 6],
    },
    /// The kernel reads `bytes`: `(first, address, length)`.
    Text {
        /// Which call.
        call: Call,
        /// The first argument.
        first: u64,
        /// What the kernel reads.
        bytes: &'a [u8],
    },
    /// The kernel writes `Books`, at most as many bytes as there are.
    Books {
        /// Where to.
        into: &'a mut [u8],
    },
    /// The kernel writes a binding's statistics.
    Stats {
        /// Which binding.
        binding: Handle,
        /// Where to.
        into: &'a mut abi::bind::BindingStats,
    },
    /// `GrantDerive`.
    Derive {
        /// The parent.
        grant: Handle,
        /// Filter program of the child's receive space.
        receive: &'a [u8],
        /// Filter program of its transmit space; empty for the mirror.
        transmit: &'a [u8],
        /// Where a refusal goes.
        refusal: &'a mut [u8],
    },
    /// `Bind`.
    Bind(Bind<'a>),
    /// `Carve` or `HandOver`: one more program before what is bound.
    Part {
        /// Which call.
        call: Call,
        /// The transmit filter, empty for the mirror; or the first part's filter.
        program: &'a [u8],
        /// What is bound; in place of a grant, the binding that it is a part of.
        bind: Bind<'a>,
    },
    /// The kernel writes words: `(address, count)`, or `(first, address)`.
    Words {
        /// Which call.
        call: Call,
        /// The argument before the address, if there is one.
        first: Option<Handle>,
        /// Where to.
        into: &'a mut [u32],
    },
    /// `PredicateSet`.
    Predicate {
        /// The memory program; empty takes the predicate back.
        program: &'a [u8],
        /// What it looks at.
        words: &'a [abi::download::WordRef],
        /// Where a refusal goes.
        refusal: &'a mut [u8],
    },
    /// The kernel reads handles: `([first,] address, count)`.
    List {
        /// Which call.
        call: Call,
        /// The argument before them, if the call has one.
        first: Option<u64>,
        /// What the kernel reads.
        handles: &'a [Handle],
    },
    /// The kernel writes bytes: `([first,] address, length)`.
    Fill {
        /// Which call.
        call: Call,
        /// The argument before them, if the call has one.
        first: Option<u64>,
        /// Where to.
        into: &'a mut [u8],
    },
    /// The kernel reads an argument block of the call's own: `(address)`.
    Block {
        /// Which call.
        call: Call,
        /// The block, as long as the call's is.
        bytes: &'a [u8],
    },
    /// A call on an entry of a map.
    Map {
        /// Which call.
        call: Call,
        /// Which map.
        map: Handle,
        /// The key; empty for none.
        key: &'a [u8],
        /// The value, or the next key.
        memory: MapMemory<'a>,
        /// What the call takes besides.
        flags: u64,
    },
    /// `PageBatch`.
    Batch {
        /// In which environment.
        own: Handle,
        /// What to do.
        entries: &'a [abi::bind::BatchEntry],
    },
}

/// The other memory of a call on a map.
#[derive(Debug)]
pub enum MapMemory<'a> {
    /// There is none.
    None,
    /// A value that the kernel reads.
    Value(&'a [u8]),
    /// Where the kernel writes a value.
    Into(&'a mut [u8]),
    /// Where the kernel writes a key.
    Key(&'a mut [u8]),
}

/// The arguments of `Bind`.
#[derive(Debug)]
pub struct Bind<'a> {
    /// Under this grant.
    pub grant: Handle,
    /// The filter program.
    pub filter: &'a [u8],
    /// The ASH; empty for none.
    pub ash: &'a [u8],
    /// The control page, or [`Handle::NONE`].
    pub control: Handle,
    /// Pages of the receive slots.
    pub rx: &'a [Handle],
    /// Pages of the transmit slots.
    pub tx: &'a [Handle],
    /// The maps that the ASH names by position.
    pub maps: &'a [Handle],
    /// Cases for the filter; empty for none.
    pub certificate: &'a [u8],
    /// Where a refusal goes.
    pub refusal: &'a mut [u8],
}

/// Makes the call: its value, or the status that refused it.
///
/// # Errors
/// Whatever the kernel answers but `Ok`; a number that is no status comes back as `UnknownCall`.
pub(crate) fn perform(request: Request<'_>) -> Result<u64, Status> {
    let (status, value) = platform::perform(request);
    match Status::from_number(status) {
        Some(Status::Ok) => Ok(value),
        Some(refusal) => Err(refusal),
        None => Err(Status::UnknownCall),
    }
}

/// A call of registers only.
///
/// # Errors
/// As [`perform`].
pub(crate) fn plain(call: Call, args: &[u64]) -> Result<u64, Status> {
    let mut all = [0; 6];
    for (slot, &value) in all.iter_mut().zip(args) {
        *slot = value;
    }
    perform(Request::Plain { call, args: all })
}

/// The time-stamp counter.
pub fn cycles() -> u64 {
    // SAFETY: every x86-64 processor has it, and the kernel leaves it to ring 3.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Ends the program.
pub fn exit(code: u64) -> ! {
    // The kernel does not come back; the loop is for the type.
    loop {
        let _ = plain(Call::Exit, &[code]);
        platform::stuck();
    }
}

static OWN: AtomicU64 = AtomicU64::new(0);
static DEBUG: AtomicU64 = AtomicU64::new(0);

/// The program's own environment, [`Handle::NONE`] before the start block was read.
#[cfg(target_os = "none")]
pub(crate) fn own() -> Handle {
    Handle(OWN.load(Ordering::Relaxed))
}

/// The debug channel, [`Handle::NONE`] if the program was given none.
pub(crate) fn debug() -> Handle {
    Handle(DEBUG.load(Ordering::Relaxed))
}

/// Remembers the two handles that heap and panic handler need.
pub(crate) fn remember(own: Handle, debug: Handle) {
    OWN.store(own.0, Ordering::Relaxed);
    DEBUG.store(debug.0, Ordering::Relaxed);
}
