//! Address spaces of ring 3: real page tables, and copies that cannot fault.
//!
//! The lower half is the space's own, the upper half the kernel's. A copy walks the tables, checks
//! presence, user bit and write bit of each page, and moves the bytes through the physical map: no
//! user address is ever dereferenced, so no user pointer can make the kernel fault.

use super::cpu;
use super::exposed::Exposed;
use super::frame::{self, Frame, FramePool};
use super::layout::phys_to_virt;
use super::paging::{self, TABLE};
use super::walk::{self, Root};
use crate::memory::{EXPOSED_START, FrameNumber, MapError, PAGE, ProtectError, Rights, TABLES};
use crate::memory::{UserFault, check_mapping, check_protection, is_copied, is_own, page_runs};
use x86_64::VirtAddr;
use x86_64::instructions::tlb;
use x86_64::structures::paging::PageTableFlags;

/// One ring-3 address space.
///
/// Dropping it instead of destroying it leaks its tables; what it maps stays mapped in them.
pub struct AddressSpace {
    root: Root,
    tables: usize,
}

impl AddressSpace {
    /// An empty space. Takes a frame for its root table.
    pub fn new(pool: &mut FramePool) -> Result<Self, MapError> {
        let phys = table(pool).ok_or(MapError::NoFrames)?;
        // SAFETY: a fresh zeroed frame is an empty root table; `destroy` gives it back last.
        let root = unsafe { Root::new(phys) };
        paging::share_upper_half(root);
        // The root seen as a table of its own: ring 3 reads its page tables there. Reading is all
        // that this entry allows, whatever those below it allow.
        let window = PageTableFlags::PRESENT | PageTableFlags::USER_ACCESSIBLE;
        root.entry(walk::index(TABLES.start, 4)).set(phys, window | paging::no_execute());
        Ok(Self { root, tables: 1 })
    }

    /// Shows here what is exposed everywhere. Takes up to one frame for a table.
    pub fn expose(&mut self, pool: &mut FramePool, what: &Exposed) -> Result<(), MapError> {
        let tables = &mut self.tables;
        let mut make = || table(pool).inspect(|_| *tables += 1);
        let below = TABLE | PageTableFlags::USER_ACCESSIBLE;
        let slot = self.root.find_or_make(EXPOSED_START, 3, below, &mut make);
        let read = PageTableFlags::PRESENT | PageTableFlags::USER_ACCESSIBLE;
        slot.ok_or(MapError::NoFrames)?.set(what.directory(), read | paging::no_execute());
        Ok(())
    }

    /// Maps a frame at a page. Takes up to three frames for tables, and keeps them until `destroy`.
    pub fn map(
        &mut self,
        pool: &mut FramePool,
        va: u64,
        frame: &Frame,
        rights: Rights,
    ) -> Result<(), MapError> {
        self.map_within(pool, va, frame, (rights, rights))
    }

    /// The same, with rights that [`AddressSpace::protect`] may later raise to `most`.
    pub fn map_within(
        &mut self,
        pool: &mut FramePool,
        va: u64,
        frame: &Frame,
        (rights, most): (Rights, Rights),
    ) -> Result<(), MapError> {
        check_mapping(va, rights)?;
        let tables = &mut self.tables;
        let mut make = || table(pool).inspect(|_| *tables += 1);
        let below = TABLE | PageTableFlags::USER_ACCESSIBLE;
        let slot = self.root.find_or_make(va, 1, below, &mut make).ok_or(MapError::NoFrames)?;
        if slot.get().is_some() {
            return Err(MapError::Occupied);
        }
        // Counted first: from now on the frame cannot become the kernel's own memory.
        frame::mapped(frame.number());
        slot.set(frame.number().0 * PAGE as u64, flags(rights) | authority(most));
        Ok(())
    }

    /// Gives `pages` mapped pages from `va` on these rights: all of them, or none on an error.
    pub fn protect(&mut self, va: u64, pages: usize, rights: Rights) -> Result<(), ProtectError> {
        check_protection(va, rights)?;
        let wanted = (PageTableFlags::PRESENT | authority(rights)).bits();
        self.leaves(va, pages, |va, row| match row.position(|entry| entry & wanted != wanted) {
            None => Ok(()),
            Some(at) => {
                let va = va + (at * PAGE) as u64;
                let absent = row.entry(at) & PageTableFlags::PRESENT.bits() == 0;
                Err(if absent { ProtectError::NotMapped(va) } else { ProtectError::NotAllowed(va) })
            }
        })?;
        let new = flags(rights).bits();
        self.leaves(va, pages, |_, row| {
            row.update(|entry| entry & KEPT | new);
            Ok(())
        })?;
        self.flush(va, pages);
        Ok(())
    }

    /// The leaf entries of pages in a row, table by table: the first one's address, and the row.
    fn leaves(
        &mut self,
        va: u64,
        pages: usize,
        mut each: impl FnMut(u64, walk::Row) -> Result<(), ProtectError>,
    ) -> Result<(), ProtectError> {
        let (mut va, mut left) = (va, pages);
        while left > 0 {
            // What is not ring 3's own has tables of its own: the first page speaks for the row.
            let row = if is_own(va) { self.root.row(va, left) } else { None };
            let row = row.ok_or(ProtectError::NotMapped(va))?;
            left -= row.len();
            let next = va.saturating_add((row.len() * PAGE) as u64);
            each(va, row)?;
            va = next;
        }
        Ok(())
    }

    /// Makes the processor forget what it knew of pages in a row.
    fn flush(&self, va: u64, pages: usize) {
        if cpu::current_root() != self.root.phys() {
            // Loading this space's root will do it.
            return;
        }
        if pages > FLUSH_MAX {
            return tlb::flush_all();
        }
        for page in 0..pages as u64 {
            tlb::flush(VirtAddr::new(va + page * PAGE as u64));
        }
    }

    /// Unmaps a page, and says which frame was there.
    pub fn unmap(&mut self, va: u64) -> Option<FrameNumber> {
        let slot = self.root.find(is_own(va).then_some(va)?, 1)?;
        let (phys, _) = slot.get()?;
        slot.clear();
        tlb::flush(VirtAddr::new(va));
        let number = FrameNumber(phys / PAGE as u64);
        frame::unmapped(number);
        Some(number)
    }

    /// What is mapped at the page that holds this address.
    pub fn lookup(&self, va: u64) -> Option<(FrameNumber, Rights)> {
        let (phys, flags) = self.root.find(user(va)?, 1)?.get()?;
        let rights = Rights {
            write: flags.contains(PageTableFlags::WRITABLE),
            execute: !flags.contains(PageTableFlags::NO_EXECUTE),
        };
        Some((FrameNumber(phys / PAGE as u64), rights))
    }

    /// Frames that its page tables take.
    pub fn table_frames(&self) -> usize {
        self.tables
    }

    /// Gives the page tables back. Mapped frames are their owners' to give.
    pub fn destroy(self, pool: &mut FramePool) {
        if cpu::current_root() == self.root.phys() {
            // SAFETY: the kernel's own tables map everything that the kernel uses.
            unsafe { cpu::load_root(paging::root().phys()) };
        }
        // What is not this space's own: its tables' window, and what the kernel shows.
        self.root.entry(walk::index(TABLES.start, 4)).clear();
        if let Some(slot) = self.root.find(EXPOSED_START, 3) {
            slot.clear();
        }
        for index in 0..256 {
            if let Some((phys, _)) = self.root.entry(index).get() {
                give_tables(pool, phys, 3);
            }
        }
        // SAFETY: taken in `new`; the processor does not use it any more, and `self` ends here.
        unsafe { pool.put_table(FrameNumber(self.root.phys() / PAGE as u64)) };
    }

    /// Copies out of the space, as ring 3 could read it.
    pub fn read(&self, va: u64, into: &mut [u8]) -> Result<(), UserFault> {
        for (address, at, len) in page_runs(va, into.len()) {
            let from = self.page(address, false)?;
            let into = &mut into[at..at + len];
            // SAFETY: `from` is in a mapped user frame, and `page_runs` stays within the page;
            // `into` is exclusive and so no part of a user frame.
            unsafe { frame::copy(into.as_mut_ptr(), from, len) };
        }
        Ok(())
    }

    /// Copies into the space, as ring 3 could write it.
    pub fn write(&self, va: u64, from: &[u8]) -> Result<(), UserFault> {
        for (address, at, len) in page_runs(va, from.len()) {
            let to = self.page(address, true)?;
            let from = &from[at..at + len];
            // SAFETY: `to` is in a mapped user frame, which the kernel holds no reference into.
            unsafe { frame::copy(to, from.as_ptr(), len) };
        }
        Ok(())
    }

    /// Its root table, for the processor.
    pub(super) fn root(&self) -> u64 {
        self.root.phys()
    }

    /// Where the physical map shows this user address, if ring 3 may use it so.
    fn page(&self, address: u64, write: bool) -> Result<*mut u8, UserFault> {
        let fault = UserFault { address };
        let slot = user(address).and_then(|va| self.root.find(va, 1)).ok_or(fault)?;
        let (phys, flags) = slot.get().ok_or(fault)?;
        if write && !flags.contains(PageTableFlags::WRITABLE) {
            return Err(fault);
        }
        Ok(phys_to_virt(phys + address % PAGE as u64))
    }
}

/// Pages up to which a change of rights flushes them one by one.
const FLUSH_MAX: usize = 32;
/// In a leaf entry: the page was mapped by somebody who may write it.
const MAY_WRITE: PageTableFlags = PageTableFlags::BIT_9;
/// By somebody who may execute it.
const MAY_EXECUTE: PageTableFlags = PageTableFlags::BIT_10;
/// What a change of rights leaves as it is: where the entry points to, among others.
const KEPT: u64 = !PageTableFlags::WRITABLE.union(PageTableFlags::NO_EXECUTE).bits();

fn authority(most: Rights) -> PageTableFlags {
    let mut flags = PageTableFlags::empty();
    flags.set(MAY_WRITE, most.write);
    flags.set(MAY_EXECUTE, most.execute);
    flags
}

fn user(va: u64) -> Option<u64> {
    is_copied(va).then_some(va)
}

fn flags(rights: Rights) -> PageTableFlags {
    let mut flags = PageTableFlags::PRESENT | PageTableFlags::USER_ACCESSIBLE;
    flags.set(PageTableFlags::WRITABLE, rights.write);
    if !rights.execute {
        flags |= paging::no_execute();
    }
    flags
}

/// A zeroed frame for a table: its physical address. The handle is spent.
fn table(pool: &mut FramePool) -> Option<u64> {
    let phys = pool.take()?.number().0 * PAGE as u64;
    paging::zero_table(phys);
    Some(phys)
}

/// Gives back a table of `level` and those below it, uncounting the pages of the last.
/// Recursion ends after three steps: that is how deep page tables are.
fn give_tables(pool: &mut FramePool, table: u64, level: u8) {
    for index in 0..512 {
        match walk::slot(table, index).get() {
            Some((phys, _)) if level == 1 => frame::unmapped(FrameNumber(phys / PAGE as u64)),
            Some((phys, _)) => give_tables(pool, phys, level - 1),
            None => {}
        }
    }
    // SAFETY: taken by `table`; its space is being destroyed and not loaded: nothing points here.
    unsafe { pool.put_table(FrameNumber(table / PAGE as u64)) };
}
