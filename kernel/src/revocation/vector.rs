//! What an environment registered for the case that something is taken: its vital pages, its
//! vector, and where contents should go; and how entries get into the vector.
//!
//! Registration is a secure binding, as with save areas: pages are looked up once and pinned, and
//! the kernel writes through the frame. Backing pages belong to somebody else, are not pinned, and
//! are looked at again when one is used.

use abi::revocation::{
    CONSUMED, ENTRIES, ENTRY_BYTES, ENTRY_FIRST, Entry, LOST, PRODUCED, VITAL_MAX,
};
use abi::ring::EVENT_REPOSSESS;
use abi::{Handle, Status, upcall};
use alloc::collections::VecDeque;
use zerocopy::IntoBytes;

use crate::Kernel;
use crate::environment::EnvironmentId;
use crate::pages::{Memory, PageId};
use crate::upcall::Cause;

/// What an environment has registered.
#[derive(Debug, Default)]
pub(crate) struct Repossession {
    /// Frame of the vector.
    vector: Option<u64>,
    produced: u32,
    lost: u32,
    /// Entries that the environment was not told about yet.
    news: bool,
    vital: [Option<u64>; VITAL_MAX],
    backing: VecDeque<(PageId, Handle)>,
}

impl Repossession {
    /// Whether the frame is one that is never taken, as far as it was registered here.
    pub(crate) fn is_vital(&self, frame: u64) -> bool {
        self.vector == Some(frame) || self.vital.contains(&Some(frame))
    }

    /// Frames that are pinned on its behalf.
    fn pinned(&self) -> impl Iterator<Item = u64> {
        let vital = self.vital;
        self.vector.into_iter().chain(vital.into_iter().flatten())
    }

    /// Puts an entry into the vector, or counts it as lost.
    fn append(&mut self, memory: &Memory, entry: &Entry) {
        self.news = true;
        let Some(page) = self.vector.and_then(|frame| memory.frame(frame)) else { return };
        let waiting = self.produced.wrapping_sub(page.load_u32(CONSUMED));
        if waiting >= ENTRIES {
            self.lost = self.lost.wrapping_add(1);
            page.store_u32(LOST, self.lost);
            return;
        }
        let place = self.produced % ENTRIES;
        page.write(ENTRY_FIRST + place as usize * ENTRY_BYTES, entry.as_bytes());
        self.produced = self.produced.wrapping_add(1);
        page.store_u32(PRODUCED, self.produced);
    }
}

impl Kernel {
    /// Names the pages that are never taken, in the place of those named before.
    pub(crate) fn set_vital(&mut self, id: EnvironmentId, frames: [Option<u64>; VITAL_MAX]) {
        frames.into_iter().flatten().for_each(|frame| self.pin(frame));
        let Some(environment) = self.environments.get_mut(id) else { return };
        let before = core::mem::replace(&mut environment.repossession.vital, frames);
        before.into_iter().flatten().for_each(|frame| self.unpin(frame));
    }

    /// Names the vector's frame and the backing pages, in the place of what was there. The indices
    /// begin again at zero.
    pub(crate) fn set_repossession(
        &mut self,
        id: EnvironmentId,
        vector: Option<u64>,
        backing: VecDeque<(PageId, Handle)>,
    ) {
        if let Some(frame) = vector {
            self.pin(frame);
        }
        let Some(environment) = self.environments.get_mut(id) else { return };
        let registered = &mut environment.repossession;
        let before = core::mem::replace(&mut registered.vector, vector);
        (registered.produced, registered.lost) = (0, 0);
        registered.backing = backing;
        if let Some(page) = vector.and_then(|frame| self.memory.frame(frame)) {
            [PRODUCED, CONSUMED, LOST].iter().for_each(|&at| page.store_u32(at, 0));
        }
        if let Some(frame) = before {
            self.unpin(frame);
        }
    }

    /// The environment ends.
    pub(super) fn forget_repossession(&mut self, id: EnvironmentId) {
        let Some(environment) = self.environments.get_mut(id) else { return };
        let registered = core::mem::take(&mut environment.repossession);
        registered.pinned().for_each(|frame| self.unpin(frame));
    }

    /// Notes in an environment's vector that something was taken.
    pub(super) fn note(&mut self, id: EnvironmentId, entry: Entry) {
        let at_ns = machine::time::now_ns();
        let entry = Entry { request: self.forcing(), at_ns, ..entry };
        if let Some(environment) = self.environments.get_mut(id) {
            environment.repossession.append(&self.memory, &entry);
        }
    }

    /// Copies a page's contents into the next backing page that is still there; its handle.
    pub(super) fn save_contents(&mut self, owner: EnvironmentId, from: PageId) -> Option<Handle> {
        const PIECE: usize = 512;
        let environment = self.environments.get_mut(owner)?;
        while let Some((to, handle)) = environment.repossession.backing.pop_front() {
            let (Some(from), Some(to)) = (self.memory.page(from), self.memory.page(to)) else {
                continue;
            };
            let mut piece = [0; PIECE];
            for at in (0..abi::limits::PAGE_BYTES).step_by(PIECE) {
                from.frame.read(at, &mut piece);
                to.frame.write(at, &piece);
            }
            return Some(handle);
        }
        None
    }

    /// Tells everybody from whom something was taken.
    pub(crate) fn raise_repossessions(&mut self) {
        loop {
            let told = self.environments.iter_mut().find(|(_, it)| it.repossession.news);
            let Some((id, environment)) = told else { return };
            environment.repossession.news = false;
            let (produced, lost) =
                (environment.repossession.produced, environment.repossession.lost);
            self.post(id, EVENT_REPOSSESS);
            let detail = u64::from(produced);
            let cause = Cause { detail, argument: u64::from(lost), ..Cause::default() };
            self.raise(id, upcall::Kind::Repossess, cause);
        }
    }

    /// The frame of a page that the caller owns, for a vital page or the vector.
    ///
    /// # Errors
    /// As for any page handle; [`Status::BadArgument`] for a page that is somebody else's.
    pub(crate) fn own_frame(
        &self,
        caller: EnvironmentId,
        handle: Handle,
        rights: abi::Rights,
    ) -> Result<u64, Status> {
        let id = self.page_of(caller, handle, rights)?;
        let owner = self.memory.page(id).map(|page| page.owner);
        if owner == Some(caller) { Ok(id.frame) } else { Err(Status::BadArgument) }
    }
}
