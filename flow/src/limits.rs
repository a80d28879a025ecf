//! Every limit of the algebra, in one place.
//!
//! Proofs over spaces are exponential only in small, named quantities. Each of them has a limit
//! here; whatever hits one reports its name, so that the limit that refused a filter is never a
//! mystery.

use crate::byteset::ByteSet;
use crate::cell::Cell;

/// Shortest frame a space talks about: an Ethernet header, bytes.
pub const FRAME_MIN: u16 = 14;

/// Longest frame a space talks about: 1,500 bytes of payload, header and two VLAN tags, bytes.
pub const FRAME_MAX: u16 = 1522;

/// Rules that a space from an expression or from a filter may have ([`crate::Space::check`]).
pub const RULES_MAX: usize = 64;

/// Cells that one rule may test ([`crate::Space::check`]).
pub const CELLS_MAX: usize = 128;

/// Bytes that hold a header's length and that one rule may depend on ([`crate::Space::check`]):
/// the IPv4 header length, behind no or one VLAN tag.
pub const GUARDS_MAX: usize = 2;

/// Cases that one case split over header lengths may visit: four guards of four bits each.
pub const CASES_MAX: u32 = 1 << 16;

/// Cubes that one subtraction may make, and that the result of one operation may have.
pub const PIECES_MAX: usize = 4096;

/// Cubes that one proof may hold at a time.
pub const HELD_MAX: usize = 1024;

/// Memory that one proof may hold, bytes (decision 11 of the design).
pub const PROOF_BYTES: usize = 8 << 20;

/// Rules that a part of an expression may have before the whole is put together.
pub const INTERIM_RULES_MAX: usize = 256;

/// Cubes that one proof may visit, whatever they become.
pub const VISITS_MAX: u32 = 1 << 18;

/// VLAN tags that an expression may name, one inside the other.
pub const VLAN_DEPTH_MAX: u16 = 2;

/// Bytes of expression text.
pub const TEXT_MAX: usize = 4096;

/// Nesting of parentheses and `not` in an expression.
pub const NESTING_MAX: usize = 64;

const _: () = assert!(FRAME_MIN as usize == ebpf::limits::PACKET_MIN);
const _: () = assert!(FRAME_MAX as usize == ebpf::limits::PACKET_MAX);
const _: () = assert!(FRAME_MIN < FRAME_MAX);
// Two rules that pass the check, intersected, can always be split within the budget when their
// guards are header-length nibbles.
const _: () = assert!(1 << (2 * GUARDS_MAX * 4) <= CASES_MAX);
const _: () = assert!(RULES_MAX <= INTERIM_RULES_MAX && INTERIM_RULES_MAX <= PIECES_MAX);
const _: () = assert!(RULES_MAX * RULES_MAX <= PIECES_MAX);
// A proof whose cubes are as wide as an admitted rule fits into its memory.
const _: () = assert!(HELD_MAX * CELLS_MAX * size_of::<(Cell, ByteSet)>() <= PROOF_BYTES);

/// The value of the limit with this name, for whoever has to show a refusal.
#[must_use]
pub fn value(name: &str) -> Option<u64> {
    let table = [
        ("RULES_MAX", RULES_MAX as u64),
        ("CELLS_MAX", CELLS_MAX as u64),
        ("GUARDS_MAX", GUARDS_MAX as u64),
        ("CASES_MAX", CASES_MAX.into()),
        ("PIECES_MAX", PIECES_MAX as u64),
        ("HELD_MAX", HELD_MAX as u64),
        ("INTERIM_RULES_MAX", INTERIM_RULES_MAX as u64),
        ("VISITS_MAX", VISITS_MAX.into()),
        ("VLAN_DEPTH_MAX", VLAN_DEPTH_MAX.into()),
        ("TEXT_MAX", TEXT_MAX as u64),
        ("NESTING_MAX", NESTING_MAX as u64),
    ];
    table.into_iter().find_map(|(known, value)| (known == name).then_some(value))
}
