//! Pages and positions of the vector of slices, taken by force.
//!
//! Those that were allocated last go first: what an environment was started with, it keeps longest.
//! One pass over its pages finds the newest few; the card is polled on the way. A page goes with
//! all its mappings, wherever they are, and all capabilities to it; each place where it was mapped
//! has an entry in the vector of whoever mapped it. What the card still sends from it is finished
//! before anybody gets the frame (see [`crate::pages`]).

use abi::revocation::{Entry, Kind};

use crate::Kernel;
use crate::environment::EnvironmentId;
use crate::limits::{REAP_BATCH, REPOSSESS_BATCH};
use crate::pages::PageId;

/// Pages that are looked at between two polls of the card.
const LOOK_BATCH: usize = 4 * REAP_BATCH;

/// The newest few pages found so far, oldest of them first.
struct Newest {
    pages: [Option<PageId>; REPOSSESS_BATCH],
    wanted: usize,
}

impl Newest {
    fn offer(&mut self, id: PageId) {
        let Some(places) = self.pages.get_mut(..self.wanted) else { return };
        let oldest = places.iter_mut().min_by_key(|place| place.map_or(0, |it| it.serial));
        if let Some(place) = oldest
            && place.is_none_or(|it| it.serial < id.serial)
        {
            *place = Some(id);
        }
    }
}

impl Kernel {
    /// Takes the newest pages, at most `left` and at most a batch; whether it can go on.
    pub(super) fn take_pages(&mut self, id: EnvironmentId, left: u16) -> bool {
        let newest = self.newest_pages(id, usize::from(left).min(REPOSSESS_BATCH));
        let mut found = false;
        for page in newest.pages.into_iter().flatten() {
            self.take_page(id, page);
            found = true;
        }
        // Only pages under rings are left: their binding goes first.
        found || self.take_binding_for_pages(id)
    }

    fn newest_pages(&mut self, id: EnvironmentId, wanted: usize) -> Newest {
        let mut newest = Newest { pages: [None; REPOSSESS_BATCH], wanted };
        let mut from = 0;
        loop {
            let Some(environment) = self.environments.get(id) else { return newest };
            let mut looked = 0;
            for &frame in environment.pages.range(from..).take(LOOK_BATCH) {
                (from, looked) = (frame + 1, looked + 1);
                let page = self.memory.at(frame).filter(|page| page.pins == 0);
                if let Some(page) = page {
                    newest.offer(PageId { frame, serial: page.serial });
                }
            }
            if looked < LOOK_BATCH {
                return newest;
            }
            self.poll_card();
        }
    }

    fn take_page(&mut self, owner: EnvironmentId, id: PageId) {
        let backing = self.save_contents(owner, id).map_or(0, |handle| handle.0);
        let entry = Entry {
            kind: Kind::Pages as u32,
            name: id.frame,
            detail: u64::from(owner.0),
            ..Entry::default()
        };
        let mut at_home = 0;
        let mut at = 0;
        while let Some(&(place, address)) =
            self.memory.page(id).and_then(|page| page.mappings.get(at))
        {
            let home = place == owner;
            at_home += u32::from(home);
            let backing = if home { backing } else { 0 };
            self.note(place, Entry { address, backing, ..entry });
            at += 1;
        }
        if at_home == 0 {
            self.note(owner, Entry { backing, ..entry });
        }
        self.free_page(id.frame);
    }

    /// Takes the last position of the vector of slices that is the environment's; whether there
    /// may be another.
    pub(super) fn take_last_slice(&mut self, id: EnvironmentId) -> bool {
        let owners = self.scheduler.owners().enumerate();
        let last = owners.filter(|&(_, owner)| owner == Some(id)).last();
        let Some((position, _)) = last else { return false };
        self.scheduler.free(position);
        let kind = Kind::Slices as u32;
        self.note(id, Entry { kind, name: position as u64, ..Entry::default() });
        self.returned(id, Kind::Slices);
        true
    }

    /// Whether a page is one of those that are never taken.
    pub(super) fn is_vital(&self, owner: EnvironmentId, frame: u64) -> bool {
        self.environments.get(owner).is_none_or(|environment| {
            environment.repossession.is_vital(frame) || environment.upcalls.pins(frame)
        })
    }
}
