//! Address spaces as maps from page to frame, with the checks and the costs of real page tables.

use super::memory::{Frame, FramePool, Page};
use crate::memory::{FrameNumber, MapError, PAGE, Rights, UserFault};
use crate::memory::{check_mapping, is_user, page_runs};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::Ordering;

struct Mapping {
    number: FrameNumber,
    rights: Rights,
    page: Page,
}

/// One ring-3 address space.
pub struct AddressSpace {
    pages: BTreeMap<u64, Mapping>,
    /// A frame for each table that the real machine would have: (level, prefix of the address).
    tables: BTreeMap<(u8, u64), Frame>,
}

impl AddressSpace {
    /// An empty space. Takes a frame for its root table.
    pub fn new(pool: &mut FramePool) -> Result<Self, MapError> {
        let root = pool.take().ok_or(MapError::NoFrames)?;
        Ok(Self { pages: BTreeMap::new(), tables: BTreeMap::from([((4, 0), root)]) })
    }

    /// Maps a frame at a page. Takes up to three frames for tables, and keeps them until `destroy`.
    pub fn map(
        &mut self,
        pool: &mut FramePool,
        va: u64,
        frame: &Frame,
        rights: Rights,
    ) -> Result<(), MapError> {
        check_mapping(va, rights)?;
        if self.pages.contains_key(&va) {
            return Err(MapError::Occupied);
        }
        for level in [3, 2, 1] {
            let key = (level, va >> (12 + 9 * u32::from(level)));
            if let Entry::Vacant(place) = self.tables.entry(key) {
                place.insert(pool.take().ok_or(MapError::NoFrames)?);
            }
        }
        let mapping = Mapping { number: frame.number(), rights, page: frame.page.clone() };
        self.pages.insert(va, mapping);
        Ok(())
    }

    /// Unmaps a page, and says which frame was there.
    pub fn unmap(&mut self, va: u64) -> Option<FrameNumber> {
        self.pages.remove(&va).map(|mapping| mapping.number)
    }

    /// What is mapped at the page that holds this address.
    pub fn lookup(&self, va: u64) -> Option<(FrameNumber, Rights)> {
        let mapping = self.pages.get(&(va & !(PAGE as u64 - 1)))?;
        Some((mapping.number, mapping.rights))
    }

    /// Frames that its page tables take.
    pub fn table_frames(&self) -> usize {
        self.tables.len()
    }

    /// Gives the page tables back. Mapped frames are their owners' to give.
    pub fn destroy(self, pool: &mut FramePool) {
        drop(self.pages);
        self.tables.into_values().for_each(|frame| pool.give(frame));
    }

    /// Copies out of the space, as ring 3 could read it.
    pub fn read(&self, va: u64, into: &mut [u8]) -> Result<(), UserFault> {
        for (address, at, len) in page_runs(va, into.len()) {
            let page = self.page(address, false)?;
            let bytes = &page[address as usize % PAGE..][..len];
            for (to, from) in into[at..at + len].iter_mut().zip(bytes) {
                *to = from.load(Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Copies into the space, as ring 3 could write it.
    pub fn write(&self, va: u64, from: &[u8]) -> Result<(), UserFault> {
        for (address, at, len) in page_runs(va, from.len()) {
            let page = self.page(address, true)?;
            let bytes = &page[address as usize % PAGE..][..len];
            for (to, from) in bytes.iter().zip(&from[at..at + len]) {
                to.store(*from, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn page(&self, address: u64, write: bool) -> Result<&Page, UserFault> {
        let fault = UserFault { address };
        if !is_user(address) {
            return Err(fault);
        }
        let mapping = self.pages.get(&(address & !(PAGE as u64 - 1))).ok_or(fault)?;
        if write && !mapping.rights.write { Err(fault) } else { Ok(&mapping.page) }
    }
}
