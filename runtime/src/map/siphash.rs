//! The keyed hash of map keys: SipHash-1-3.
//!
//! Tenants choose their keys, so the hash has a secret: who does not know it cannot make keys
//! collide. Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012, with
//! one round for each word and three at the end.

use siphasher::sip::SipHasher13;

/// The secret of a map's hash.
pub type Secret = [u64; 2];

/// SipHash-1-3 of the bytes.
pub(super) fn hash([first, second]: Secret, bytes: &[u8]) -> u64 {
    SipHasher13::new_with_keys(first, second).hash(bytes)
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
