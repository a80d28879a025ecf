//! Walking page tables: one step down at a time, through the physical map.
//!
//! Tables are written only here and read by the processor at any moment, so entries are accessed
//! with single volatile reads and writes. A [`Root`] is a promise that the table and everything
//! below it are page tables in memory that nobody else uses.

use super::layout::phys_to_virt;
use crate::memory::PAGE;
use x86_64::PhysAddr;
use x86_64::structures::paging::page_table::PageTableEntry;
use x86_64::structures::paging::{PageTable, PageTableFlags};

/// The physical address of a root table (level 4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Root(u64);

/// A place in a page table.
pub(super) struct Slot(*mut PageTableEntry);

impl Root {
    /// Names a root table.
    ///
    /// # Safety
    ///
    /// The address is that of a root table as described above, and stays so while this is used.
    pub(super) const unsafe fn new(phys: u64) -> Self {
        Self(phys)
    }

    /// Its physical address.
    pub(super) fn phys(self) -> u64 {
        self.0
    }

    /// The slot of one of its 512 entries.
    pub(super) fn entry(self, index: usize) -> Slot {
        slot(self.0, index)
    }

    /// The slot for `va` in the table of `level` (1 for 4 KiB pages, 2 for 2 MiB), if there is one.
    pub(super) fn find(self, va: u64, level: u8) -> Option<Slot> {
        let mut slot = self.entry(index(va, 4));
        for level in (level..4).rev() {
            slot = slot.below(va, level)?;
        }
        Some(slot)
    }

    /// The leaf entries for at most `pages` pages from `va` on that lie in one table, if there is
    /// that table.
    pub(super) fn row(self, va: u64, pages: usize) -> Option<Row> {
        let first = self.find(va, 1)?.0.cast::<u64>();
        Some(Row { first, len: pages.min(512 - index(va, 1)) })
    }

    /// As [`Root::find`], making tables that are missing out of zeroed frames from `frame`.
    pub(super) fn find_or_make(
        self,
        va: u64,
        level: u8,
        flags: PageTableFlags,
        frame: &mut dyn FnMut() -> Option<u64>,
    ) -> Option<Slot> {
        let mut slot = self.entry(index(va, 4));
        for level in (level..4).rev() {
            if slot.get().is_none() {
                slot.set(frame()?, flags);
            }
            slot = slot.below(va, level)?;
        }
        Some(slot)
    }
}

/// Entries of one leaf table, side by side.
pub(super) struct Row {
    first: *mut u64,
    len: usize,
}

impl Row {
    /// How many.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// An entry's bits.
    pub(super) fn entry(&self, at: usize) -> u64 {
        assert!(at < self.len, "an entry beyond its row");
        // SAFETY: in range, and a slot otherwise (see `Slot::get`).
        unsafe { self.first.add(at).read_volatile() }
    }

    /// The first entry that is so.
    pub(super) fn position(&self, is_so: impl Fn(u64) -> bool) -> Option<usize> {
        (0..self.len).find(|&at| is_so(self.entry(at)))
    }

    /// Makes each entry another one.
    pub(super) fn update(&self, change: impl Fn(u64) -> u64) {
        for at in 0..self.len {
            let entry = change(self.entry(at));
            // SAFETY: as in `entry`; what it maps is the caller's business (see `Slot::set`).
            unsafe { self.first.add(at).write_volatile(entry) }
        }
    }
}

impl Slot {
    /// What the entry points to and how; `None` when it is not present.
    pub(super) fn get(&self) -> Option<(u64, PageTableFlags)> {
        // SAFETY: a slot lies in a page table (see `Root`); the processor may set its accessed and
        // dirty bits meanwhile, which a volatile read allows for.
        let entry = unsafe { self.0.read_volatile() };
        let present = entry.flags().contains(PageTableFlags::PRESENT);
        present.then(|| (entry.addr().as_u64(), entry.flags()))
    }

    /// Points the entry at a physical address.
    pub(super) fn set(&self, phys: u64, flags: PageTableFlags) {
        let mut entry = PageTableEntry::new();
        entry.set_addr(PhysAddr::new(phys), flags);
        // SAFETY: a slot lies in a page table. That what it now maps is right is the business of
        // the few callers, each of which argues its own.
        unsafe { self.0.write_volatile(entry) }
    }

    /// Empties the entry.
    pub(super) fn clear(&self) {
        // SAFETY: a slot lies in a page table.
        unsafe { self.0.write_volatile(PageTableEntry::new()) }
    }

    /// The slot one level down, `None` where there is no table.
    fn below(&self, va: u64, level: u8) -> Option<Slot> {
        match self.get() {
            Some((phys, flags)) if !flags.contains(PageTableFlags::HUGE_PAGE) => {
                Some(slot(phys, index(va, level)))
            }
            _ => None,
        }
    }
}

/// The slot at an index of the table at a physical address.
pub(super) fn slot(table: u64, index: usize) -> Slot {
    let table = phys_to_virt(table).cast::<PageTable>();
    debug_assert!(index < 512);
    Slot(table.cast::<PageTableEntry>().wrapping_add(index))
}

/// The index of `va` in a table of `level`.
pub(super) fn index(va: u64, level: u8) -> usize {
    ((va / PAGE as u64) >> (9 * (u32::from(level) - 1))) as usize % 512
}
