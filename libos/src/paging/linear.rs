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

    fn numbers(&self) -> impl Iterator<Item = u64> {
        let used = self.slots.iter().zip(self.first..).filter(|(slot, _)| slot.is_some());
        used.map(|(_, number)| number)
    }
}
