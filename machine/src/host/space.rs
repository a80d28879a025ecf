//! Address spaces as maps from page to frame, with the checks and the costs of real page tables.

use super::exposed::{Exposed, Shown};
use super::memory::{Frame, FramePool, Page};
use crate::memory::{EXPOSED_START, FrameNumber, MapError, PAGE, ProtectError, Rights, UserFault};
use crate::memory::{check_mapping, check_protection, is_copied, page_runs};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

struct Mapping {
    number: FrameNumber,
    rights: Rights,
    most: Rights,
    page: Page,
}

/// One ring-3 address space.
pub struct AddressSpace {
    pages: BTreeMap<u64, Mapping>,
    /// A frame for each table that the real machine would have: (level, prefix of the address).
    tables: BTreeMap<(u8, u64), Frame>,
    shown: Shown,
}

impl AddressSpace {
    /// An empty space. Takes a frame for its root table.
    pub fn new(pool: &mut FramePool) -> Result<Self, MapError> {
        let root = pool.take().ok_or(MapError::NoFrames)?;
        let tables = BTreeMap::from([((4, 0), root)]);
        Ok(Self { pages: BTreeMap::new(), tables, shown: Shown::default() })
    }

    /// Shows here what is exposed everywhere. Takes up to one frame for a table.
    pub fn expose(&mut self, pool: &mut FramePool, what: &Exposed) -> Result<(), MapError> {
        self.table(pool, (3, EXPOSED_START >> 39))?;
        self.shown = what.shown.clone();
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
        if self.pages.contains_key(&va) {
            return Err(MapError::Occupied);
        }
        for level in [3, 2, 1] {
            self.table(pool, (level, va >> (12 + 9 * u32::from(level))))?;
        }
        let mapping = Mapping { number: frame.number(), rights, most, page: frame.page.clone() };
        self.pages.insert(va, mapping);
        Ok(())
    }

    /// Gives `pages` mapped pages from `va` on these rights: all of them, or none on an error.
    pub fn protect(&mut self, va: u64, pages: usize, rights: Rights) -> Result<(), ProtectError> {
        check_protection(va, rights)?;
        let all = (0..pages as u64).map(|page| va.saturating_add(page * PAGE as u64));
        for va in all.clone() {
            let mapping = self.pages.get(&va).ok_or(ProtectError::NotMapped(va))?;
            if !is_within(rights, mapping.most) {
                return Err(ProtectError::NotAllowed(va));
            }
        }
        for va in all {
            if let Some(mapping) = self.pages.get_mut(&va) {
                mapping.rights = rights;
            }
        }
        Ok(())
    }

    /// Unmaps a page, and says which frame was there.
    pub fn unmap(&mut self, va: u64) -> Option<FrameNumber> {
        self.pages.remove(&va).map(|mapping| mapping.number)
    }

    /// What is mapped at the page that holds this address.
    pub fn lookup(&self, va: u64) -> Option<(FrameNumber, Rights)> {
        let va = va & !(PAGE as u64 - 1);
        let own = self.pages.get(&va).map(|mapping| (mapping.number, mapping.rights));
        own.or_else(|| self.shown(va).map(|(number, _)| (number, Rights::default())))
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

    fn page(&self, address: u64, write: bool) -> Result<Page, UserFault> {
        let fault = UserFault { address };
        let va = address & !(PAGE as u64 - 1);
        if !is_copied(address) {
            return Err(fault);
        }
        let own = self.pages.get(&va);
        let own = own.map(|mapping| (mapping.page.clone(), mapping.rights.write));
        let found = own.or_else(|| self.shown(va).map(|(_, page)| (page, false)));
        found.filter(|(_, writable)| *writable || !write).map(|(page, _)| page).ok_or(fault)
    }

    fn shown(&self, va: u64) -> Option<(FrameNumber, Page)> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).get(&va).cloned()
    }

    fn table(&mut self, pool: &mut FramePool, key: (u8, u64)) -> Result<(), MapError> {
        if let Entry::Vacant(place) = self.tables.entry(key) {
            place.insert(pool.take().ok_or(MapError::NoFrames)?);
        }
        Ok(())
    }
}

/// Whether a page mapped with `most` authority may be given `rights`.
fn is_within(rights: Rights, most: Rights) -> bool {
    (most.write || !rights.write) && (most.execute || !rights.execute)
}
