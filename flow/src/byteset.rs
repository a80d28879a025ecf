//! Which values one byte may have.
//!
//! A [`ByteSet`] is any subset of 0..=255, held as a 256-bit map: four words, `Copy`, with every
//! set operation exact and in constant time. Masks, ranges and arbitrary mixtures of both are the
//! same thing here, so two filters that test one byte in different ways always compare.

use core::fmt;

/// A set of byte values.
///
/// Not `Ord`, whose `min` and `max` would hide the set's own.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ByteSet([u64; 4]);

impl ByteSet {
    /// No value.
    pub const EMPTY: ByteSet = ByteSet([0; 4]);
    /// Every value.
    pub const ALL: ByteSet = ByteSet([u64::MAX; 4]);

    /// Exactly `value`.
    #[must_use]
    pub const fn exact(value: u8) -> ByteSet {
        let mut words = [0; 4];
        words[(value >> 6) as usize] = 1 << (value & 63);
        ByteSet(words)
    }

    /// Every `b` with `b & mask == value & mask`.
    #[must_use]
    pub const fn masked(value: u8, mask: u8) -> ByteSet {
        // Bits 0 to 5 of a value choose the bit in the word, bits 6 and 7 choose the word.
        let mut word = u64::MAX;
        let mut bit = 0;
        while bit < 6 {
            if mask >> bit & 1 == 1 {
                word &= if value >> bit & 1 == 1 { BIT_SET[bit] } else { !BIT_SET[bit] };
            }
            bit += 1;
        }
        let mut words = [0; 4];
        let mut index = 0;
        while index < 4 {
            if ((index as u8) << 6 ^ value) & mask & 0xc0 == 0 {
                words[index] = word;
            }
            index += 1;
        }
        ByteSet(words)
    }

    /// Every value from `low` to `high`, both included; empty if `low > high`.
    #[must_use]
    pub const fn range(low: u8, high: u8) -> ByteSet {
        let mut words = [0; 4];
        let mut index = 0;
        while index < 4 {
            words[index] = word_between(low, high, index as u16 * 64);
            index += 1;
        }
        ByteSet(words)
    }

    /// The map itself: bit `v & 63` of word `v >> 6` is whether `v` is in the set.
    #[must_use]
    pub const fn words(self) -> [u64; 4] {
        self.0
    }

    /// The values that `accept` says yes to.
    #[must_use]
    pub fn from_fn(accept: impl Fn(u8) -> bool) -> ByteSet {
        let mut words = [0; 4];
        for value in 0..=255u8 {
            words[usize::from(value >> 6)] |= u64::from(accept(value)) << (value & 63);
        }
        ByteSet(words)
    }

    /// Values in either set.
    #[must_use]
    pub const fn union(self, other: ByteSet) -> ByteSet {
        let (a, b) = (self.0, other.0);
        ByteSet([a[0] | b[0], a[1] | b[1], a[2] | b[2], a[3] | b[3]])
    }

    /// Values in both sets.
    #[must_use]
    pub const fn intersect(self, other: ByteSet) -> ByteSet {
        let (a, b) = (self.0, other.0);
        ByteSet([a[0] & b[0], a[1] & b[1], a[2] & b[2], a[3] & b[3]])
    }

    /// Values not in the set.
    #[must_use]
    pub const fn complement(self) -> ByteSet {
        let a = self.0;
        ByteSet([!a[0], !a[1], !a[2], !a[3]])
    }

    /// Values in this set and not in `other`.
    #[must_use]
    pub const fn subtract(self, other: ByteSet) -> ByteSet {
        self.intersect(other.complement())
    }

    /// Whether `value` is in the set.
    #[must_use]
    pub const fn contains(self, value: u8) -> bool {
        self.0[(value >> 6) as usize] >> (value & 63) & 1 == 1
    }

    /// Whether every value of this set is in `other`.
    #[must_use]
    pub const fn is_subset_of(self, other: ByteSet) -> bool {
        self.subtract(other).is_empty()
    }

    /// Whether no value is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0[0] | self.0[1] | self.0[2] | self.0[3] == 0
    }

    /// Whether every value is in the set.
    #[must_use]
    pub const fn is_all(self) -> bool {
        self.0[0] & self.0[1] & self.0[2] & self.0[3] == u64::MAX
    }

    /// How many values are in the set, 0..=256.
    #[must_use]
    pub const fn len(self) -> usize {
        let a = self.0;
        (a[0].count_ones() + a[1].count_ones() + a[2].count_ones() + a[3].count_ones()) as usize
    }

    /// The smallest value, if there is one.
    #[must_use]
    pub fn min(self) -> Option<u8> {
        self.next_from(0)
    }

    /// The largest value, if there is one.
    #[must_use]
    pub fn max(self) -> Option<u8> {
        let index = (0..4usize).rev().find(|&index| self.0[index] != 0)?;
        Some(index as u8 * 64 + 63 - self.0[index].leading_zeros() as u8)
    }

    /// The only value, if there is exactly one.
    #[must_use]
    pub fn single(self) -> Option<u8> {
        if self.len() == 1 { self.min() } else { None }
    }

    /// The values, ascending.
    pub fn values(self) -> impl Iterator<Item = u8> {
        let mut from = Some(0);
        core::iter::from_fn(move || {
            let value = self.next_from(from?)?;
            from = value.checked_add(1);
            Some(value)
        })
    }

    /// The maximal runs of adjacent values, ascending, both ends included.
    pub fn intervals(self) -> impl Iterator<Item = (u8, u8)> {
        let mut from = Some(0u8);
        core::iter::from_fn(move || {
            let low = self.next_from(from?)?;
            // The run ends before the next value that is missing.
            let high = match self.complement().next_from(low) {
                Some(missing) => missing - 1,
                None => 255,
            };
            from = high.checked_add(1);
            Some((low, high))
        })
    }

    /// `(value, mask)` with `self == ByteSet::masked(value, mask)`, where the set has that form.
    #[must_use]
    pub fn as_masked(self) -> Option<(u8, u8)> {
        let value = self.min()?;
        let (mut and, mut or) = (0xff, 0x00);
        for member in self.values() {
            and &= member;
            or |= member;
        }
        let mask = !(and ^ or);
        (ByteSet::masked(value, mask) == self).then_some((value & mask, mask))
    }

    /// The smallest member that is at least `from`.
    fn next_from(self, from: u8) -> Option<u8> {
        let first = (from >> 6) as usize;
        for index in first..4 {
            let keep = if index == first { u64::MAX << (from & 63) } else { u64::MAX };
            let word = self.0[index] & keep;
            if word != 0 {
                return Some(index as u8 * 64 + word.trailing_zeros() as u8);
            }
        }
        None
    }
}

/// For each bit of a value up to the fifth, the members of a word that have it set.
const BIT_SET: [u64; 6] = [
    0xaaaa_aaaa_aaaa_aaaa,
    0xcccc_cccc_cccc_cccc,
    0xf0f0_f0f0_f0f0_f0f0,
    0xff00_ff00_ff00_ff00,
    0xffff_0000_ffff_0000,
    0xffff_ffff_0000_0000,
];

/// The bits of `low..=high` that fall into the word whose first value is `start`.
const fn word_between(low: u8, high: u8, start: u16) -> u64 {
    let (low, high) = (low as u16, high as u16);
    let first = if low > start { low } else { start };
    let last = if high < start + 63 { high } else { start + 63 };
    if first > last {
        return 0;
    }
    let count = last - first + 1;
    let ones = if count == 64 { u64::MAX } else { (1 << count) - 1 };
    ones << (first - start)
}

impl fmt::Debug for ByteSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (low, high)) in self.intervals().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            if low == high {
                write!(f, "{comma}{low:02x}")?;
            } else {
                write!(f, "{comma}{low:02x}-{high:02x}")?;
            }
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_and_mask_mean_their_definitions() {
        for low in (0..=255u8).step_by(7).chain([63, 64, 127, 128, 191, 192, 255]) {
            for high in [0, 1, 62, 63, 64, 127, 128, 200, 254, 255] {
                assert_eq!(ByteSet::range(low, high), ByteSet::from_fn(|b| low <= b && b <= high));
                let (value, mask) = (low, high);
                let expected = ByteSet::from_fn(|b| b & mask == value & mask);
                assert_eq!(ByteSet::masked(value, mask), expected);
                assert_eq!(expected.as_masked(), Some((value & mask, mask)));
            }
        }
    }

    #[test]
    fn intervals_rebuild_the_set() {
        for set in [ByteSet::EMPTY, ByteSet::ALL, ByteSet::masked(5, 0x0f), ByteSet::exact(255)] {
            let rebuilt = set
                .intervals()
                .fold(ByteSet::EMPTY, |all, (low, high)| all.union(ByteSet::range(low, high)));
            assert_eq!(rebuilt, set);
            assert_eq!(set.values().count(), set.len());
            assert_eq!(set.values().max(), set.max());
            assert_eq!(set.complement().complement(), set);
        }
        assert_eq!(ByteSet::masked(5, 0x0f).intervals().count(), 16);
    }

    #[test]
    fn a_set_that_is_no_mask_says_so() {
        assert_eq!(ByteSet::range(0, 2).as_masked(), None);
        assert_eq!(ByteSet::EMPTY.as_masked(), None);
        assert_eq!(ByteSet::ALL.as_masked(), Some((0, 0)));
    }
}
