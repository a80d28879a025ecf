//! Receive and transmit rings in the library OS's own pages.
//!
//! A binding with a ring has one *control page* with four free-running indices, each on a cache
//! line of its own, and two sets of slot pages. Every index has one writer and is read once per
//! use; the kernel never reads back an index that it writes. Slot `i` of a ring of `n` pages is
//! slot `i % (2n)`, two slots to a page. `n` is a power of two.

/// Offset of the receive index that the kernel advances after filling a slot.
pub const RX_PRODUCED: usize = 0;
/// Offset of the receive index that the library OS advances after emptying a slot.
pub const RX_CONSUMED: usize = 64;
/// Offset of the transmit index that the library OS advances after filling a slot.
pub const TX_PRODUCED: usize = 128;
/// Offset of the transmit index that the kernel advances once the card is done with a slot.
pub const TX_COMPLETED: usize = 192;
/// Offset of a counter of packets that found the receive ring full.
pub const RX_DROPPED: usize = 256;
/// Offset of a word of the library OS's: not 0 if [`EVENT_TRANSMITTED`] is only wanted when the
/// transmit ring was full, or slots wait that the card had no room for, at its last `Transmit`.
pub const TX_QUIET: usize = 320;

/// Slots in a page.
pub const SLOTS_PER_PAGE: usize = crate::limits::PAGE_BYTES / crate::limits::SLOT_BYTES;
/// In a slot: frame length in bytes, `u32`.
pub const SLOT_LENGTH: usize = 0;
/// In a slot: where the frame begins.
pub const SLOT_DATA: usize = 16;

/// `Wait` returned because a packet arrived in a ring.
pub const EVENT_PACKET: u64 = 1;
/// `Wait` returned because a transmission completed; see [`TX_QUIET`].
pub const EVENT_TRANSMITTED: u64 = 2;
/// `Wait` returned because the deadline passed.
pub const EVENT_DEADLINE: u64 = 4;
/// `Wait` returned because an environment that the caller created ended.
pub const EVENT_CHILD: u64 = 8;
/// `Wait` returned because somebody asks for resources back ([`crate::revocation`]).
pub const EVENT_REVOKE: u64 = 16;
/// `Wait` returned because resources were taken by force.
pub const EVENT_REPOSSESS: u64 = 32;
/// `Wait` returned because a request for resources that the caller made is over.
pub const EVENT_REVOKED: u64 = 64;
/// `Wait` returned because the caller's own ASH called `sluice_wake`.
pub const EVENT_MESSAGE: u64 = 256;
