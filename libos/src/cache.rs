//! A cache of pages that can be asked for some of them.
//!
//! Blocks of a store live in pages of the program's own, in its paged range. Asked for pages, the
//! cache gives those back that cost nothing first: empty ones, then clean ones, the least recently
//! used first; dirty ones only after they were written back. A page that was taken by force leaves
//! a hole: the block is read from the store again, without what had not been written back.
//!
//! Nothing here allocates, so that a `Revoke` handler may call [`Cache::give_back`]. The store is
//! the caller's: it is asked for a block's words and told of changed ones, word by word.

use abi::limits::PAGE_BYTES;
use abi::{Rights, Status};

use crate::capability::{Env, Page};
use crate::layout::PAGED;
use crate::sys::paged;

/// Pages that a cache holds at most.
pub const SLOTS_MAX: usize = 64;
/// Words in a block.
pub const WORDS: usize = PAGE_BYTES / 8;

/// Where blocks come from and go to.
pub trait Store {
    /// A word of a block.
    fn read(&mut self, block: u64, word: usize) -> u64;
    /// A changed word of a block.
    fn write(&mut self, block: u64, word: usize, value: u64);
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    page: Page,
    /// The block in it, if there is one.
    block: Option<u64>,
    dirty: bool,
    used: u64,
}

/// What was given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Pages that held nothing, or what the store has as well.
    pub clean: usize,
    /// Pages that had to be written back.
    pub dirty: usize,
}

/// The cache. Slot `i` is the page at `PAGED + i * 4096`.
#[derive(Debug)]
pub struct Cache {
    own: Env,
    slots: [Option<Slot>; SLOTS_MAX],
    /// Pages that it may have.
    room: usize,
    clock: u64,
    /// Blocks that were in the cache when they were wanted, and those that were not.
    pub hits: u64,
    /// See `hits`.
    pub misses: u64,
    /// Dirty pages that were taken before they were written back.
    pub lost: u64,
}

impl Cache {
    /// An empty cache of at most `room` pages, which it takes when it needs them.
    pub const fn new(own: Env, room: usize) -> Cache {
        let slots = [None; SLOTS_MAX];
        Cache { own, slots, room, clock: 0, hits: 0, misses: 0, lost: 0 }
    }

    /// Pages that it holds.
    pub fn pages(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    /// A word of a block.
    ///
    /// # Errors
    /// `NoMemory` if the cache has no page and gets none.
    pub fn read(&mut self, store: &mut dyn Store, at: (u64, usize)) -> Result<u64, Status> {
        let slot = self.find(store, at.0)?;
        Ok(paged::load(address(slot, at.1)))
    }

    /// Changes a word of a block; the store hears of it when the page goes.
    ///
    /// # Errors
    /// As [`Cache::read`].
    pub fn write(
        &mut self,
        store: &mut dyn Store,
        at: (u64, usize),
        value: u64,
    ) -> Result<(), Status> {
        let slot = self.find(store, at.0)?;
        paged::store(address(slot, at.1), value);
        if let Some(Some(slot)) = self.slots.get_mut(slot) {
            slot.dirty = true;
        }
        Ok(())
    }

    /// Gives so many pages back, those first that cost nothing, and has room for fewer.
    pub fn give_back(&mut self, store: &mut dyn Store, pages: usize) -> Given {
        let mut given = Given::default();
        for _ in 0..pages {
            let cheapest = self.cheapest();
            let Some((place, slot)) = cheapest else { break };
            if slot.dirty {
                self.clean(store, place);
                given.dirty += 1;
            } else {
                given.clean += 1;
            }
            // The page was ours and nothing else uses it; if it was taken meanwhile it is gone.
            let _ = slot.page.free();
            self.forget(place);
            self.room = self.room.saturating_sub(1).max(1);
        }
        given
    }

    /// The page that was mapped at `address` was taken: whether it was the cache's.
    pub fn taken(&mut self, address: u64) -> bool {
        let offset = address.wrapping_sub(PAGED) / PAGE_BYTES as u64;
        let place = usize::try_from(offset).unwrap_or(usize::MAX);
        let Some(Some(slot)) = self.slots.get(place) else { return false };
        self.lost += u64::from(slot.dirty);
        // The kernel has broken the mapping and the capability.
        self.forget(place);
        self.room = self.room.saturating_sub(1).max(1);
        true
    }

    fn forget(&mut self, place: usize) {
        if let Some(slot) = self.slots.get_mut(place) {
            *slot = None;
        }
    }

    /// The slot that costs least to give up: empty, then clean, then dirty; the longest unused.
    fn cheapest(&self) -> Option<(usize, Slot)> {
        let held =
            self.slots.iter().enumerate().filter_map(|(place, slot)| Some((place, (*slot)?)));
        held.min_by_key(|(_, slot)| (slot.dirty, slot.block.is_some(), slot.used))
    }

    /// The slot with the block in it.
    fn find(&mut self, store: &mut dyn Store, block: u64) -> Result<usize, Status> {
        self.clock += 1;
        let clock = self.clock;
        let holds = |slot: &Option<Slot>| slot.is_some_and(|slot| slot.block == Some(block));
        if let Some(place) = self.slots.iter().position(holds) {
            self.hits += 1;
            if let Some(Some(slot)) = self.slots.get_mut(place) {
                slot.used = clock;
            }
            return Ok(place);
        }
        self.misses += 1;
        let place = self.make_room(store)?;
        for word in 0..WORDS {
            paged::store(address(place, word), store.read(block, word));
        }
        if let Some(Some(slot)) = self.slots.get_mut(place) {
            *slot = Slot { block: Some(block), dirty: false, used: clock, ..*slot };
        }
        Ok(place)
    }

    /// A slot whose contents may be replaced: a new page, or the cheapest.
    fn make_room(&mut self, store: &mut dyn Store) -> Result<usize, Status> {
        let fresh = if self.pages() < self.room.min(SLOTS_MAX) { self.grow().ok() } else { None };
        if let Some(place) = fresh {
            return Ok(place);
        }
        let (place, slot) = self.cheapest().ok_or(Status::NoMemory)?;
        if slot.dirty {
            self.clean(store, place);
        }
        Ok(place)
    }

    fn grow(&mut self) -> Result<usize, Status> {
        let place = self.slots.iter().position(Option::is_none).ok_or(Status::Limit)?;
        let page = Page::alloc(self.own)?;
        if let Err(status) =
            paged::map(self.own, page, address(place, 0), Rights::READ | Rights::WRITE)
        {
            // The refusal to map it is the one to report.
            let _ = page.free();
            return Err(status);
        }
        if let Some(slot) = self.slots.get_mut(place) {
            *slot = Some(Slot { page, block: None, dirty: false, used: 0 });
        }
        Ok(place)
    }

    /// Writes a dirty slot back.
    fn clean(&mut self, store: &mut dyn Store, place: usize) {
        let Some(Some(slot)) = self.slots.get_mut(place) else { return };
        for (word, block) in (0..WORDS).zip(core::iter::repeat(slot.block)) {
            // A page that is taken meanwhile is lost from here on, not read as zeros.
            let value = paged::probe_load(address(place, word));
            let (Some(block), Some(value)) = (block, value) else {
                self.lost += 1;
                break;
            };
            store.write(block, word, value);
        }
        slot.dirty = false;
    }
}

fn address(place: usize, word: usize) -> u64 {
    PAGED + (place * PAGE_BYTES + word * 8) as u64
}

const _: () = assert!(PAGED + ((SLOTS_MAX * PAGE_BYTES) as u64) <= crate::layout::PAGED_END);

#[cfg(test)]
mod tests {
    use super::{Cache, Given, Store};
    use crate::capability::Env;
    use crate::layout::PAGED;
    use crate::sys::{Request, host};
    use abi::{Call, Handle, Status};
    use core::cell::RefCell;
    use std::rc::Rc;
    use std::vec::Vec;

    struct Disk(Vec<u64>);

    impl Store for Disk {
        fn read(&mut self, _: u64, _: usize) -> u64 {
            0
        }
        fn write(&mut self, block: u64, _: usize, _: u64) {
            if self.0.last() != Some(&block) {
                self.0.push(block);
            }
        }
    }

    /// A kernel with so many pages, which remembers what was freed.
    fn kernel(mut pages: u64) -> (host::Guard, Rc<RefCell<Vec<u64>>>) {
        let freed = Rc::new(RefCell::new(Vec::new()));
        let log = freed.clone();
        let mut next = 1 << 32;
        let guard = host::script(move |request| match request {
            Request::Plain { call: Call::PageAlloc, .. } if pages == 0 => {
                (Status::NoMemory as u64, 0)
            }
            Request::Plain { call: Call::PageAlloc, .. } => {
                (pages, next) = (pages - 1, next + 1);
                (0, next)
            }
            Request::Plain { call: Call::PageFree, args } => {
                log.borrow_mut().push(args[0] - (1 << 32));
                (0, 0)
            }
            _ => (0, 0),
        });
        (guard, freed)
    }

    #[test]
    fn clean_pages_go_first_and_dirty_ones_are_written_back() {
        let (_guard, freed) = kernel(4);
        let mut disk = Disk(Vec::new());
        let mut cache = Cache::new(Env(Handle(1)), 8);
        for block in 0..4 {
            cache.read(&mut disk, (block, 0)).unwrap();
        }
        for block in [0, 2] {
            cache.write(&mut disk, (block, 3), 7).unwrap();
        }
        cache.read(&mut disk, (1, 0)).unwrap();
        assert_eq!((cache.hits, cache.misses, cache.pages()), (3, 4, 4));
        // Block 3 was used before block 1; both are clean.
        assert_eq!(cache.give_back(&mut disk, 3), Given { clean: 2, dirty: 1 });
        assert_eq!(*freed.borrow(), [4, 2, 1]);
        assert_eq!(disk.0, [0]);
        assert_eq!(cache.pages(), 1);
        // It goes on with what it has.
        cache.read(&mut disk, (9, 0)).unwrap();
        assert_eq!(disk.0, [0, 2]);
    }

    #[test]
    fn a_page_that_was_taken_is_a_hole_and_a_dirty_one_a_loss() {
        let (_guard, freed) = kernel(3);
        let mut disk = Disk(Vec::new());
        let mut cache = Cache::new(Env(Handle(1)), 3);
        for block in 0..3 {
            cache.write(&mut disk, (block, 0), 1).unwrap();
        }
        assert!(cache.taken(PAGED + 4096));
        assert!(!cache.taken(PAGED + 4096) && !cache.taken(PAGED + (64 << 12)) && !cache.taken(0));
        assert_eq!((cache.pages(), cache.lost), (2, 1));
        assert!(freed.borrow().is_empty());
        assert_eq!(cache.give_back(&mut disk, 9), Given { clean: 0, dirty: 2 });
        assert_eq!(cache.read(&mut disk, (0, 0)), Err(Status::NoMemory));
    }
}
