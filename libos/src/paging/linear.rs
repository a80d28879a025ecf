//! A page table that is a vector: one slot for each page of a range. Look-up is an index.

use alloc::vec;
use alloc::vec::Vec;

use super::{Entry, PageTable};

/// A vector over a range of pages.
#[derive(Clone, Debug)]
pub struct Linear {
    first: u64,
    slots: Vec<Option<Entry>>,
}

impl Linear {
    /// For `pages` pages from page number `first` on.
    pub fn new(first: u64, pages: usize) -> Linear {
        Linear { first, slots: vec![None; pages] }
    }

    fn row(&self, first: u64, pages: u64) -> Option<core::ops::Range<usize>> {
        let first = usize::try_from(first.checked_sub(self.first)?).ok()?;
        Some(first..first.checked_add(usize::try_from(pages).ok()?)?)
    }

    fn slot(&self, number: u64) -> Option<usize> {
        let place = usize::try_from(number.checked_sub(self.first)?).ok()?;
        (place < self.slots.len()).then_some(place)
    }
}

impl PageTable for Linear {
    fn get(&self, number: u64) -> Option<Entry> {
        self.slots[self.slot(number)?]
    }

    fn get_mut(&mut self, number: u64) -> Option<&mut Entry> {
        let slot = self.slot(number)?;
        self.slots[slot].as_mut()
    }

    fn insert(&mut self, number: u64, entry: Entry) -> bool {
        let Some(slot) = self.slot(number) else { return false };
        self.slots[slot] = Some(entry);
        true
    }

    fn remove(&mut self, number: u64) -> Option<Entry> {
        let slot = self.slot(number)?;
        self.slots[slot].take()
    }

    fn change(&mut self, first: u64, pages: u64, mut change: impl FnMut(&mut Entry)) -> bool {
        let row = self.row(first, pages).and_then(|row| self.slots.get_mut(row));
        let Some(row) = row else { return false };
        row.iter_mut().all(|slot| slot.as_mut().map(&mut change).is_some())
    }

    fn all(&self, first: u64, pages: u64, is_so: impl Fn(&Entry) -> bool) -> bool {
        let row = self.row(first, pages).and_then(|row| self.slots.get(row));
        row.is_some_and(|row| row.iter().all(|slot| slot.as_ref().is_some_and(&is_so)))
    }

    fn numbers(&self) -> impl Iterator<Item = u64> {
        let used = self.slots.iter().zip(self.first..).filter(|(slot, _)| slot.is_some());
        used.map(|(_, number)| number)
    }
}
