//! The keyed hash of map keys: a product with a secret for each word of the key.
//!
//! The idea: whoever sends packets may choose keys, so the hash has secrets, drawn for each map.
//! A word is masked by what came before it (at first by one secret), multiplied by the other,
//! 64 by 64 bits, and the halves of the product are combined: every bit of the word then reaches
//! bits that are looked at, by a way that only the secrets know. One multiplication serves a key of
//! eight bytes; SipHash, which stood here before, took five rounds (decision 080). The dispatch
//! tables are hashed alike.
//!
//! It is no message authentication: who could read hashes could find the secrets. Nobody can, and
//! what collisions cost is bounded (`table`) and paid by the map's owner.

use crate::random::mix;

/// What the secrets of a map's hash are drawn from.
pub type Secret = [u64; 2];

/// The hash of a map.
#[derive(Clone, Copy)]
pub(super) struct Keyed {
    mask: u64,
    factor: u64,
}

impl Keyed {
    /// The hash with these secrets.
    pub(super) fn new([first, second]: Secret) -> Self {
        // Odd, so that no two words have the same product; spread, so that a small one will do.
        Self { mask: mix(first), factor: mix(second ^ mix(!first)) | 1 }
    }

    /// The hash of a key in words. All keys of a map have equally many.
    #[inline]
    pub(super) fn hash(self, words: impl IntoIterator<Item = u64>) -> u64 {
        words.into_iter().fold(self.mask, |hash, word| {
            let product = u128::from(hash ^ word) * u128::from(self.factor);
            product as u64 ^ (product >> 64) as u64
        })
    }
}

impl core::fmt::Debug for Keyed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Keyed(..)")
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, vec};

    use super::Keyed;

    #[test]
    fn the_secrets_matter_and_stay_secret() {
        let hash = |secret| Keyed::new(secret).hash([7]);
        assert!(hash([0, 0]) != hash([1, 0]) && hash([0, 0]) != hash([0, 1]));
        assert_eq!(format!("{:?}", Keyed::new([1, 2])), "Keyed(..)");
    }

    #[test]
    fn keys_in_a_row_and_keys_far_apart_fill_buckets_as_chance_would() {
        for step in [1, 2, 0x100, 0x1_0000, 0x0001_0000_0001, 1 << 32, 1 << 48] {
            for secret in 0..20 {
                let keyed = Keyed::new([secret, secret]);
                let mut buckets = vec![0_u32; 4096];
                for number in 0..4096_u64 {
                    let words = [number.wrapping_mul(step), 5];
                    for words in [&words[..1], &words[..]] {
                        buckets[(keyed.hash(words.iter().copied()) & 4095) as usize] += 1;
                    }
                }
                // Two in a bucket on average: by chance one in 4,096 has more than eight or so.
                let most = buckets.iter().max().copied();
                assert!(most <= Some(20), "step {step:#x}, secret {secret}: {most:?}");
            }
        }
    }
}
