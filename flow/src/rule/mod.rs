//! A conjunction of byte tests.
//!
//! A [`Rule`] holds the frames whose length is in its range and in which every one of its cells
//! exists and lies in its set. Rules are kept in a normal form, so that equal tests look equal:
//!
//! - the length's minimum covers every cell with a constant address, and a cell with a constant
//!   address that may have any value is only that: a minimum length;
//! - a guard may only have values that leave room for the cells behind it; a cell whose guard has
//!   one value left is a cell with a constant address;
//! - no set is empty, cells are sorted and unique.
//!
//! Whatever is empty for a reason that this form shows is never made: the functions that narrow a
//! rule answer `None` (or `false`). A rule that *is* there can still be empty if cells with
//! different bases are the same byte; [`Rule::witness`] decides that by splitting on the guards.

use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::byteset::ByteSet;
use crate::cell::{Base, Cell, HeaderBase};
use crate::error::FlowError;
use crate::length::LengthRange;
use crate::limits::{CASES_MAX, CELLS_MAX, GUARDS_MAX, PIECES_MAX};
use crate::split::Cases;

mod normal;

/// A conjunction of byte tests and a length range; see the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    length: LengthRange,
    cells: Vec<(Cell, ByteSet)>,
}

impl Rule {
    /// Every frame.
    #[must_use]
    pub const fn any() -> Rule {
        Rule { length: LengthRange::ALL, cells: Vec::new() }
    }

    /// The frames of this rule whose length is in `range`; `None` if there are none.
    #[must_use]
    pub fn with_length(&self, range: LengthRange) -> Option<Rule> {
        let mut rule = self.clone();
        rule.restrict_length(range).then_some(rule)
    }

    /// The frames of this rule in which `cell` exists and lies in `set`; `None` if there are none.
    #[must_use]
    pub fn with(&self, cell: Cell, set: ByteSet) -> Option<Rule> {
        let mut rule = self.clone();
        rule.restrict(cell, set).then_some(rule)
    }

    /// As [`Rule::with_length`], in place. After `false` the rule is empty and of no use.
    #[must_use]
    pub fn restrict_length(&mut self, range: LengthRange) -> bool {
        let Some(length) = self.length.intersect(range) else { return false };
        self.length = length;
        self.settle()
    }

    /// As [`Rule::with`], in place. After `false` the rule is empty and of no use.
    #[must_use]
    pub fn restrict(&mut self, cell: Cell, set: ByteSet) -> bool {
        let Some(cell) = cell.canonical() else { return false };
        if let Base::Header(base) = cell.base
            && !self.reach(base.at)
        {
            return false;
        }
        self.narrow(cell, set) && self.settle()
    }

    /// The tested cells and the values they may have, in ascending order of cells.
    pub fn cells(&self) -> impl ExactSizeIterator<Item = (Cell, ByteSet)> + DoubleEndedIterator {
        self.cells.iter().copied()
    }

    /// The values that `cell` may have, as far as the rule says by itself.
    #[must_use]
    pub fn set(&self, cell: Cell) -> ByteSet {
        match cell.canonical().map(|cell| self.find(cell)) {
            Some(Ok(index)) => self.cells[index].1,
            Some(Err(_)) => ByteSet::ALL,
            None => ByteSet::EMPTY,
        }
    }

    /// The lengths that its frames may have.
    #[must_use]
    pub fn length(&self) -> LengthRange {
        self.length
    }

    /// Whether every cell has a constant address. Such a rule is never empty.
    #[must_use]
    pub fn is_absolute(&self) -> bool {
        // Header bases sort behind the frame's.
        self.cells.last().is_none_or(|(cell, _)| cell.base == Base::Frame)
    }

    /// The distinct guards that the rule's cells depend on, as (offset, mask), in order.
    pub fn guards(&self) -> impl Iterator<Item = (u16, u8)> {
        let mut last = None;
        self.cells.iter().filter_map(move |(cell, _)| {
            let Base::Header(base) = cell.base else { return None };
            let guard = Some((base.at, base.mask));
            let new = last != guard;
            last = guard;
            guard.filter(|_| new)
        })
    }

    /// Whether `frame` is in the rule.
    #[must_use]
    pub fn matches(&self, frame: &[u8]) -> bool {
        self.length.contains(frame.len())
            && self.cells.iter().all(|(cell, set)| {
                cell.address(frame).is_some_and(|address| set.contains(frame[address]))
            })
    }

    /// The frames in both rules; `None` if the normal form shows that there are none.
    #[must_use]
    pub fn intersect(&self, other: &Rule) -> Option<Rule> {
        if !self.may_meet(other) {
            return None;
        }
        let length = self.length.intersect(other.length)?;
        let mut both = Rule { length, cells: Vec::with_capacity(self.cells.len()) };
        let (mut left, mut right) = (self.cells.as_slice(), other.cells.as_slice());
        while let (Some((a, rest_a)), Some((b, rest_b))) = (left.split_first(), right.split_first())
        {
            if a.0 < b.0 {
                both.cells.push(*a);
                left = rest_a;
            } else if b.0 < a.0 {
                both.cells.push(*b);
                right = rest_b;
            } else {
                both.cells.push((a.0, a.1.intersect(b.1)));
                (left, right) = (rest_a, rest_b);
            }
        }
        both.cells.extend_from_slice(left);
        both.cells.extend_from_slice(right);
        both.settle().then_some(both)
    }

    /// Whether the rules could meet as far as equal cells tell: `false` is a proof of disjointness,
    /// `true` is not a proof of anything. Allocates nothing.
    #[must_use]
    pub fn may_meet(&self, other: &Rule) -> bool {
        if self.length.intersect(other.length).is_none() {
            return false;
        }
        let mut right = other.cells.iter().peekable();
        self.cells.iter().all(|(cell, set)| {
            while right.next_if(|(theirs, _)| theirs < cell).is_some() {}
            match right.peek() {
                Some((theirs, their_set)) if theirs == cell => {
                    !set.intersect(*their_set).is_empty()
                }
                _ => true,
            }
        })
    }

    /// Whether every test of `other` is implied by an equal or stronger test of this rule: `true`
    /// is a proof of containment, `false` is not a proof of anything. Allocates nothing.
    #[must_use]
    pub fn is_plainly_inside(&self, other: &Rule) -> bool {
        let mut left = self.cells.iter().peekable();
        self.length.is_subset_of(other.length)
            && other.cells.iter().all(|(cell, set)| {
                while left.next_if(|(ours, _)| ours < cell).is_some() {}
                matches!(left.peek(), Some((ours, our_set))
                    if ours == cell && our_set.is_subset_of(*set))
            })
    }

    /// The rule split on its guards: the same set, as pairwise disjoint rules without header bases.
    ///
    /// # Errors
    /// [`FlowError::Budget`] where the split has more cases than `CASES_MAX` or `PIECES_MAX` allow,
    /// which takes more guards than [`crate::Space::check`] admits.
    pub fn absolute(&self) -> Result<Vec<Rule>, FlowError> {
        let mut cases = Cases::new(self.clone());
        let mut all = Vec::new();
        while let Some(rule) = cases.run(u64::from(CASES_MAX))? {
            if all.len() == PIECES_MAX {
                return Err(FlowError::Budget { limit: "PIECES_MAX" });
            }
            all.push(rule);
        }
        Ok(all)
    }

    /// A frame in the rule: the shortest, with the smallest values. `None` if and only if the rule
    /// is empty.
    ///
    /// # Errors
    /// [`FlowError::Budget`] as for [`Rule::absolute`].
    pub fn witness(&self) -> Result<Option<Vec<u8>>, FlowError> {
        let case = Cases::new(self.clone()).run(u64::from(CASES_MAX))?;
        Ok(case.map(|rule| rule.smallest()))
    }

    /// Whether no frame is in the rule.
    ///
    /// # Errors
    /// [`FlowError::Budget`] as for [`Rule::absolute`].
    pub fn is_empty_exact(&self) -> Result<bool, FlowError> {
        Ok(Cases::new(self.clone()).run(u64::from(CASES_MAX))?.is_none())
    }

    /// The shortest frame with the smallest values. Only cells with constant addresses are heeded.
    pub(crate) fn smallest(&self) -> Vec<u8> {
        let mut frame = alloc::vec![0; usize::from(self.length.min)];
        for (cell, set) in &self.cells {
            if let Some(address) = cell.address(&frame) {
                frame[address] = set.min().unwrap_or(0);
            }
        }
        frame
    }

    /// Whether `cell` exists in all of the rule's frames because a cell further behind the same
    /// base does, or because none of them is short enough.
    pub(crate) fn implies_existence(&self, cell: Cell) -> bool {
        let Base::Header(base) = cell.base else { return cell.offset < self.length.min };
        let later = self.find(cell).unwrap_or_else(|index| index);
        if self.cells.get(later).is_some_and(|(other, _)| other.base == cell.base) {
            return true;
        }
        base.at < self.length.min
            && self.lengths(base).all(|length| {
                base.address(length, cell.offset).is_some_and(|end| end < self.length.min)
            })
    }

    /// The values of `guard & mask` that the guard's own test leaves open for `base`.
    pub(crate) fn lengths(&self, base: HeaderBase) -> impl Iterator<Item = u8> {
        let guard = self.set(Cell::frame(base.at));
        base.lengths()
            .filter(move |&length| !guard.intersect(ByteSet::masked(length, base.mask)).is_empty())
    }

    /// One rule for the frames of both, where they differ in nothing but their lengths, which
    /// touch, or in the set of one cell.
    #[must_use]
    pub fn merge(&self, other: &Rule) -> Option<Rule> {
        if self.cells == other.cells {
            let length = self.length.merge(other.length)?;
            return Some(Rule { length, cells: self.cells.clone() });
        }
        let same_cells = self.cells.len() == other.cells.len() && self.length == other.length;
        let mut pairs = self.cells.iter().zip(&other.cells);
        if !same_cells || !pairs.clone().all(|(ours, theirs)| ours.0 == theirs.0) {
            return None;
        }
        let differ = pairs.position(|(ours, theirs)| ours.1 != theirs.1)?;
        if pairs.any(|(ours, theirs)| ours.1 != theirs.1) {
            return None;
        }
        let mut merged = self.clone();
        let (cell, set) = merged.cells.remove(differ);
        // Back through the front door: the union may be no test at all.
        let set = set.union(other.cells[differ].1);
        (merged.narrow(cell, set) && merged.settle()).then_some(merged)
    }

    /// A rule around both: their common cells, with the values of either. Frames of neither may be
    /// in it.
    #[must_use]
    pub fn hull(&self, other: &Rule) -> Rule {
        let length = LengthRange {
            min: self.length.min.min(other.length.min),
            max: self.length.max.max(other.length.max),
        };
        let both = self.cells.iter().filter_map(|(cell, set)| {
            let at = other.find(*cell).ok()?;
            Some((*cell, set.union(other.cells.get(at)?.1)))
        });
        Rule::around(length, both)
    }

    /// A rule around this one that keeps to the limits of [`crate::Space::check`].
    #[must_use]
    pub fn loosened(&self) -> Rule {
        let kept: Vec<(u16, u8)> = self.guards().take(GUARDS_MAX).collect();
        let is_kept = |cell: &Cell| match cell.base {
            Base::Frame => true,
            Base::Header(base) => kept.contains(&(base.at, base.mask)),
        };
        let cells = self.cells.iter().filter(|(cell, _)| is_kept(cell)).copied();
        Rule::around(self.length, cells.take(CELLS_MAX - GUARDS_MAX))
    }

    /// The rule of some tests that a rule with frames implies.
    fn around(length: LengthRange, cells: impl Iterator<Item = (Cell, ByteSet)>) -> Rule {
        let mut rule = Rule { length, cells: Vec::new() };
        for (cell, set) in cells {
            if !rule.restrict(cell, set) {
                // They cannot hold together: there is no frame to be around.
                return Rule::any();
            }
        }
        rule
    }

    fn find(&self, cell: Cell) -> Result<usize, usize> {
        self.cells.binary_search_by_key(&cell, |&(cell, _)| cell)
    }

    /// Requires the byte at `offset` to exist.
    fn reach(&mut self, offset: u16) -> bool {
        self.length.min = self.length.min.max(offset.saturating_add(1));
        self.length.min <= self.length.max
    }

    /// Intersects one canonical cell's set. Only [`Rule::settle`] restores the normal form of
    /// guards.
    fn narrow(&mut self, cell: Cell, set: ByteSet) -> bool {
        if cell.base == Base::Frame && !self.reach(cell.offset) {
            return false;
        }
        match self.find(cell) {
            Ok(index) => {
                self.cells[index].1 = self.cells[index].1.intersect(set);
                !self.cells[index].1.is_empty()
            }
            Err(index) => {
                if cell.base != Base::Frame || !set.is_all() {
                    self.cells.insert(index, (cell, set));
                }
                !set.is_empty()
            }
        }
    }
}

/// Some total order, so that rules can be sorted and searched. It has no meaning for sets.
impl Ord for Rule {
    fn cmp(&self, other: &Rule) -> Ordering {
        let key = |&(cell, set): &(Cell, ByteSet)| (cell, set.words());
        let cells = || self.cells.iter().map(key).cmp(other.cells.iter().map(key));
        self.length.cmp(&other.length).then_with(cells)
    }
}

impl PartialOrd for Rule {
    fn partial_cmp(&self, other: &Rule) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests;
