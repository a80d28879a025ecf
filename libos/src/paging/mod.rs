//! Virtual memory as a library: page tables of one's own, and faults as upcalls.
//!
//! The processor's page tables are a cache of bindings (decision 18 in `docs/decisions/000`): what
//! is in them was put there by a bind call, and may go at any time. What memory *is* stands in a
//! [`PageTable`] of the library's own making: here [`Linear`], a vector over a range, and
//! [`Hashed`], inverted, for sparse ranges; a program may bring a third. [`Pager`] works with any
//! of them: it fills pages with zeros when they are first touched, shares pages until they are
//! written, lends them back, and counts.

mod hashed;
mod linear;
mod memory;
mod pager;

use crate::capability::Page;

pub use hashed::Hashed;
pub use linear::Linear;
pub use memory::{Memory, Own};
pub use pager::{Counters, Outcome, Pager};

/// What a page of the program's memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its contents; none yet for a page that is zeros until it is touched.
    pub page: Option<Page>,
    /// What the program wants it to be.
    pub state: State,
    /// Whether the processor's tables have it.
    pub bound: bool,
}

/// How a page may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Read and write.
    Open,
    /// Read; a write is the program's to hear of.
    Protected,
    /// Read; a write makes a copy.
    Shared,
}

/// A map from page numbers (address divided by the page size) to entries. Nothing here may
/// allocate after it was made: faults may interrupt the allocator.
pub trait PageTable {
    /// The entry of a page.
    fn get(&self, number: u64) -> Option<Entry>;

    /// The same, to change.
    fn get_mut(&mut self, number: u64) -> Option<&mut Entry>;

    /// Puts an entry in, in the place of what was there; `false` if there is no room for it.
    fn insert(&mut self, number: u64, entry: Entry) -> bool;

    /// Takes an entry out.
    fn remove(&mut self, number: u64) -> Option<Entry>;

    /// Changes the entries of pages in a row, in order; `false` if one has none, where it ends.
    fn change(&mut self, first: u64, pages: u64, mut change: impl FnMut(&mut Entry)) -> bool {
        (first..first + pages).all(|number| self.get_mut(number).map(&mut change).is_some())
    }

    /// Whether each of the pages in a row has an entry that is so.
    fn all(&self, first: u64, pages: u64, is_so: impl Fn(&Entry) -> bool) -> bool {
        (first..first + pages).all(|number| self.get(number).is_some_and(|entry| is_so(&entry)))
    }

    /// Every page that has an entry, in no order.
    fn numbers(&self) -> impl Iterator<Item = u64>;

    /// Pages whose contents are this page's.
    fn sharers(&self, page: Page) -> usize {
        let same = |number: &u64| self.get(*number).is_some_and(|it| it.page == Some(page));
        self.numbers().filter(same).count()
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, Hashed, Linear, PageTable, State};
    use crate::capability::Page;
    use abi::Handle;
    use std::collections::BTreeMap;

    const FIRST: u64 = 0x4000_0000;
    const PAGES: u64 = 96;

    fn entry(page: u64) -> Entry {
        Entry { page: Some(Page(Handle(page))), state: State::Open, bound: false }
    }

    /// Both structures do what a map does, through a long mix of changes.
    fn as_a_map(mut table: impl PageTable) {
        let mut model = BTreeMap::new();
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for step in 0..20_000u64 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let number = FIRST + random % PAGES;
            match random >> 60 {
                0..=7 => {
                    assert!(table.insert(number, entry(step % 7 + 1)));
                    model.insert(number, entry(step % 7 + 1));
                }
                8..=12 => assert_eq!(table.remove(number), model.remove(&number)),
                _ => {
                    if let Some(found) = table.get_mut(number) {
                        found.bound = !found.bound;
                    }
                    if let Some(found) = model.get_mut(&number) {
                        found.bound = !found.bound;
                    }
                }
            }
            assert_eq!(table.get(number), model.get(&number).copied(), "step {step}");
        }
        let mut numbers: Vec<u64> = table.numbers().collect();
        numbers.sort_unstable();
        assert_eq!(numbers, model.keys().copied().collect::<Vec<_>>());
        for page in 1..8 {
            let sharers = model.values().filter(|it| it.page == Some(Page(Handle(page)))).count();
            assert_eq!(table.sharers(Page(Handle(page))), sharers);
        }
        for number in [0, FIRST - 1, FIRST + 100_000, u64::MAX] {
            assert_eq!(table.get(number), None);
            assert_eq!(table.remove(number), None);
        }
    }

    use std::vec::Vec;

    #[test]
    fn a_linear_table_is_a_map_over_its_range() {
        as_a_map(Linear::new(FIRST, PAGES as usize));
        let mut table = Linear::new(FIRST, PAGES as usize);
        assert!(!table.insert(FIRST + PAGES, entry(1)));
        assert!(!table.insert(FIRST - 1, entry(1)));
    }

    #[test]
    fn a_hashed_table_is_a_map_until_it_is_full() {
        as_a_map(Hashed::new(PAGES as usize));
        let mut table = Hashed::new(10);
        let room = (0..1000).filter(|&number| table.insert(number * 512, entry(1))).count();
        assert!((10..1000).contains(&room), "{room}");
        assert!(!table.insert(7, entry(1)));
        assert!(table.insert(0, entry(2)), "what is there is replaced even when it is full");
        assert!(table.remove(0).is_some());
        assert!(table.insert(7, entry(1)));
    }
}
