//! The keyed hash of everything that a tenant can choose.
//!
//! Fields, masks and programs come from tenants, so whoever knew the hash could make keys that
//! collide. It is SipHash-1-3 (Aumasson & Bernstein, INDOCRYPT 2012) under a secret that the
//! caller draws once per boot. No answer depends on the secret, only how long it takes.

use core::fmt;
use core::hash::BuildHasher;

use siphasher::sip::SipHasher13;

/// The secret of a registry's and a proof's tables. Never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashKey(u64, u64);

impl HashKey {
    /// A key of 128 random bits.
    #[must_use]
    pub const fn new(first: u64, second: u64) -> HashKey {
        HashKey(first, second)
    }

    /// For hosts without tenants, and for tests: everybody knows it.
    pub const PUBLIC: HashKey = HashKey(0x736c_7569_6365, 0x7075_626c_6963);
}

impl BuildHasher for HashKey {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
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
    use core::hash::BuildHasher;

    #[test]
    fn the_secret_decides_and_stays_secret() {
        let (a, b) = (HashKey::new(1, 2), HashKey::new(1, 3));
        assert_ne!(a.hash_one(7), b.hash_one(7));
        assert_eq!(a.hash_one(7), HashKey::new(1, 2).hash_one(7));
        assert_eq!(format!("{a:?}"), "HashKey(..)");
    }
}
