//! How much memory the proofs can need: so that it can be reserved before any work is done.
//!
//! Safety and claim are proven one after the other, placement after both; each gives back what it
//! used. The sums below follow the tables in [`crate::limits`]: what grows by doubling is counted
//! at twice its size, because old and new copy exist together for a moment. A counting allocator
//! holds the real proofs against them in the tests.

use crate::claim;
use crate::safety;

/// The most heap, in bytes, that the whole chain of proofs holds at once for a program of `slots`
/// slots, the program included, the registry's own tables not.
#[must_use]
pub const fn arena_bytes(slots: usize) -> usize {
    let (safety, claim) = (safety::heap_bytes(slots), claim::heap_bytes(slots));
    let proofs = if safety > claim { safety } else { claim };
    proofs + slots * size_of::<ebpf::Insn>() * 2 + SLACK
}

/// The most heap, in bytes, that a certificate adds to [`arena_bytes`].
#[must_use]
pub const fn certificate_bytes() -> usize {
    crate::certificate::heap_bytes()
}

/// The most heap, in bytes, that the safety proof alone holds for a program of `slots` slots, the
/// program included: for an ASH, which has no claim.
#[must_use]
pub const fn safety_bytes(slots: usize) -> usize {
    safety::heap_bytes(slots) + slots * size_of::<ebpf::Insn>() * 2 + SLACK
}

/// Refusals, conditions of one comparison, and other lists of a few dozen entries.
const SLACK: usize = 256 << 10;

/// One table of `entries` that grows by doubling.
pub(crate) const fn table(entries: usize, size: usize) -> usize {
    // The last doubling holds one and a half times the next power of two.
    entries.next_power_of_two() * size * 3 / 2
}

/// What a hash table of `entries` numbers takes: an eighth of its slots stays free, and doubling
/// holds old and new.
pub(crate) const fn index(entries: usize) -> usize {
    (entries * 8 / 7 + 1).next_power_of_two() * (size_of::<usize>() + 1) * 3 / 2 + 64
}

// What a library OS donates at most (design decision 11).
const _: () = assert!(arena_bytes(ebpf::limits::KERNEL_SLOTS) <= 8 << 20);
