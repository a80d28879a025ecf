//! Who is where in one lane's table.

use runtime::native::dispatch::{BUCKET_SLOTS, Bank, BankMaker, Layout, Table};
use runtime::native::{Zeroed, Zeroing};

use crate::error::EngineError;
use crate::limits::{SLOTS_CACHED, SLOTS_PER_ENTRY, WINDOW_FREE, WINDOW_PER_ENTRY};
use crate::plan::{Key, Lane};

/// Numbers in the smallest window.
const WINDOW_MIN: u32 = 64;
/// Numbers there are.
const NUMBERS: u32 = 1 << 16;

/// One lane's occupants.
#[derive(Debug)]
pub(super) struct Room {
    /// Stable while others come and go.
    pub(super) number: u32,
    /// Number of the lane's shape.
    pub(super) shape: u32,
    /// Entries leave it, none come.
    pub(super) closing: bool,
    pub(super) entries: usize,
    /// Which bank is the current one; the old one has the other number.
    pub(super) bank: u8,
    pub(super) current: Places,
    pub(super) old: Option<Places>,
    /// A larger bank in the making.
    pub(super) next: Option<Next>,
    /// Next slot to be moved: of the old bank, or of a closing lane.
    pub(super) cursor: usize,
    /// Least and greatest number, of a lane whose key is one.
    pub(super) low: u16,
    pub(super) high: u16,
}

/// Who is where in one bank.
#[derive(Debug)]
pub(super) struct Places {
    /// For each slot its entry's index plus one; 0 if it is free.
    occupant: Zeroed<u32>,
    /// For each bucket how many that begin there are in their second bucket.
    spilled: Zeroed<u8>,
    pub(super) count: usize,
}

/// A bank and its places, being zeroed a piece at a time.
#[derive(Debug)]
pub(super) struct Next {
    bank: BankMaker,
    occupant: Zeroing<u32>,
    spilled: Zeroing<u8>,
}

impl Next {
    /// Reserves all of it.
    pub(super) fn reserve(layout: Layout, places: usize) -> Result<Self, EngineError> {
        let bank = Bank::reserve(layout, places, 0)?;
        let slots = bank.places() * BUCKET_SLOTS;
        let occupant = Zeroing::new(slots).map_err(|_| EngineError::NoMemory)?;
        let spilled = Zeroing::new(bank.places()).map_err(|_| EngineError::NoMemory)?;
        Ok(Self { bank, occupant, spilled })
    }

    /// Zeroes at most so many bytes; true once all are.
    pub(super) fn advance(&mut self, mut bytes: usize) -> bool {
        self.bank.advance(&mut bytes)
            && self.occupant.advance(&mut bytes)
            && self.spilled.advance(&mut bytes)
    }

    pub(super) fn finish(self) -> (Bank, Places) {
        let (occupant, spilled) = (self.occupant.finish(), self.spilled.finish());
        (self.bank.finish(), Places { occupant, spilled, count: 0 })
    }
}

impl Places {
    pub(super) fn new(bank: &Bank) -> Result<Self, EngineError> {
        let occupant = Zeroed::new(bank.slots()).map_err(|_| EngineError::NoMemory)?;
        let spilled = Zeroed::new(bank.places()).map_err(|_| EngineError::NoMemory)?;
        Ok(Self { occupant, spilled, count: 0 })
    }

    pub(super) fn slots(&self) -> usize {
        self.occupant.len()
    }

    pub(super) fn occupant(&self, slot: usize) -> Option<u32> {
        self.occupant.get(slot)?.checked_sub(1)
    }

    /// Puts an entry into a slot, or takes it out.
    pub(super) fn set(&mut self, slot: usize, entry: Option<u32>) {
        let Some(place) = self.occupant.get_mut(slot) else { return };
        self.count = self.count.saturating_sub(usize::from(*place != 0));
        *place = entry.map_or(0, |entry| entry.saturating_add(1));
        self.count += usize::from(*place != 0);
    }

    pub(super) fn free_in(&self, bucket: usize) -> Option<usize> {
        slots_of(bucket).find(|slot| self.occupant.get(*slot) == Some(&0))
    }

    /// One more (or less) of a bucket's keys is in its second bucket: whether any is now.
    pub(super) fn spill(&mut self, bucket: usize, more: bool) -> bool {
        let Some(count) = self.spilled.get_mut(bucket) else { return false };
        *count = if more { count.saturating_add(1) } else { count.saturating_sub(1) };
        *count != 0
    }
}

/// The slots of a bucket.
pub(super) fn slots_of(bucket: usize) -> core::ops::Range<usize> {
    bucket * BUCKET_SLOTS..(bucket + 1) * BUCKET_SLOTS
}

impl Room {
    pub(super) fn new(number: u32, shape: u32, table: &Table) -> Result<Self, EngineError> {
        Ok(Self {
            number,
            shape,
            closing: false,
            entries: 0,
            bank: 0,
            current: Places::new(table.current())?,
            old: None,
            next: None,
            cursor: 0,
            low: u16::MAX,
            high: 0,
        })
    }

    /// The places of a bank, if it is there.
    pub(super) fn places_mut(&mut self, bank: u8) -> Option<&mut Places> {
        if bank == self.bank { Some(&mut self.current) } else { self.old.as_mut() }
    }

    /// Where a number of a direct lane would go: in the window, or a larger window that it may
    /// have.
    pub(super) fn window_for(&self, bank: &Bank, number: u16) -> Option<Window> {
        let (first, places) = (bank.first(), bank.places());
        let now = Window { first, len: places as u32 };
        if bank.slot_of(number).is_some() {
            return Some(now);
        }
        let last = (u32::from(first) + places as u32 - 1) as u16;
        let window = Window::over(first.min(number), last.max(number));
        // While it still grows from the time before, only what is moved in one go may wait.
        let old = self.old.as_ref().map_or(0, Places::slots);
        (window.is_worth(self.entries + 1) && old <= WINDOW_FREE / 2).then_some(window)
    }

    /// Whether a hashed table had better grow to have so many entries.
    pub(super) fn is_crowded(&self, entries: usize) -> bool {
        let slots = self.current.slots();
        let per_entry = if slots < SLOTS_CACHED { SLOTS_PER_ENTRY } else { 2 };
        entries.saturating_mul(per_entry) > slots
    }

    /// Whether a hashed lane of numbers had better be direct now that it would grow: its window.
    pub(super) fn denser(&self, lane: &Lane, key: &Key) -> Option<Window> {
        let numbers = lane.layout == Layout::Plain && lane.masks == [0xffff];
        let growing = self.old.is_some() || !self.is_crowded(self.entries + 1);
        if !numbers || growing {
            return None;
        }
        let number = Lane::number(key);
        let window = Window::over(self.low.min(number), self.high.max(number));
        window.is_worth(self.entries).then_some(window)
    }
}

/// Numbers from `first` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) first: u16,
    pub(super) len: u32,
}

impl Window {
    /// The smallest window, of a power of two and aligned to it, that has both.
    pub(super) fn over(low: u16, high: u16) -> Self {
        let mut len = WINDOW_MIN;
        while len < NUMBERS && u32::from(low) / len != u32::from(high) / len {
            len *= 2;
        }
        Self { first: (u32::from(low) / len * len) as u16, len }
    }

    /// Whether so many entries are worth its memory.
    pub(super) fn is_worth(self, entries: usize) -> bool {
        let len = self.len as usize;
        len <= WINDOW_FREE || len <= entries.saturating_mul(WINDOW_PER_ENTRY)
    }
}

#[cfg(test)]
mod tests {
    use super::Window;

    #[test]
    fn windows_are_aligned_and_have_both_ends() {
        assert_eq!(Window::over(1024, 1025), Window { first: 1024, len: 64 });
        assert_eq!(Window::over(1087, 1088), Window { first: 1024, len: 128 });
        assert_eq!(Window::over(0, 65535), Window { first: 0, len: 65536 });
        assert_eq!(Window::over(32767, 32768), Window { first: 0, len: 65536 });
        for (low, high) in [(5, 5), (63, 64), (1000, 9999), (65535, 65535)] {
            let window = Window::over(low, high);
            assert!(window.first <= low && u32::from(high) < u32::from(window.first) + window.len);
        }
        assert!(Window { first: 0, len: 65536 }.is_worth(2048));
        assert!(!Window { first: 0, len: 65536 }.is_worth(2047));
    }
}
