//! What any library OS can start from: call stubs, heap, start-up, loader.
//!
//! A ring-3 program begins with [`entry!`], gets an [`Environment`] that tells what it was given,
//! and works with typed names of its capabilities ([`capability`]). Nothing here is a policy that a
//! program could not replace: `sys` is the whole of what must be trusted.
//!
//! The crate also builds for the host, where `sys` is a double that a test scripts.
#![no_std]

extern crate alloc;
#[cfg(not(target_os = "none"))]
extern crate std;

pub mod addresses;
pub mod cache;
pub mod capability;
pub mod clock;
pub mod download;
pub mod environment;
pub mod errors;
pub mod executor;
pub mod exposed;
pub mod ipc;
pub mod layout;
pub mod loader;
pub mod logger;
pub mod map;
#[cfg(feature = "object")]
pub mod object;
pub mod paging;
pub mod print;
pub mod program;
pub mod revocation;
pub mod rings;
pub mod slice;
pub mod stride;
pub mod sys;
pub mod time;
pub mod transfer;
pub mod upcall;

pub use abi::{Handle, Rights, Status};
pub use capability::{BindError, Binding, Env, Grant, Page};
pub use environment::Environment;
pub use rings::Rings;
