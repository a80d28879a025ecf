//! Numbers in a frame, as cells.
//!
//! A [`Field`] is an unsigned number of 1 to 16 bytes in network byte order. Tests on it become
//! tests on its bytes: a masked value is one rule, a range of w bytes is at most 2w-1 disjoint
//! rules (the edges of the range, byte by byte, and what lies between them).
//!
//! A test on a field needs all of the field to exist, as the load of it would.

use alloc::vec::Vec;

use crate::byteset::ByteSet;
use crate::cell::{Base, Cell};
use crate::rule::Rule;
use crate::space::Space;

/// An unsigned number in network byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Field {
    /// What `offset` counts from.
    pub base: Base,
    /// Place of the most significant byte, bytes behind the base.
    pub offset: u16,
    /// Width in bytes, 1..=16. Other widths are cut to that.
    pub width: u8,
}

impl Field {
    /// A field at a constant place.
    #[must_use]
    pub const fn frame(offset: u16, width: u8) -> Field {
        Field { base: Base::Frame, offset, width }
    }

    /// The bytes, most significant first.
    pub fn cells(self) -> impl DoubleEndedIterator<Item = Cell> {
        let Field { base, offset, .. } = self;
        (0..self.size() as u16)
            .map(move |index| Cell { base, offset: offset.saturating_add(index) })
    }

    /// The most significant byte.
    #[must_use]
    pub const fn first(self) -> Cell {
        Cell { base: self.base, offset: self.offset }
    }

    /// The least significant byte.
    #[must_use]
    pub fn last(self) -> Cell {
        let offset = self.offset.saturating_add(self.size() as u16 - 1);
        Cell { base: self.base, offset }
    }

    /// The greatest number that fits.
    #[must_use]
    pub fn max(self) -> u128 {
        u128::MAX >> (128 - 8 * self.size())
    }

    /// Frames in which the field is `value`; none if it does not fit.
    #[must_use]
    pub fn equals(self, value: u128) -> Space {
        self.masked(value, u128::MAX)
    }

    /// Frames in which `field & mask == value & mask`; none if `value & mask` does not fit.
    #[must_use]
    pub fn masked(self, value: u128, mask: u128) -> Space {
        let mut rule = Rule::any();
        let fits = self.narrow(&mut rule, value, mask);
        if fits { Space::from(rule) } else { Space::empty() }
    }

    /// Frames in which `low <= field & mask <= high`, as disjoint rules.
    #[must_use]
    pub fn between(self, mask: u128, low: u128, high: u128) -> Space {
        let (mask, high) = (mask & self.max(), high.min(self.max()));
        if low > high {
            return Space::empty();
        }
        let bytes = |value: u128| value.to_be_bytes()[16 - self.size()..].to_vec();
        let boxes = boxes(&bytes(mask), &bytes(low), &bytes(high));
        Space::from_rules(boxes.iter().filter_map(|sets| self.rule(sets)).collect())
    }

    /// Narrows `rule` to frames with `field & mask == value & mask`. `false`: it is empty then.
    #[must_use]
    pub fn narrow(self, rule: &mut Rule, value: u128, mask: u128) -> bool {
        if value & mask > self.max() {
            return false;
        }
        let (value, mask) = (value.to_be_bytes(), mask.to_be_bytes());
        let first = 16 - self.size();
        self.cells().enumerate().all(|(index, cell)| {
            let index = first + index;
            rule.restrict(cell, ByteSet::masked(value[index], mask[index]))
        })
    }

    /// The one number the field has in all frames of `rule`, if the rule says so.
    #[must_use]
    pub fn fixed(self, rule: &Rule) -> Option<u128> {
        self.cells()
            .try_fold(0, |value, cell| Some(value << 8 | u128::from(rule.set(cell).single()?)))
    }

    /// Whether `rule` tests any byte of the field.
    #[must_use]
    pub fn is_tested(self, rule: &Rule) -> bool {
        self.cells().any(|cell| !rule.set(cell).is_all())
    }

    fn size(self) -> usize {
        usize::from(self.width.clamp(1, 16))
    }

    fn rule(self, sets: &[ByteSet]) -> Option<Rule> {
        let mut rule = Rule::any();
        let all = self.cells().zip(sets).all(|(cell, &set)| rule.restrict(cell, set));
        all.then_some(rule)
    }
}

/// The byte sequences `x` with `low <= x & mask <= high` as disjoint products of byte sets.
///
/// Comparing big-endian numbers is comparing bytes from the left, and masking works byte by byte,
/// so the range falls apart into its common prefix, the open middle at the first byte that
/// differs, and the two edges below it.
fn boxes(mask: &[u8], low: &[u8], high: &[u8]) -> Vec<Vec<ByteSet>> {
    let between = |index: usize, from: u16, to: u16| {
        ByteSet::from_fn(|byte| (from..=to).contains(&u16::from(byte & mask[index])))
    };
    let equal = |index: usize, to: &[u8]| between(index, to[index].into(), to[index].into());
    let Some(split) = (0..mask.len()).find(|&index| low[index] != high[index]) else {
        return alloc::vec![(0..mask.len()).map(|index| equal(index, low)).collect()];
    };
    // Whether the bytes behind `index` cannot break the bound.
    let low_is_open = |index: usize| low[index + 1..].iter().all(|&byte| byte == 0);
    let high_is_open = |index: usize| mask[index + 1..] <= high[index + 1..];

    let mut all = Vec::new();
    let mut push = |edge: &[u8], index: usize, set: ByteSet| {
        let mut sets: Vec<ByteSet> = (0..index).map(|index| equal(index, edge)).collect();
        sets.push(set);
        sets.resize(mask.len(), ByteSet::ALL);
        all.push(sets);
    };
    let from = u16::from(low[split]) + u16::from(!low_is_open(split));
    let to = u16::from(high[split]).saturating_sub(u16::from(!high_is_open(split)));
    push(low, split, between(split, from, to));
    for index in split + 1..mask.len() {
        if !low_is_open(index - 1) {
            let from = u16::from(low[index]) + u16::from(!low_is_open(index));
            push(low, index, between(index, from, 255));
        }
        if !high_is_open(index - 1) {
            let below = u16::from(high[index]) + u16::from(high_is_open(index));
            let set = below.checked_sub(1).map_or(ByteSet::EMPTY, |to| between(index, 0, to));
            push(high, index, set);
        }
    }
    all.retain(|sets| sets.iter().all(|set| !set.is_empty()));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame_with(value: u16) -> [u8; 20] {
        let mut frame = [0; 20];
        frame[15..17].copy_from_slice(&value.to_be_bytes());
        frame
    }

    #[test]
    fn a_range_is_exact_and_its_rules_are_disjoint() {
        let field = Field::frame(15, 2);
        let marks = [0u16, 1, 0x7f, 0xfe, 0xff, 0x100, 0x101, 0x1fe, 0x1ff, 0x200, 0x7fff, 0xfffe];
        for low in marks {
            for high in marks.into_iter().chain([0xffff]) {
                for mask in [0xffffu16, 0x0fff, 0xff00, 0x00f0, 0x5a5a] {
                    let space = field.between(mask.into(), low.into(), high.into());
                    assert!(space.rules().len() <= 3);
                    for value in (0..=0xffffu16).step_by(251).chain(marks) {
                        let hits =
                            space.rules().iter().filter(|r| r.matches(&frame_with(value))).count();
                        let expected = (low..=high).contains(&(value & mask));
                        assert_eq!(
                            hits,
                            usize::from(expected),
                            "{value:#x} & {mask:#x} in {low:#x}-{high:#x}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_field_that_is_cut_off_never_matches() {
        let field = Field::frame(19, 2);
        assert!(!field.between(0xffff, 0, 0xffff).contains(&[0; 20]));
        assert!(field.between(0xffff, 0, 0xffff).contains(&[0; 21]));
        assert!(!field.masked(0, 0xff00).contains(&[0; 20]));
    }

    #[test]
    fn values_that_do_not_fit_are_nowhere() {
        assert!(Field::frame(15, 1).equals(0x100).is_empty());
        assert!(Field::frame(15, 1).between(0xff, 0x100, 0x200).is_empty());
        assert_eq!(Field::frame(15, 1).between(0xff, 0, 0x200).rules().len(), 1);
        assert_eq!(Field::frame(0, 16).max(), u128::MAX);
    }

    #[test]
    fn wide_ranges_stay_small() {
        let field = Field::frame(20, 4);
        let space = field.between(u128::MAX, 0x0102_0304, 0xfffe_fdfc);
        assert_eq!(space.rules().len(), 7);
        assert_eq!(field.between(u128::MAX, 0x0a00_0000, 0x0aff_ffff).rules().len(), 1);
    }
}
