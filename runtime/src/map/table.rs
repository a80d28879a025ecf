//! A hash table with room for all its entries from the start.
//!
//! Entries are numbered slots. A slot is in one bucket's chain and in one list from the newest to
//! the oldest, or else it is free. No chain is longer than [`CHAIN_MAX`]: the hash is keyed, so a
//! longer one does not happen by chance, and the bound makes every operation's work fixed.
//!
//! Everything is in atomic words ([`super::words`]): whatever two users at the same time make of
//! it, every index that is read is looked up with a check, and every walk has an end.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::keyed::{Keyed, Secret};
use super::words::{Growing, Numbers, Words, word};

/// No slot.
pub(super) const NIL: u32 = u32::MAX;

/// Entries in one bucket at most. With as many buckets as entries and a random hash, a million
/// entries have a chain this long with a probability below 2^-60.
pub(super) const CHAIN_MAX: usize = 24;

/// Keys and where they are.
#[derive(Debug)]
pub(super) struct Table {
    keyed: Keyed,
    /// Words of a key.
    key_words: usize,
    keys: Words,
    /// The next slot of the chain, or of the free list.
    chain: Numbers,
    older: Numbers,
    newer: Numbers,
    /// First slot of each chain; a power of two of them.
    buckets: Numbers,
    bucket_mask: u32,
    newest: AtomicU32,
    oldest: AtomicU32,
    free: AtomicU32,
    count: AtomicU32,
}

/// A table whose memory is being filled.
#[derive(Debug)]
pub(super) struct TableMaker {
    secret: Secret,
    key_words: usize,
    capacity: u32,
    keys: Growing<AtomicU64>,
    numbers: [Growing<AtomicU32>; 3],
    buckets: Growing<AtomicU32>,
}

/// Buckets for so many entries.
fn buckets_for(capacity: u32) -> usize {
    (capacity as usize).next_power_of_two()
}

/// Heap that a table takes, in bytes.
pub(super) fn heap_bytes(key_words: usize, capacity: u32) -> usize {
    capacity as usize * (8 * key_words + 3 * 4) + 4 * buckets_for(capacity)
}

impl TableMaker {
    /// Reserves everything; `None` if there is no memory.
    pub(super) fn reserve(key_words: usize, capacity: u32, secret: Secret) -> Option<Self> {
        let slots = capacity as usize;
        Some(Self {
            secret,
            key_words,
            capacity,
            keys: Growing::reserve(slots * key_words)?,
            numbers: [Growing::reserve(slots)?, Growing::reserve(slots)?, Growing::reserve(slots)?],
            buckets: Growing::reserve(buckets_for(capacity))?,
        })
    }

    /// Fills at most so many words; true once all are there.
    pub(super) fn fill(&mut self, budget: &mut usize) -> bool {
        let [chain, others @ ..] = &mut self.numbers;
        let (capacity, nothing) = (self.capacity, |_| AtomicU32::new(NIL));
        // At first the free list is all slots in order.
        let next = |at: usize| if at as u32 + 1 < capacity { at as u32 + 1 } else { NIL };
        self.keys.fill(budget, |_| AtomicU64::new(0))
            && chain.fill(budget, |at| AtomicU32::new(next(at)))
            && others.iter_mut().all(|list| list.fill(budget, nothing))
            && self.buckets.fill(budget, nothing)
    }

    /// The table, once it is filled.
    pub(super) fn finish(self) -> Table {
        let [chain, older, newer] = self.numbers;
        Table {
            keyed: Keyed::new(self.secret),
            key_words: self.key_words,
            keys: self.keys.into(),
            chain: chain.into(),
            older: older.into(),
            newer: newer.into(),
            bucket_mask: buckets_for(self.capacity) as u32 - 1,
            buckets: self.buckets.into(),
            newest: AtomicU32::new(NIL),
            oldest: AtomicU32::new(NIL),
            free: AtomicU32::new(if self.capacity == 0 { NIL } else { 0 }),
            count: AtomicU32::new(0),
        }
    }
}

impl Table {
    /// Entries.
    pub(super) fn len(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether every slot is in use.
    pub(super) fn is_full(&self) -> bool {
        self.free.load(Ordering::Relaxed) == NIL
    }

    /// The slot of a key.
    pub(super) fn find(&self, key: &[u8]) -> Option<u32> {
        let mut slot = self.buckets.get(self.bucket(key));
        for _ in 0..CHAIN_MAX {
            if slot == NIL {
                return None;
            }
            if self.keys.holds(slot as usize * self.key_words, key) {
                return Some(slot);
            }
            slot = self.chain.get(slot);
        }
        None
    }

    /// The same for a key of one word.
    #[inline(always)]
    pub(super) fn find_word(&self, key: u64) -> Option<u32> {
        let mut slot = self.buckets.get(self.keyed.hash([key]) as u32 & self.bucket_mask);
        for _ in 0..CHAIN_MAX {
            if slot == NIL {
                return None;
            }
            if self.keys.get(slot as usize) == key {
                return Some(slot);
            }
            slot = self.chain.get(slot);
        }
        None
    }

    /// A slot for a key that is not in the table, as the newest; `None` if no slot is free.
    pub(super) fn insert(&self, key: &[u8]) -> Option<u32> {
        let slot = self.free.load(Ordering::Relaxed);
        if slot == NIL {
            return None;
        }
        let bucket = self.bucket(key);
        self.free.store(self.chain.get(slot), Ordering::Relaxed);
        self.keys.put(slot as usize * self.key_words, key);
        self.chain.set(slot, self.buckets.get(bucket));
        self.buckets.set(bucket, slot);
        self.link_newest(slot);
        self.count.store(self.len() + 1, Ordering::Relaxed);
        Some(slot)
    }

    /// Whether the chain that a key belongs to has no room, and if so its last slot.
    pub(super) fn crowded(&self, key: &[u8]) -> Option<u32> {
        let mut slot = self.buckets.get(self.bucket(key));
        for _ in 1..CHAIN_MAX {
            if slot == NIL {
                return None;
            }
            slot = self.chain.get(slot);
        }
        (slot != NIL).then_some(slot)
    }

    /// Takes an entry out; its slot is free. One that is not in the table is left alone.
    pub(super) fn remove(&self, slot: u32, key: &[u8]) {
        let bucket = self.bucket(key);
        let (mut before, mut here) = (NIL, self.buckets.get(bucket));
        for _ in 0..CHAIN_MAX {
            if here == slot || here == NIL {
                break;
            }
            (before, here) = (here, self.chain.get(here));
        }
        if here != slot || slot == NIL {
            return;
        }
        let next = self.chain.get(slot);
        if before == NIL {
            self.buckets.set(bucket, next);
        } else {
            self.chain.set(before, next);
        }
        self.unlink(slot);
        self.chain.set(slot, self.free.load(Ordering::Relaxed));
        self.free.store(slot, Ordering::Relaxed);
        self.count.store(self.len().saturating_sub(1), Ordering::Relaxed);
    }

    /// Makes an entry the newest.
    pub(super) fn renew(&self, slot: u32) {
        if self.newest.load(Ordering::Relaxed) != slot {
            self.unlink(slot);
            self.link_newest(slot);
        }
    }

    /// The entry that was made or renewed first.
    pub(super) fn oldest(&self) -> Option<u32> {
        Some(self.oldest.load(Ordering::Relaxed)).filter(|&slot| slot != NIL)
    }

    /// The entry made or renewed just after this one.
    pub(super) fn newer(&self, slot: u32) -> Option<u32> {
        Some(self.newer.get(slot)).filter(|&slot| slot != NIL)
    }

    /// Copies a slot's key.
    pub(super) fn key(&self, slot: u32, into: &mut [u8]) {
        self.keys.read(slot as usize * self.key_words * 8, into);
    }

    fn bucket(&self, key: &[u8]) -> u32 {
        self.keyed.hash(key.chunks(8).map(word)) as u32 & self.bucket_mask
    }

    fn link_newest(&self, slot: u32) {
        let before = self.newest.load(Ordering::Relaxed);
        self.older.set(slot, before);
        self.newer.set(slot, NIL);
        self.newest.store(slot, Ordering::Relaxed);
        if before == NIL {
            self.oldest.store(slot, Ordering::Relaxed);
        } else {
            self.newer.set(before, slot);
        }
    }

    fn unlink(&self, slot: u32) {
        let (older, newer) = (self.older.get(slot), self.newer.get(slot));
        if older == NIL {
            self.oldest.store(newer, Ordering::Relaxed);
        } else {
            self.newer.set(older, newer);
        }
        if newer == NIL {
            self.newest.store(older, Ordering::Relaxed);
        } else {
            self.older.set(newer, older);
        }
    }
}
