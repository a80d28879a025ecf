//! Limits that ring 3 can see; every refusal that meets one names it.

/// Bytes in a page.
pub const PAGE_BYTES: usize = 4096;
/// Environments alive at once.
pub const ENVIRONMENTS_MAX: usize = 64;
/// Capabilities in one environment's table.
pub const CAPABILITIES_MAX: usize = 16_384;
/// Bytes of an environment's name.
pub const NAME_BYTES_MAX: usize = 32;
/// Bindings of one environment.
pub const BINDINGS_MAX: usize = 256;
/// Instructions (8-byte slots) of an uploaded program.
pub const PROGRAM_SLOTS_MAX: usize = 4096;
/// Worst-case instructions of an ASH that may be bound.
pub const ASH_COST_MAX: u32 = 65_536;
/// Pages of a receive or transmit ring; a power of two.
pub const RING_PAGES_MAX: usize = 64;
/// Bytes of a ring slot, header included.
pub const SLOT_BYTES: usize = 2048;
/// Shortest frame that is looked at: an Ethernet header.
pub const FRAME_BYTES_MIN: usize = 14;
/// Longest frame: 1,500 bytes of payload, an Ethernet header and two VLAN tags.
pub const FRAME_BYTES_MAX: usize = 1522;
/// Header bytes that the kernel copies, guards and sends from its copy.
pub const GUARDED_BYTES_MAX: usize = 256;
/// Bytes of one `Print`.
pub const PRINT_BYTES_MAX: usize = 512;
/// Bytes of one `Report`.
pub const REPORT_BYTES_MAX: usize = 4096;
/// Bytes of a refusal record at most (a witness frame and two lines of text).
pub const REFUSAL_BYTES_MAX: usize = 4096;
/// Entries of one `PageBatch`, and pages of one `PageProtect`.
pub const BATCH_MAX: usize = 128;
/// First address that ring 3 may map.
pub const USER_START: u64 = 0x1000;
/// One past the last address that ring 3 may map.
pub const USER_END: u64 = 0x0000_7fff_ffff_f000;
/// Length of a time slice in nanoseconds.
pub const SLICE_NS: u64 = 1_000_000;

const _: () = assert!(FRAME_BYTES_MAX + crate::ring::SLOT_DATA <= SLOT_BYTES);
const _: () = assert!(PAGE_BYTES.is_multiple_of(SLOT_BYTES));
const _: () = assert!(RING_PAGES_MAX.is_power_of_two());
const _: () = assert!(GUARDED_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(REFUSAL_BYTES_MAX >= 2 * FRAME_BYTES_MAX);
