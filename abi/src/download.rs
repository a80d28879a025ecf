//! Downloaded code besides filters and handlers: pipes, wake-up predicates, and their limits.
//!
//! A *pipe* is a list of passes over a packet's bytes that the kernel fuses into one loop and runs
//! in the place of the copy into a ring ([`crate::Call::PipeSet`]). A *predicate* is a memory
//! program over a block of words that says whether its environment may run again
//! ([`crate::Call::PredicateSet`], [`crate::Call::WaitUntil`]). What a handler may do besides
//! answering is in `ebpf::helper`: `sluice_wake`, `sluice_send_copy`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Passes of one pipe.
pub const PASSES_MAX: usize = 8;
/// Checksum passes of one pipe: each has a place in the slot's header.
pub const CHECKSUMS_MAX: usize = 2;

/// A pass is a word: its kind in bits 0-7, its key in bits 32-63, the rest zero.
pub const PASS_KIND_MASK: u64 = 0xff;
/// Where a pass's key begins.
pub const PASS_KEY_SHIFT: u32 = 32;
/// Leaves every byte as it is.
pub const PASS_COPY: u64 = 0;
/// The Internet checksum's sum (RFC 1071) of the bytes as they are at this place in the pipe.
pub const PASS_CHECKSUM: u64 = 1;
/// Swaps the bytes of each whole 16-bit word.
pub const PASS_SWAP_16: u64 = 2;
/// Reverses the bytes of each whole 32-bit word.
pub const PASS_SWAP_32: u64 = 3;
/// XORs with the key: byte `i` with byte `i % 4` of its little-endian form.
pub const PASS_XOR: u64 = 4;

/// In a slot: `u32`, [`SLOT_PIPED`] if the frame went through a pipe.
pub const SLOT_FLAGS: usize = 4;
/// In a slot: the pipe's checksums, a `u32` each: the one's-complement sum of the big-endian 16-bit
/// words, folded to 16 bits and not complemented.
pub const SLOT_SUMS: usize = 8;
/// The frame in the slot is what the binding's pipe made of it, and the sums are its.
pub const SLOT_PIPED: u32 = 1;

/// Slots of a predicate program.
pub const PREDICATE_SLOTS_MAX: usize = 64;
/// Words that a predicate may look at.
pub const PREDICATE_WORDS_MAX: usize = 16;
/// Words in front of those: [`BLOCK_CLOCK`] and [`BLOCK_EVENTS`].
pub const BLOCK_FIRST: usize = 2;
/// Word of the block: nanoseconds since boot.
pub const BLOCK_CLOCK: usize = 0;
/// Word of the block: event bits that no `Wait` has returned yet.
pub const BLOCK_EVENTS: usize = 1;

/// What `WaitUntil` returns when a page that its predicate looks at has gone.
pub const WORD_GONE: u64 = u64::MAX;

/// What [`crate::Call::PredicateSet`] reads.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct PredicateRequest {
    /// eBPF bytes of the program; zero takes the predicate back.
    pub program: u64,
    /// Their length.
    pub program_bytes: u64,
    /// Address of an array of [`WordRef`].
    pub words: u64,
    /// How many.
    pub word_count: u64,
    /// Where a refusal record goes, or zero.
    pub refusal: u64,
    /// Room there.
    pub refusal_bytes: u64,
}

/// A word that a predicate sees, as a `u64` of its block: 32 bits of a page, zero-extended.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct WordRef {
    /// Page capability with `READ`.
    pub page: u64,
    /// Offset in the page, a multiple of 4.
    pub offset: u64,
}

/// Copies that one run of a handler may send (`sluice_send_copy`).
pub const COPIES_PER_RUN_MAX: u32 = 4;

const _: () = assert!(SLOT_SUMS + 4 * CHECKSUMS_MAX <= crate::ring::SLOT_DATA);
