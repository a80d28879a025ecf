//! What kernel and library OS agree on.
//!
//! The one definition of every call number, argument block, ring layout, refusal record, handle
//! and visible limit. Both sides of the boundary, and the host tool that reads the machine's
//! framed channel, link this crate; nothing here does anything.
//!
//! Numbers are only ever appended ([`VERSION`] is checked when an environment starts). Blocks that
//! the kernel reads from or writes to ring 3 have a fixed layout (`zerocopy`); records that only
//! travel as bytes (refusals, start block, framed channel) are `postcard`, whose encoding is
//! stable and versioned by the first field.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod address;
pub mod bind;
pub mod books;
pub mod call;
pub mod certificate;
pub mod control;
pub mod download;
pub mod exposed;
pub mod fuzzing;
pub mod handle;
pub mod image;
pub mod limits;
pub mod map;
pub mod record;
pub mod refusal;
pub mod revocation;
pub mod ring;
pub mod slice;
pub mod start;
pub mod status;
pub mod transfer;
pub mod upcall;

pub use call::Call;
pub use handle::{Handle, Rights};
pub use status::Status;

/// The interface's version: the value of [`Call::Null`], and what a start block must carry.
pub const VERSION: u32 = 1;
