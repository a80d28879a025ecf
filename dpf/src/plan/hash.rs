//! The keyed hash of look-up keys.
//!
//! Tenants choose the keys, so the hash is keyed by a secret drawn at boot. Each word is folded in
//! with a full 64x64 -> 128 bit multiplication whose halves are combined, so that any difference
//! between keys spreads in a way that depends on the secret (a plain `CRC32` or a 64-bit product
//! has collisions that do not depend on it).

use core::fmt;

use runtime::random::mix;

use crate::limits::KEY_WORDS_MAX;

/// The secret that keys the engine's hashes, drawn once per boot. Never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashKey {
    start: u64,
    factors: [u64; KEY_WORDS_MAX],
}

impl HashKey {
    /// A key from 64 random bits.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut factors = [0; KEY_WORDS_MAX];
        for (nth, factor) in (1_u64..).zip(&mut factors) {
            // Odd, so that no word is lost.
            *factor = mix(seed.wrapping_add(mix(nth))) | 1;
        }
        Self { start: mix(seed ^ 0x736c_7569_6365), factors }
    }

    /// The hash of no word.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// The factor of each word.
    pub(crate) fn factors(&self) -> &[u64; KEY_WORDS_MAX] {
        &self.factors
    }

    /// The hash of a key.
    pub(crate) fn hash(&self, words: &[u64]) -> u64 {
        words.iter().zip(&self.factors).fold(self.start, |hash, (word, factor)| {
            let product = u128::from(hash ^ word) * u128::from(*factor);
            product as u64 ^ (product >> 64) as u64
        })
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::HashKey;
    use alloc::format;

    #[test]
    fn the_secret_decides_and_stays_secret() {
        let (a, b) = (HashKey::new(1), HashKey::new(2));
        assert_ne!(a.hash(&[1, 2]), b.hash(&[1, 2]));
        assert_eq!(format!("{a:?}"), "HashKey(..)");
    }

    #[test]
    fn flipped_bits_spread_to_both_halves() {
        let key = HashKey::new(3);
        let base = key.hash(&[5, 6]);
        for word in 0..2 {
            for bit in 0..64 {
                let mut words = [5_u64, 6];
                words[word] ^= 1 << bit;
                let changed = key.hash(&words) ^ base;
                assert!(changed.count_ones() > 8, "word {word} bit {bit}: {changed:x}");
                assert_ne!(changed & 0xffff, 0, "word {word} bit {bit}");
            }
        }
    }
}
