//! How much memory a proof can need.

/// The most heap, in bytes, that the whole chain of proofs holds at once for a program of `slots`
/// slots.
#[must_use]
pub const fn arena_bytes(slots: usize) -> usize {
    slots * 1024 + (4 << 20)
}
