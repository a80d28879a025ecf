//! Maps: memory that an environment's handlers and the environment itself share.
//!
//! A map is made by [`crate::Call::MapCreate`] and paid for in frames by its owner. Handlers reach
//! it by helpers and by 64-bit loads of its position in the list that the bind call gives
//! ([`crate::bind::MapList`]), the environment by the calls below. It goes when nobody
//! holds a capability to it and no binding uses it, and with its owner in any case. Kinds, flags
//! and what a full map does are Linux's (`bpf(2)`).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What [`crate::Call::MapCreate`] reads.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct MapRequest {
    /// Linux's number of its kind: 1 hash, 2 array, 6 per-CPU array, 9 LRU hash, 11 LPM trie.
    pub kind: u64,
    /// Bytes of a key.
    pub key_size: u64,
    /// Bytes of a value.
    pub value_size: u64,
    /// Entries at most.
    pub max_entries: u64,
    /// [`READ_ONLY`], or zero.
    pub flags: u64,
    /// For messages; ends at the first zero byte.
    pub name: [u8; 16],
}

/// What the calls on maps take as their fifth argument: how many bytes the caller has at the
/// addresses of a key and of a value (0 where the call has none). They must be the map's, so that
/// nobody who was wrong about a map has more read or written than was there.
#[must_use]
pub const fn sizes(key: u32, value: u32) -> u64 {
    key as u64 | (value as u64) << 32
}

/// Handlers may only read the map. Arrays only.
pub const READ_ONLY: u64 = 1;

/// Update: create or replace.
pub const ANY: u64 = 0;
/// Update: create; [`crate::Status::Exists`] if the key is there.
pub const NO_EXIST: u64 = 1;
/// Update: replace; [`crate::Status::NoEntry`] if the key is not there.
pub const EXIST: u64 = 2;

/// Maps of one environment.
pub const MAPS_MAX: usize = 16;
/// Maps of one binding.
pub const BINDING_MAPS_MAX: usize = MAPS_MAX;
/// Bytes of one map, everything included.
pub const MAP_BYTES_MAX: usize = 4 << 20;
/// Bytes of a key.
pub const KEY_BYTES_MAX: usize = 256;

/// Lines that one run of a handler may print (`trace_printk`).
pub const LINES_PER_RUN_MAX: usize = 4;
