//! The keyed hash of look-up keys.
//!
//! Tenants choose the keys, so the hash is keyed by secrets drawn at boot. One word is multiplied
//! with a secret, 64x64 -> 128 bit, and the halves of the product combined. Of several words the
//! first two are masked with two secrets and multiplied with each other; each further word goes in
//! in the same way with a secret of its own. Whether two keys fall
//! together depends on the secrets (with `CRC32`, or a product cut to 64 bits, it does not).

use core::fmt;

use runtime::random::mix;

use crate::limits::KEY_WORDS_MAX;

/// Secrets: one for each word, and one that stands for the second word of a key of one.
const SECRETS: usize = if KEY_WORDS_MAX > 2 { KEY_WORDS_MAX } else { 2 };

/// The secrets that key the engine's hashes, drawn once per boot. Never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashKey {
    secrets: [u64; SECRETS],
}

impl HashKey {
    /// A key from 64 random bits.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut secrets = [0; SECRETS];
        for (nth, secret) in (1_u64..).zip(&mut secrets) {
            // Odd, so that no factor is 0.
            *secret = mix(seed.wrapping_add(mix(nth))) | 1;
        }
        Self { secrets }
    }

    /// The secret of each word.
    pub(crate) fn secrets(&self) -> &[u64; SECRETS] {
        &self.secrets
    }

    /// The hash of a key of one word or more.
    pub(crate) fn hash(&self, words: &[u64]) -> u64 {
        let word = |at: usize| words.get(at).copied().unwrap_or(0);
        let [first, second, ..] = self.secrets;
        if words.len() <= 1 {
            return fold(word(0), first);
        }
        let hash = fold(word(0) ^ first, word(1) ^ second);
        let more = words.iter().zip(&self.secrets).skip(2);
        more.fold(hash, |hash, (word, secret)| fold(hash ^ word, *secret))
    }
}

/// Both halves of the product, combined.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
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
        for count in 1..=5 {
            let words = [5_u64, 6, 7, 8, 9];
            let base = key.hash(&words[..count]);
            for word in 0..count {
                for bit in 0..64 {
                    let mut words = words;
                    words[word] ^= 1 << bit;
                    let changed = key.hash(&words[..count]) ^ base;
                    assert!(changed.count_ones() > 8, "word {word} bit {bit}: {changed:x}");
                    assert_ne!(changed & 0xffff_ffc0, 0, "word {word} bit {bit}");
                    assert_ne!(changed >> 38, 0, "word {word} bit {bit}");
                }
            }
        }
    }
}
