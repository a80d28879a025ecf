//! Every limit of the engine, and the relations between them.
//!
//! An error that comes from a limit names the constant here.

use runtime::native::dispatch;

/// Bytes of code that one program may become.
pub const CODE_BYTES_MAX: usize = 4 << 20;

/// Bytes of code that one eBPF instruction becomes at most (a signed division by a register).
pub const CODE_BYTES_PER_SLOT: usize = 96;

/// Bytes of code that are emitted, or checked, for one unit of fuel beyond the first.
pub const CODE_BYTES_PER_UNIT: usize = 8;

/// Mask shapes in one subtree of grants: those under one child of the root (design decision 10,
/// decision records 007 and 045).
pub const SHAPES_PER_GRANT: usize = 16;

/// Mask shapes in one engine.
pub const SHAPES_MAX: usize = 40;

/// Lanes in one engine: each that a frame gets to costs it a look-up.
pub const LANES_MAX: usize = dispatch::TABLES_MAX;

/// Lanes of one shape that differ in class bytes only; beyond that they share one.
pub const LANES_PER_SHAPE: usize = 4;

/// Lanes beyond which rules of one shape share one, whatever their class.
pub const LANES_FREE: usize = 16;

/// Class bytes of a frame: from the type to the end of what says which protocol follows (for VLAN
/// and IPv6 the same places mean other things; only the cost depends on this).
pub const CLASS_BYTES: core::ops::Range<u16> = 12..26;

/// Words of a look-up key; bytes beyond them are left to the filter.
pub const KEY_WORDS_MAX: usize = dispatch::KEY_WORDS_MAX;

/// Distinct header bases whose cells are looked up; cells of others are left to the filter.
pub const HEADER_BASES_MAX: usize = 2;

/// Depth of a grant that the engine can rank.
pub const DEPTH_MAX: u32 = 62;

/// Buckets of a new lane's table.
pub const FIRST_BUCKETS: usize = 4;

/// Numbers in a window that is made however few its entries.
pub const WINDOW_FREE: usize = 1024;

/// Numbers per entry in a larger window.
pub const WINDOW_PER_ENTRY: usize = 32;

/// Slots of growing or closing tables that one insertion or removal moves at most: with the
/// longest key 2,048 bytes of table.
pub const MOVES_PER_STEP: usize = 32;

/// Bytes of a larger table that one insertion or removal zeroes at most, before anything moves
/// there. A table of n slots needs n / 100 operations; until it is full there are n / 8 at least.
pub const ZEROED_PER_STEP: usize = 4096;

/// Claimants of one key: each may cost a packet one run of a program.
pub const CLAIMANTS_MAX: usize = 64;

/// What all residual programs of one key may cost together, in instructions at worst.
pub const RESIDUAL_COST_MAX: u64 = 16_384;

/// Slots per entry below which a table that caches hold grows: at half full one key in thirty was
/// not in its first bucket, which costs a mispredicted branch; at a third it is one in a hundred.
pub const SLOTS_PER_ENTRY: usize = 3;

/// Slots of a table beyond which it grows at two per entry: there a larger one costs more cache
/// than it spares branches (half a mebibyte of short keys).
pub const SLOTS_CACHED: usize = 1 << 15;

/// A table beyond [`SLOTS_FREE`] slots does not grow beyond this many slots per entry: who collides
/// that much is refused.
pub const SLOTS_PER_ENTRY_MAX: usize = 64;

/// Slots that a table may have however few its entries.
pub const SLOTS_FREE: usize = 1024;

const _: () = assert!(SHAPES_MAX + LANES_FREE < LANES_MAX && LANES_PER_SHAPE >= 1);
const _: () = assert!(SHAPES_MAX <= u64::BITS as usize);
const _: () = assert!(SHAPES_PER_GRANT <= SHAPES_MAX);
const _: () = assert!(ebpf::limits::KERNEL_SLOTS as u64 <= RESIDUAL_COST_MAX);
const _: () = assert!(ebpf::limits::KERNEL_SLOTS * CODE_BYTES_PER_SLOT <= CODE_BYTES_MAX);
