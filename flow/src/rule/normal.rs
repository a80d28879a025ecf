//! The normal form of cells behind guards.
//!
//! Narrowing a rule can leave a guard fewer values: one, and the cells behind it have constant
//! addresses; too few for the frame to hold the cells, and the rest must go; none, and the rule is
//! empty.

use alloc::vec::Vec;
use core::ops::Range;

use super::Rule;
use crate::byteset::ByteSet;
use crate::cell::{Base, Cell, HeaderBase};

impl Rule {
    /// Restores the normal form of the cells behind guards. `false`: the rule is empty.
    ///
    /// Each round ends the work or turns one group of cells into cells with constant addresses.
    pub(super) fn settle(&mut self) -> bool {
        let mut from = self.cells.partition_point(|(cell, _)| cell.base == Base::Frame);
        while let Some(&(Cell { base: Base::Header(base), .. }, _)) = self.cells.get(from) {
            let same = |(cell, _): &(Cell, ByteSet)| cell.base == Base::Header(base);
            let until = from + self.cells[from..].iter().take_while(|cell| same(cell)).count();
            let Some(group) = self.weigh(base, self.cells[until - 1].0.offset) else {
                return false;
            };
            if !self.reach(group.nearest) || !self.narrow(Cell::frame(base.at), group.guard) {
                return false;
            }
            // Narrowing may have inserted the guard's cell in front of the group.
            let from_now = self.cells.partition_point(|(cell, _)| *cell < Cell::header(base, 0));
            let until = until + from_now - from;
            if group.lengths == 1 {
                if !self.fix(base, group.only, from_now..until) {
                    return false;
                }
                from = self.cells.partition_point(|(cell, _)| cell.base == Base::Frame);
            } else {
                from = self.drop_implied(group.furthest, from_now..until);
            }
        }
        true
    }

    /// Whether the guard at `at` may be `value` under `mask`, as far as the cells behind it and
    /// the cells with constant addresses tell: `false` is a proof that it may not. Allocates
    /// nothing.
    pub(crate) fn admits_guard(&self, at: u16, mask: u8, value: u8) -> bool {
        let guard = self.set(Cell::frame(at)).intersect(ByteSet::masked(value, mask));
        let fits = |cell: Cell, set: ByteSet| match cell.base {
            Base::Header(base) if base.at == at && base.mask == mask => {
                base.address(value, cell.offset).is_some_and(|address| {
                    let there = self.set(Cell::frame(address));
                    address < self.length.max && !there.intersect(set).is_empty()
                })
            }
            _ => true,
        };
        !guard.is_empty() && self.cells.iter().all(|&(cell, set)| fits(cell, set))
    }

    /// What the guard of `base` may be, if a cell `offset` bytes behind it is to exist.
    fn weigh(&self, base: HeaderBase, offset: u16) -> Option<Group> {
        let mut group: Option<Group> = None;
        for length in self.lengths(base) {
            let Some(address) = base.address(length, offset) else { continue };
            if address >= self.length.max {
                continue;
            }
            let values = ByteSet::masked(length, base.mask);
            group = Some(match group {
                None => Group {
                    guard: values,
                    lengths: 1,
                    only: length,
                    nearest: address,
                    furthest: address,
                },
                Some(seen) => Group {
                    guard: seen.guard.union(values),
                    lengths: seen.lengths + 1,
                    only: seen.only,
                    nearest: seen.nearest.min(address),
                    furthest: seen.furthest.max(address),
                },
            });
        }
        group
    }

    /// Gives the cells in `range`, all behind `base`, the constant addresses that `length` gives
    /// them.
    fn fix(&mut self, base: HeaderBase, length: u8, range: Range<usize>) -> bool {
        let moved: Vec<(Cell, ByteSet)> = self.cells.drain(range).collect();
        moved.iter().all(|&(cell, set)| {
            base.address(length, cell.offset)
                .is_some_and(|address| self.narrow(Cell::frame(address), set))
        })
    }

    /// Drops those cells of one group that only ask for existence and are not needed for it.
    /// Returns the index behind the group.
    fn drop_implied(&mut self, furthest: u16, range: Range<usize>) -> usize {
        let always_exists = furthest < self.length.min;
        let mut end = range.end;
        for index in range.clone().rev() {
            let last = index + 1 == range.end;
            if self.cells[index].1.is_all() && (!last || always_exists) {
                self.cells.remove(index);
                end -= 1;
            }
        }
        end
    }
}

/// What the cells behind one base leave to its guard.
struct Group {
    /// Values of the guard that leave room for every cell.
    guard: ByteSet,
    /// How many values `guard & mask` may have, and the first of them.
    lengths: usize,
    only: u8,
    /// Least and greatest address of the furthest cell.
    nearest: u16,
    furthest: u16,
}
