//! The keyed hash of map keys: SipHash-1-3.
//!
//! Tenants choose their keys, so the hash has a secret: who does not know it cannot make keys
//! collide. Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012, with
//! one round for each word and three at the end.

use super::words::word;

/// The secret of a map's hash.
pub type Secret = [u64; 2];

/// SipHash-1-3 of the bytes.
pub(super) fn hash(secret: Secret, bytes: &[u8]) -> u64 {
    let [k0, k1] = secret;
    let mut state = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let (whole, rest) = bytes.as_chunks::<8>();
    for part in whole {
        absorb(&mut state, u64::from_le_bytes(*part));
    }
    absorb(&mut state, word(rest) | (bytes.len() as u64) << 56);
    state[2] ^= 0xff;
    for _ in 0..3 {
        round(&mut state);
    }
    state[0] ^ state[1] ^ state[2] ^ state[3]
}

fn absorb(state: &mut [u64; 4], word: u64) {
    state[3] ^= word;
    round(state);
    state[0] ^= word;
}

fn round([v0, v1, v2, v3]: &mut [u64; 4]) {
    *v0 = v0.wrapping_add(*v1);
    *v1 = v1.rotate_left(13) ^ *v0;
    *v0 = v0.rotate_left(32);
    *v2 = v2.wrapping_add(*v3);
    *v3 = v3.rotate_left(16) ^ *v2;
    *v0 = v0.wrapping_add(*v3);
    *v3 = v3.rotate_left(21) ^ *v0;
    *v2 = v2.wrapping_add(*v1);
    *v1 = v1.rotate_left(17) ^ *v2;
    *v2 = v2.rotate_left(32);
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use core::hash::Hasher;

    use super::hash;

    #[test]
    fn it_is_the_hash_that_the_standard_library_has() {
        for length in 0..70_u8 {
            let bytes: alloc::vec::Vec<u8> = (0..length).map(|n| n.wrapping_mul(37)).collect();
            let mut hasher = std::hash::DefaultHasher::new();
            hasher.write(&bytes);
            assert_eq!(hash([0, 0], &bytes), hasher.finish(), "{length} bytes");
        }
    }

    #[test]
    fn the_secret_matters() {
        assert_ne!(hash([0, 0], b"key"), hash([1, 0], b"key"));
        assert_ne!(hash([0, 0], b"key"), hash([0, 1], b"key"));
        assert_ne!(hash([0, 0], b"key"), hash([0, 0], b"key\0"));
    }
}
