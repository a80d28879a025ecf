//! Pages that every address space shows, read-only: one set of page tables, shared by all.
//!
//! The tables are made once and hang, by one entry, in each address space that was told to
//! [`super::AddressSpace::expose`] them. They are never given back, nor are the frames that they
//! show: those count as mapped.

use super::frame::{self, Frame, FramePool};
use super::paging::{self, TABLE};
use super::walk;
use crate::memory::{EXPOSED_END, EXPOSED_START, MapError, PAGE};
use x86_64::structures::paging::PageTableFlags;

/// What is shown, and the tables for it.
pub struct Exposed {
    /// Physical address of the directory for the whole GiB.
    directory: u64,
    tables: usize,
}

impl Exposed {
    /// Nothing yet. Takes a frame.
    pub fn new(pool: &mut FramePool) -> Option<Self> {
        Some(Self { directory: table(pool)?, tables: 1 })
    }

    /// Shows a frame at a page, in every address space that shows this. For good.
    pub fn show(&mut self, pool: &mut FramePool, va: u64, frame: &Frame) -> Result<(), MapError> {
        if !va.is_multiple_of(PAGE as u64) {
            return Err(MapError::Misaligned);
        }
        if !(EXPOSED_START..EXPOSED_END).contains(&va) {
            return Err(MapError::NotUser);
        }
        let above = walk::slot(self.directory, walk::index(va, 2));
        let leaves = match above.get() {
            Some((leaves, _)) => leaves,
            None => {
                let leaves = table(pool).ok_or(MapError::NoFrames)?;
                self.tables += 1;
                above.set(leaves, TABLE | PageTableFlags::USER_ACCESSIBLE);
                leaves
            }
        };
        let slot = walk::slot(leaves, walk::index(va, 1));
        if slot.get().is_some() {
            return Err(MapError::Occupied);
        }
        frame::mapped(frame.number());
        let read = PageTableFlags::PRESENT | PageTableFlags::USER_ACCESSIBLE;
        slot.set(frame.number().0 * PAGE as u64, read | paging::no_execute());
        Ok(())
    }

    /// Frames that the tables take.
    pub fn table_frames(&self) -> usize {
        self.tables
    }

    /// For the entry that points here.
    pub(super) fn directory(&self) -> u64 {
        self.directory
    }
}

/// A zeroed frame for a table, for good: its physical address.
fn table(pool: &mut FramePool) -> Option<u64> {
    let phys = pool.take()?.number().0 * PAGE as u64;
    paging::zero_table(phys);
    Some(phys)
}
