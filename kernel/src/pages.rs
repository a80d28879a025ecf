//! Physical frames and who owns them.
//!
//! Every frame is in exactly one of three states, and the books say so at any instant between
//! calls: *free* (in the pool), *owned* (a [`Page`] of one environment, in the table here), or
//! *kernel* (taken at boot, page tables, arenas, and frames that the card still reads although
//! their owner is gone: the graveyard).
//!
//! A page is named by its frame number and a serial number that is never used again, so that a
//! capability to a page that was given back names nothing. It is zeroed when it is given out. Each
//! page knows its mappings, each environment knows the addresses mapped in it: the two always
//! agree, and the functions of [`crate::Kernel`] that change them change both.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use machine::{Frame, FrameNumber, FramePool, FrameRun};

use crate::environment::EnvironmentId;

/// Names a page for as long as it is owned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageId {
    pub(crate) frame: u64,
    pub(crate) serial: u64,
}

/// A frame owned by an environment.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) frame: Frame,
    pub(crate) serial: u64,
    /// Whose quota it is charged to.
    pub(crate) owner: EnvironmentId,
    /// Rings that it is part of; such a page is not given back by itself.
    pub(crate) pins: u32,
    /// Capabilities to it, in all tables.
    pub(crate) holders: u32,
    /// Where it is mapped.
    pub(crate) mappings: Vec<(EnvironmentId, u64)>,
}

/// All frames.
pub(crate) struct Memory {
    pub(crate) pool: FramePool,
    pages: BTreeMap<u64, Page>,
    /// Frames without an owner that a transmission is still being read from.
    graveyard: Vec<Frame>,
    /// Frames that the kernel holds, the graveyard's included.
    kernel: u64,
    serial: u64,
}

impl Memory {
    /// What is not free now is the kernel's.
    pub(crate) fn new(pool: FramePool) -> Memory {
        let kernel = pool.total().saturating_sub(pool.free()) as u64;
        let graveyard = Vec::with_capacity(machine::limits::TRANSMIT_SLOTS);
        Memory { pool, pages: BTreeMap::new(), graveyard, kernel, serial: 0 }
    }

    /// Frames by who holds them.
    pub(crate) fn books(&self) -> abi::books::FrameBooks {
        abi::books::FrameBooks {
            total: self.pool.total() as u64,
            free: self.pool.free() as u64,
            owned: self.pages.len() as u64,
            kernel: self.kernel,
        }
    }

    /// The kernel holds so many frames more (or fewer): page tables came or went.
    pub(crate) fn tables_changed(&mut self, before: usize, after: usize) {
        self.kernel = (self.kernel + after as u64).saturating_sub(before as u64);
    }

    /// Takes a frame for the kernel, for good.
    pub(crate) fn take_one(&mut self) -> Option<machine::Frame> {
        let frame = self.pool.take()?;
        self.kernel += 1;
        Some(frame)
    }

    /// Takes frames in a row for the kernel.
    pub(crate) fn take_run(&mut self, frames: usize) -> Option<FrameRun> {
        let run = self.pool.take_run(frames)?;
        self.kernel += frames as u64;
        Some(run)
    }

    /// Gives them back.
    pub(crate) fn give_run(&mut self, run: FrameRun, frames: usize) {
        self.pool.give_run(run);
        self.kernel = self.kernel.saturating_sub(frames as u64);
    }

    /// Makes a zeroed page for `owner`: any frame, or the one that is asked for.
    pub(crate) fn allocate(&mut self, owner: EnvironmentId, wish: Option<u64>) -> Option<PageId> {
        let frame = match wish {
            Some(number) => self.pool.take_at(FrameNumber(number))?,
            None => self.pool.take()?,
        };
        frame.zero();
        self.pool.owned_by(frame.number(), owner.0);
        self.serial += 1;
        let id = PageId { frame: frame.number().0, serial: self.serial };
        let page =
            Page { frame, serial: id.serial, owner, pins: 0, holders: 0, mappings: Vec::new() };
        self.pages.insert(id.frame, page);
        Some(id)
    }

    /// Takes a page out of the table. The caller has broken its mappings; `busy` says that the
    /// card still reads it.
    pub(crate) fn free(&mut self, frame: u64, busy: bool) {
        let Some(page) = self.pages.remove(&frame) else { return };
        if busy {
            self.pool.owned_by(page.frame.number(), abi::exposed::FRAME_KERNEL);
            self.graveyard.push(page.frame);
            self.kernel += 1;
        } else {
            self.pool.give(page.frame);
        }
    }

    /// The card is done with this frame: if its owner is gone, it is free now.
    pub(crate) fn bury(&mut self, frame: u64) {
        if let Some(at) = self.graveyard.iter().position(|dead| dead.number().0 == frame) {
            self.pool.give(self.graveyard.swap_remove(at));
            self.kernel = self.kernel.saturating_sub(1);
        }
    }

    /// The page that is owned under this name.
    pub(crate) fn page(&self, id: PageId) -> Option<&Page> {
        self.pages.get(&id.frame).filter(|page| page.serial == id.serial)
    }

    /// The same, to change.
    pub(crate) fn page_mut(&mut self, id: PageId) -> Option<&mut Page> {
        self.pages.get_mut(&id.frame).filter(|page| page.serial == id.serial)
    }

    /// A page and the pool beside it, for mapping the one with tables from the other.
    pub(crate) fn pool_and_page(&mut self, id: PageId) -> Option<(&mut FramePool, &mut Page)> {
        let page = self.pages.get_mut(&id.frame).filter(|page| page.serial == id.serial)?;
        Some((&mut self.pool, page))
    }

    /// Gives a page another name: all capabilities to it by the old one are void.
    pub(crate) fn rename(&mut self, id: PageId) -> Option<PageId> {
        let serial = self.serial + 1;
        let page = self.page_mut(id)?;
        page.serial = serial;
        page.holders = 0;
        self.serial = serial;
        Some(PageId { frame: id.frame, serial })
    }

    /// The page in this frame, if it is owned at all.
    pub(crate) fn at(&self, frame: u64) -> Option<&Page> {
        self.pages.get(&frame)
    }

    /// The same, to change.
    pub(crate) fn at_mut(&mut self, frame: u64) -> Option<&mut Page> {
        self.pages.get_mut(&frame)
    }

    /// The contents of an owned page, by frame number: for rings, whose pages are pinned.
    pub(crate) fn frame(&self, frame: u64) -> Option<&Frame> {
        self.pages.get(&frame).map(|page| &page.frame)
    }

    /// The page in this frame or, if that is none, in the next one that is a page.
    pub(crate) fn next_page(&self, frame: u64) -> Option<&Page> {
        self.pages.range(frame..).next().map(|(_, page)| page)
    }
}

#[cfg(test)]
mod tests {
    use super::Memory;
    use crate::environment::EnvironmentId;

    fn memory() -> Memory {
        Memory::new(machine::Boot::host(16).frames)
    }

    #[test]
    fn the_books_add_up_through_a_pages_life() {
        let mut memory = memory();
        let id = memory.allocate(EnvironmentId(1), None).unwrap();
        let named = memory.allocate(EnvironmentId(1), Some(id.frame + 3)).unwrap();
        assert_eq!(named.frame, id.frame + 3);
        assert!(memory.allocate(EnvironmentId(1), Some(id.frame)).is_none());
        assert!(memory.allocate(EnvironmentId(1), Some(u64::MAX)).is_none());
        let books = memory.books();
        assert_eq!((books.free, books.owned, books.kernel, books.total), (14, 2, 0, 16));
        memory.free(id.frame, false);
        memory.free(named.frame, true);
        let books = memory.books();
        assert_eq!((books.free, books.owned, books.kernel), (15, 0, 1));
        memory.bury(named.frame);
        assert_eq!(memory.books().free, 16);
    }

    #[test]
    fn a_page_is_zeroed_and_its_name_is_never_used_again() {
        let mut memory = memory();
        let old = memory.allocate(EnvironmentId(1), None).unwrap();
        assert_eq!(memory.frame(old.frame).unwrap().load_u64(8), 0);
        memory.free(old.frame, false);
        let new = memory.allocate(EnvironmentId(2), Some(old.frame)).unwrap();
        assert!(memory.page(old).is_none());
        assert!(memory.page(new).is_some());
    }
}
