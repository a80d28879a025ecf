//! Where things lie in the address space of a ring-3 program.
//!
//! `user.ld` puts the image at 4 MiB; the rest is said here, once, for the loader that maps it and
//! for the program that uses it.

use abi::limits::PAGE_BYTES;

/// First address of the heap, which grows upward.
pub const HEAP: u64 = 0x10_0000_0000;
/// One past the heap's last address.
pub const HEAP_END: u64 = 0x20_0000_0000;
/// First address of ring windows.
pub const WINDOWS: u64 = 0x20_0000_0000;
/// One past the last address of ring windows.
pub const WINDOWS_END: u64 = 0x30_0000_0000;
/// One page through which a loader writes into pages of others.
pub const SCRATCH: u64 = 0x30_0000_0000;
/// Stacks of upcall handlers: for each kind a guard page and then its pages.
pub const UPCALL_STACKS: u64 = 0x31_0000_0000;
/// From one kind's stack to the next one's.
pub const UPCALL_STACK_STEP: u64 = 0x10_0000;
/// Pages of one.
pub const UPCALL_STACK_PAGES: u64 = 4;
/// First address of the range that a program pages itself ([`crate::sys::paged`]).
pub const PAGED: u64 = 0x40_0000_0000;
/// One past its last address.
pub const PAGED_END: u64 = 0x50_0000_0000;
/// The start block.
pub const START: u64 = 0x7ff0_0000_0000;
/// Pages of a start block at most.
pub const START_PAGES_MAX: usize = 16;
/// The page of addresses.
pub const ADDRESSES: u64 = 0x7ff0_0010_0000;
/// The page of errors.
pub const ERRORS: u64 = 0x7ff0_0010_1000;
/// One past the highest stack address.
pub const STACK_TOP: u64 = 0x7fff_0000_0000;
/// Pages of stack; the page below is never mapped.
pub const STACK_PAGES: usize = 16;
/// Bytes that the heap has before it can ask for pages.
pub const BOOT_HEAP_BYTES: usize = 64 * 1024;
/// The heap grows by at least so many pages at a time.
pub const HEAP_STEP_PAGES: usize = 16;

const _: () = assert!(SCRATCH < UPCALL_STACKS && UPCALL_STACKS + (1 << 24) <= PAGED);
const _: () = assert!(PAGED < PAGED_END && PAGED_END <= START);
const _: () = assert!(HEAP_END <= WINDOWS && WINDOWS_END <= SCRATCH && SCRATCH < START);
const _: () = assert!(START + (START_PAGES_MAX * PAGE_BYTES) as u64 <= ADDRESSES);
const _: () = assert!(ADDRESSES < ERRORS);
const _: () = assert!(ERRORS < STACK_TOP - ((STACK_PAGES + 1) * PAGE_BYTES) as u64);
const _: () = assert!(STACK_TOP <= abi::limits::USER_END);
