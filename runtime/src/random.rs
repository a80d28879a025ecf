//! The pseudo-random numbers that `get_prandom_u32` returns.
//!
//! The idea: a counter passed through a mixing function (SplitMix64: Steele, Lea, Flood, "Fast
//! splittable pseudorandom number generators", OOPSLA 2014). Fast, well distributed, without a
//! lock. It is *not* secret: one who sees a few outputs can compute the rest. Nothing in Sluice may
//! draw keys from here.

use core::sync::atomic::{AtomicU64, Ordering};

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

static STATE: AtomicU64 = AtomicU64::new(GOLDEN);

/// Starts the sequence anew from `seed`; called once at boot.
pub fn seed(seed: u64) {
    STATE.store(seed, Ordering::Relaxed);
}

/// The next number of the sequence.
#[must_use]
pub fn next_u32() -> u32 {
    let state = STATE.fetch_add(GOLDEN, Ordering::Relaxed).wrapping_add(GOLDEN);
    let [a, b, c, d, ..] = mix(state).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// One SplitMix64 output step. Also used to spread a boot secret into several words.
#[must_use]
pub const fn mix(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::{next_u32, seed};
    use alloc::vec::Vec;

    #[test]
    fn a_seed_fixes_the_sequence_and_numbers_differ() {
        seed(7);
        let first: Vec<u32> = (0..64).map(|_| next_u32()).collect();
        seed(7);
        let second: Vec<u32> = (0..64).map(|_| next_u32()).collect();
        assert_eq!(first, second);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), first.len());
    }
}
