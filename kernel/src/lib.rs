//! Protects and multiplexes the machine; decides nothing a library OS could decide.
//!
//! The kernel is a library over `machine`, which exists twice: as the hardware and as a double on
//! the host, where the tests drive every call. [`main`] is entered by the boot code and never
//! returns; [`Kernel::step`] is the whole loop.
//!
//! Two walks through the code:
//! - a packet: `packet.rs` - card, classify, run, deliver, count - on one screen;
//! - a filter: `filter/` - copy in, decode, safe, claim, inside, disjoint, own,
//!   compile, check, publish - one line per stage.
//!
//! Rules that hold everywhere: a call checks handle, kind, rights and arguments and reserves what
//! it needs before it changes anything; a call that fails has changed nothing; nothing that ring 3,
//! the wire or a device sends can panic the kernel; every packet and every frame is in the books.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod binding;
mod books;
mod boot;
mod calls;
mod capability;
mod channel;
mod charge;
mod environment;
mod exposed;
mod filter;
mod fragment;
mod grant;
mod holding;
mod initiate;
mod kernel;
pub mod limits;
mod maps;
mod network;
pub mod options;
mod packet;
mod pages;
mod pieces;
mod predicate;
mod probe;
mod reserve;
mod revocation;
mod ring;
mod scheduler;
mod short;
mod slices;
mod slots;
mod stages;
mod transfer;
mod transmit;
mod upcall;
mod watch;

pub use boot::{BootError, main};
pub use environment::EnvironmentId;
pub use kernel::Kernel;
