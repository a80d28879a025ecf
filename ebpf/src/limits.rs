//! Every limit of the program language, and the relations between them.
//!
//! A refusal that comes from a limit names the constant here. Sizes are in slots (64-bit
//! instruction words) or bytes as each constant says.

/// Longest program the kernel takes, in slots (design decision 22).
pub const KERNEL_SLOTS: usize = 4_096;

/// Longest program the host tools take, in slots (design decision 22).
pub const HOST_SLOTS: usize = 65_536;

/// Stack of one call frame, in bytes, below `r10` (as in Linux: `MAX_BPF_STACK`).
pub const STACK_BYTES: usize = 512;

/// Deepest nesting of frames that local calls may make, the main program included (as in
/// Linux: `MAX_CALL_FRAMES`).
pub const CALL_DEPTH: usize = 8;

/// Shortest packet a program is run on, in bytes: an Ethernet header (design decision 9).
pub const PACKET_MIN: usize = 14;

/// Longest packet a program is run on, in bytes: 1,500 of payload, the Ethernet header and two
/// VLAN tags (design decision 9).
pub const PACKET_MAX: usize = 1_522;

/// Steps that [`crate::interp::accepts`] and the tracing functions allow, in instructions: more
/// than any loop-free program can take.
pub const DEFAULT_BUDGET: u64 = 1_000_000;

/// Longest packet or buffer that the interpreter takes, in bytes: what its 32-bit addresses have
/// room for.
pub const DATA_BYTES: usize = 1 << 30;

/// Maps that one program uses (as in Linux: `MAX_USED_MAPS`).
pub const MAPS_MAX: usize = 64;

/// Bytes of a hash map's key. Bounds the work of a look-up: every byte is hashed and compared.
pub const MAP_KEY_BYTES_MAX: usize = 256;

/// Bytes of an LPM trie's key behind its prefix length: a look-up takes a step for each bit.
pub const LPM_DATA_BYTES_MAX: usize = 32;

/// Bytes of one value. Bounds the work of an update, which copies it.
pub const MAP_VALUE_BYTES_MAX: usize = 32 << 10;

/// Entries of one map.
pub const MAP_ENTRIES_MAX: usize = 1 << 20;

/// Bytes of all keys and values of one map.
pub const MAP_BYTES_MAX: usize = 64 << 20;

/// Longest ELF object that is read, in bytes.
pub const OBJECT_BYTES: usize = 16 << 20;

/// Sections of an object.
pub const OBJECT_SECTIONS: usize = 4_096;

/// Symbols of an object.
pub const OBJECT_SYMBOLS: usize = 1 << 18;

/// Relocations of an object, in sections that are not debug information.
pub const OBJECT_RELOCATIONS: usize = 1 << 18;

/// Longest name in an object, in bytes; a longer line of source is not shown.
pub const OBJECT_NAME_BYTES: usize = 1_024;

/// Programs and functions of an object.
pub const OBJECT_FUNCTIONS: usize = 4_096;

/// Maps of an object, sections of global data included.
pub const OBJECT_MAPS: usize = 256;

/// Slots of all programs of an object together, each with the functions that it pulls in.
pub const OBJECT_SLOTS: usize = 1 << 20;

/// Longest text that the assembler takes, in bytes.
pub const TEXT_BYTES: usize = 4 << 20;

const _: () = assert!(KERNEL_SLOTS <= HOST_SLOTS);
// A branch whose distance is more than an i16 only exists in programs beyond the kernel's limit.
const _: () = assert!(KERNEL_SLOTS <= i16::MAX as usize);
const _: () = assert!(HOST_SLOTS <= u32::MAX as usize && HOST_SLOTS as u64 <= DEFAULT_BUDGET);
const _: () = assert!(STACK_BYTES.is_multiple_of(8));
const _: () = assert!(MAP_KEY_BYTES_MAX <= STACK_BYTES && LPM_DATA_BYTES_MAX < MAP_KEY_BYTES_MAX);
const _: () = assert!(MAP_VALUE_BYTES_MAX <= MAP_BYTES_MAX && MAP_ENTRIES_MAX <= MAP_BYTES_MAX);
const _: () = assert!(PACKET_MIN < PACKET_MAX && PACKET_MAX <= u16::MAX as usize);
const _: () = assert!(MAPS_MAX <= OBJECT_MAPS && HOST_SLOTS <= OBJECT_SLOTS);
const _: () = assert!(MAP_VALUE_BYTES_MAX <= OBJECT_BYTES && OBJECT_BYTES <= u32::MAX as usize);
