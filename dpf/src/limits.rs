//! Every limit of the engine, and the relations between them.
//!
//! An error that comes from a limit names the constant here.

use runtime::native::dispatch;

/// Bytes of code that one program may become.
pub const CODE_BYTES_MAX: usize = 4 << 20;

/// Bytes of code that one eBPF instruction becomes at most (a signed division by a register).
pub const CODE_BYTES_PER_SLOT: usize = 96;

/// Mask shapes under one grant (design decision 10).
pub const SHAPES_PER_GRANT: usize = 16;

/// Mask shapes in one engine: each costs every packet a probe.
pub const SHAPES_MAX: usize = dispatch::TABLES_MAX;

/// Words of a look-up key; cells beyond them are left to the residual test.
pub const KEY_WORDS_MAX: usize = dispatch::KEY_WORDS_MAX;

/// Distinct header bases whose cells go into one key; cells of others are left to the residual.
pub const HEADER_BASES_MAX: usize = 2;

/// Depth of a grant that the engine can rank.
pub const DEPTH_MAX: u32 = 0x3fff;

/// Buckets of a new shape's table.
pub const FIRST_BUCKETS: usize = 4;

/// Claimants of one key: each may cost a packet one run of a program.
pub const CLAIMANTS_MAX: usize = 64;

/// A table beyond [`SLOTS_FREE`] slots does not grow beyond this many slots per entry: who collides
/// that much is refused.
pub const SLOTS_PER_ENTRY_MAX: usize = 64;

/// Slots that a table may have however few its entries.
pub const SLOTS_FREE: usize = 1024;

const _: () = assert!(SHAPES_PER_GRANT <= SHAPES_MAX);
const _: () = assert!(ebpf::limits::KERNEL_SLOTS * CODE_BYTES_PER_SLOT <= CODE_BYTES_MAX);
const _: () = assert!(SHAPES_MAX <= dispatch::TABLES_MAX);
const _: () = assert!(KEY_WORDS_MAX <= dispatch::KEY_WORDS_MAX);
