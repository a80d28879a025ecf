//! Pages and mappings of environments: the functions that keep all four tables in step.
//!
//! A page is in the frame table and in its owner's set; a mapping is in the page table, in the
//! page's list and in the environment's set. Nobody else changes any of them.

use abi::Status;
use machine::{MapError, ProtectError, Rights as MapRights};

use super::EnvironmentId;
use crate::Kernel;
use crate::limits::{MAPPING_COST, MAPPINGS_MAX, PAGE_COST, TABLE_FRAMES_WORST};
use crate::pages::PageId;
use crate::reserve::{Need, frames_of};

impl Kernel {
    /// Makes a zeroed page that `owner` pays for: any frame, or this one.
    ///
    /// # Errors
    /// [`Status::NoMemory`], or [`Status::NotFree`] for a frame that is not.
    pub(crate) fn allocate_page(
        &mut self,
        owner: EnvironmentId,
        wish: Option<u64>,
    ) -> Result<PageId, Status> {
        let need = Need { frames: 1, charge: frames_of(PAGE_COST), heap: PAGE_COST as usize };
        self.reserve(owner, need)?;
        let missing = if wish.is_some() { Status::NotFree } else { Status::NoMemory };
        let id = self.memory.allocate(owner, wish).ok_or(missing)?;
        if let Some(environment) = self.environments.get_mut(owner) {
            environment.pages.insert(id.frame);
            environment.account.pages += 1;
            environment.account.heap += PAGE_COST;
        }
        Ok(id)
    }

    /// Gives a page back: every mapping of it is broken first.
    pub(crate) fn free_page(&mut self, frame: u64) {
        self.break_mappings(frame);
        let Some(owner) = self.memory.at_mut(frame).map(|page| page.owner) else { return };
        let busy = self.network.is_in_flight(frame);
        self.memory.free(frame, busy);
        if let Some(environment) = self.environments.get_mut(owner) {
            environment.pages.remove(&frame);
            environment.account.pages = environment.account.pages.saturating_sub(1);
            environment.account.heap = environment.account.heap.saturating_sub(PAGE_COST);
        }
        self.returned(owner, abi::revocation::Kind::Pages);
    }

    /// Breaks every mapping of a page, wherever it is: from here on no address leads to it.
    pub(crate) fn break_mappings(&mut self, frame: u64) {
        let Some(page) = self.memory.at_mut(frame) else { return };
        for (place, address) in core::mem::take(&mut page.mappings) {
            if let Some(environment) = self.environments.get_mut(place) {
                environment.space.unmap(address);
                environment.mapped.remove(&address);
                environment.account.heap = environment.account.heap.saturating_sub(MAPPING_COST);
            }
        }
    }

    /// [`Kernel::bind_page`] with no more authority than the rights it is mapped with.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn map_page(
        &mut self,
        place: EnvironmentId,
        id: PageId,
        address: u64,
        rights: MapRights,
    ) -> Result<(), Status> {
        self.bind_page(place, id, address, (rights, rights))
    }

    /// Binds a page at an address of an environment, which pays for the page tables:
    /// with the first rights, and the authority to change them up to the second.
    ///
    /// # Errors
    /// [`Status::NoMemory`], [`Status::Limit`], [`Status::BadAddress`] (not in the user half),
    /// [`Status::BadArgument`] (misaligned), [`Status::Occupied`], [`Status::WriteAndExecute`],
    /// [`Status::WrongState`] if the environment has ended, [`Status::BadHandle`] if the page has.
    pub(crate) fn bind_page(
        &mut self,
        place: EnvironmentId,
        id: PageId,
        address: u64,
        rights: (MapRights, MapRights),
    ) -> Result<(), Status> {
        let need = Need {
            frames: TABLE_FRAMES_WORST,
            charge: frames_of(MAPPING_COST),
            heap: MAPPING_COST as usize,
        };
        self.reserve(place, need)?;
        let environment = self.environments.get_mut(place).ok_or(Status::WrongState)?;
        let (pool, page) = self.memory.pool_and_page(id).ok_or(Status::BadHandle)?;
        if page.mappings.len() >= MAPPINGS_MAX {
            return Err(Status::Limit);
        }
        let before = environment.space.table_frames();
        let mapped = environment.space.map_within(pool, address, &page.frame, rights);
        let after = environment.space.table_frames();
        environment.account.tables += (after - before) as u64;
        if mapped.is_ok() {
            page.mappings.push((place, address));
            environment.mapped.insert(address);
            environment.account.heap += MAPPING_COST;
        }
        self.memory.tables_changed(before, after);
        mapped.map_err(map_status)
    }

    /// Breaks the binding at an address of an environment.
    ///
    /// # Errors
    /// [`Status::WrongState`] if the environment has ended, [`Status::BadAddress`] if nothing is
    /// bound there.
    pub(crate) fn unmap_page(&mut self, place: EnvironmentId, address: u64) -> Result<(), Status> {
        let environment = self.environments.get_mut(place).ok_or(Status::WrongState)?;
        if !environment.mapped.remove(&address) {
            return Err(Status::BadAddress);
        }
        let frame = environment.space.unmap(address).ok_or(Status::BadAddress)?;
        environment.account.heap = environment.account.heap.saturating_sub(MAPPING_COST);
        if let Some(page) = self.memory.at_mut(frame.0) {
            page.mappings.retain(|&mapping| mapping != (place, address));
        }
        self.collect_page(frame.0);
        Ok(())
    }

    /// Gives bound pages other rights, within the authority that each was bound with.
    ///
    /// # Errors
    /// [`Status::BadAddress`] if one of them is not bound, [`Status::MissingRight`],
    /// [`Status::WriteAndExecute`], [`Status::BadArgument`]; nothing has changed then.
    pub(crate) fn protect_pages(
        &mut self,
        place: EnvironmentId,
        address: u64,
        pages: usize,
        rights: MapRights,
    ) -> Result<(), Status> {
        let environment = self.environments.get_mut(place).ok_or(Status::WrongState)?;
        environment.space.protect(address, pages, rights).map_err(protect_status)
    }

    /// Whether the whole of `bytes` bytes at `address` is mapped in the environment, writable if
    /// `write` says so. Bounded by the caller's own limit on `bytes`.
    pub(crate) fn reaches(
        &self,
        place: EnvironmentId,
        (address, bytes): (u64, u64),
        write: bool,
    ) -> bool {
        let Some(environment) = self.environments.get(place) else { return false };
        let page = abi::limits::PAGE_BYTES as u64;
        let Some(end) = address.checked_add(bytes) else { return false };
        let mut at = address;
        while at < end {
            match environment.space.lookup(at) {
                Some((_, rights)) if rights.write || !write => {}
                _ => return false,
            }
            at = (at / page + 1) * page;
        }
        true
    }
}

fn protect_status(error: ProtectError) -> Status {
    match error {
        ProtectError::Misaligned => Status::BadArgument,
        ProtectError::WriteAndExecute => Status::WriteAndExecute,
        ProtectError::NotMapped(_) => Status::BadAddress,
        ProtectError::NotAllowed(_) => Status::MissingRight,
    }
}

fn map_status(error: MapError) -> Status {
    match error {
        MapError::NotUser => Status::BadAddress,
        MapError::Misaligned => Status::BadArgument,
        MapError::Occupied => Status::Occupied,
        MapError::WriteAndExecute => Status::WriteAndExecute,
        MapError::NoFrames => Status::NoMemory,
    }
}
