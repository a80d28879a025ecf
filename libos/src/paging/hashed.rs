//! A page table that is inverted: a hash table of the pages there are, wherever they are.
//!
//! Open addressing with linear probing; removal moves later entries back, so that no tombstones
//! pile up. At most three quarters of the slots are used, so that a look-up ends soon.

use alloc::vec;
use alloc::vec::Vec;

use super::{Entry, PageTable};

/// A hash table over all pages.
#[derive(Clone, Debug)]
pub struct Hashed {
    slots: Vec<Option<(u64, Entry)>>,
    used: usize,
}

impl Hashed {
    /// With room for at least `pages` pages.
    pub fn new(pages: usize) -> Hashed {
        let slots = (pages.saturating_mul(4) / 3 + 2).next_power_of_two();
        Hashed { slots: vec![None; slots], used: 0 }
    }

    fn mask(&self) -> usize {
        self.slots.len() - 1
    }

    /// Where the search for a page begins (Fibonacci hashing, Knuth 6.4).
    fn home(&self, number: u64) -> usize {
        let bits = self.slots.len().trailing_zeros();
        (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - bits)) as usize
    }

    /// The page's slot, or the free one in which it would go. One is always free.
    fn find(&self, number: u64) -> usize {
        let mut slot = self.home(number);
        while self.slots[slot].is_some_and(|(there, _)| there != number) {
            slot = (slot + 1) & self.mask();
        }
        slot
    }
}

impl PageTable for Hashed {
    fn get(&self, number: u64) -> Option<Entry> {
        self.slots[self.find(number)].map(|(_, entry)| entry)
    }

    fn get_mut(&mut self, number: u64) -> Option<&mut Entry> {
        let slot = self.find(number);
        self.slots[slot].as_mut().map(|(_, entry)| entry)
    }

    fn insert(&mut self, number: u64, entry: Entry) -> bool {
        let slot = self.find(number);
        if self.slots[slot].is_none() {
            if (self.used + 1) * 4 > self.slots.len() * 3 {
                return false;
            }
            self.used += 1;
        }
        self.slots[slot] = Some((number, entry));
        true
    }

    fn remove(&mut self, number: u64) -> Option<Entry> {
        let mut hole = self.find(number);
        let (_, entry) = self.slots[hole].take()?;
        self.used -= 1;
        // Whoever would be found only by way of the hole moves into it.
        let mut at = (hole + 1) & self.mask();
        while let Some((there, _)) = self.slots[at] {
            let distance = |from: usize| at.wrapping_sub(from) & self.mask();
            if distance(self.home(there)) >= distance(hole) {
                self.slots.swap(hole, at);
                hole = at;
            }
            at = (at + 1) & self.mask();
        }
        Some(entry)
    }

    fn numbers(&self) -> impl Iterator<Item = u64> {
        self.slots.iter().flatten().map(|&(number, _)| number)
    }
}
