//! Entries in tables: found, put in, taken out.
//!
//! The idea: an entry of a hashed lane is in the first of the two buckets that its hash names, or,
//! if that was full, in the second, and the first is marked. If both are full, one occupant of the
//! first moves to its other bucket; if none can, the table grows. All of that only moves entries
//! about and never changes a verdict, so it may be done while a binding is merely being prepared.

use runtime::native::dispatch::{Bank, Layout};

use super::entry::Entry;
use super::merge::Merged;
use super::room::{Next, Places, slots_of};
use crate::error::EngineError;
use crate::limits::{SLOTS_FREE, SLOTS_PER_ENTRY_MAX, ZEROED_PER_STEP};
use crate::plan::{Key, Lane};

/// The key in a slot of a bank.
pub(super) fn key_in(lane: &Lane, bank: &Bank, slot: usize) -> Key {
    let mut key = Key::default();
    if lane.layout == Layout::Direct {
        let number = bank.first().wrapping_add(slot as u16);
        key[0] = number.swap_bytes().into();
        return key;
    }
    for (at, word) in key.iter_mut().enumerate().take(lane.words()) {
        *word = bank.key_word(slot, at);
    }
    key
}

impl Merged {
    /// Finds or makes the entry of a key; a new one is in its table, with value 0.
    pub(super) fn enter(&mut self, shape: u32, values: &[u8]) -> Result<u32, EngineError> {
        // It may still be in a lane that closes.
        for at in 0..self.rooms.len() {
            let (Some(room), Some(lane)) = (self.rooms.get(at), self.plan.lanes.get(at)) else {
                continue;
            };
            if room.shape == shape && lane.fits(values) {
                let key = lane.pack(values);
                if let Some(found) = self.find(at, &key, lane.hash(&self.plan.key, &key))? {
                    return Ok(found);
                }
            }
        }
        let at = self.fitting(shape, values).ok_or(EngineError::NoMemory)?;
        let (Some(room), Some(lane)) = (self.rooms.get(at), self.plan.lanes.get(at)) else {
            return Err(EngineError::NoMemory);
        };
        let key = lane.pack(values);
        let hash = lane.hash(&self.plan.key, &key);
        let index = self.entries.insert(Entry::new(room.number))?;
        if let Err(error) = self.put(at, index, &key, hash) {
            self.entries.remove(index);
            return Err(error);
        }
        Ok(index)
    }

    /// The entry of a key in the lane at a position.
    ///
    /// # Errors
    /// [`EngineError::Collisions`] if another key has the same digest.
    pub(super) fn find(&self, at: usize, key: &Key, hash: u64) -> Result<Option<u32>, EngineError> {
        let (Some(lane), Some(table), Some(room)) =
            (self.plan.lanes.get(at), self.table(at), self.rooms.get(at))
        else {
            return Ok(None);
        };
        let old = table.old().zip(room.old.as_ref());
        for (bank, places) in core::iter::once((table.current(), &room.current)).chain(old) {
            let found = find_in(lane, (bank, places), key, hash)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Puts an entry into the lane at a position; it may come from nowhere or from elsewhere.
    pub(super) fn put(
        &mut self,
        at: usize,
        index: u32,
        key: &Key,
        hash: u64,
    ) -> Result<(), EngineError> {
        let slot = match self.spot(at, key, hash) {
            Some(slot) => slot,
            None => {
                self.grow(at, key)?;
                let again = self.spot(at, key, hash);
                again.ok_or(EngineError::Collisions { limit: SLOTS_PER_ENTRY_MAX })?
            }
        };
        self.write(at, slot, index, (key, hash));
        if let Some(room) = self.rooms.get_mut(at) {
            room.entries += 1;
            let number = Lane::number(key);
            (room.low, room.high) = (room.low.min(number), room.high.max(number));
            let hashed = self.plan.lanes.get(at).is_some_and(|lane| lane.layout.is_hashed());
            if hashed && room.old.is_none() && room.is_crowded(room.entries) {
                // Ahead of need: if there is no memory for it now, there still are free slots.
                self.begin_to_grow(at, key);
            }
        }
        Ok(())
    }

    /// A free slot of the current bank for a key, after moving one other if need be.
    pub(super) fn spot(&mut self, at: usize, key: &Key, hash: u64) -> Option<usize> {
        let lane = self.plan.lanes.get(at)?;
        let bank = self.dispatcher.as_ref()?.tables().get(at)?.current();
        let places = &self.rooms.get(at)?.current;
        match lane.layout {
            Layout::Single => places.occupant(0).is_none().then_some(0),
            Layout::Direct => bank.slot_of(Lane::number(key)),
            Layout::Plain | Layout::Wide { .. } => {
                let [first, second] = bank.buckets_of(hash);
                if let Some(slot) = places.free_in(first) {
                    return Some(slot);
                }
                if let Some(slot) = places.free_in(second) {
                    self.spill(at, first, true);
                    return Some(slot);
                }
                let in_first = self.make_room(at, first);
                if in_first.is_some() || first == second {
                    return in_first;
                }
                let in_second = self.make_room(at, second)?;
                self.spill(at, first, true);
                Some(in_second)
            }
        }
    }

    /// Notes that one more (or less) of a bucket's keys is in its second bucket.
    fn spill(&mut self, at: usize, bucket: usize, more: bool) {
        let Some(room) = self.rooms.get_mut(at) else { return };
        let marked = room.current.spill(bucket, more);
        if let Some(table) = self.dispatcher.as_ref().and_then(|d| d.tables().get(at)) {
            table.current().set_mark(bucket, marked);
        }
    }

    /// Moves one occupant of a full bucket to its other bucket: the slot that it leaves.
    fn make_room(&mut self, at: usize, bucket: usize) -> Option<usize> {
        for slot in slots_of(bucket) {
            let lane = self.plan.lanes.get(at)?;
            let bank = self.dispatcher.as_ref()?.tables().get(at)?.current();
            let places = &self.rooms.get(at)?.current;
            let index = places.occupant(slot)?;
            let key = key_in(lane, bank, slot);
            let hash = lane.hash(&self.plan.key, &key);
            let [first, second] = bank.buckets_of(hash);
            let other = if first == bucket { second } else { first };
            let Some(free) = places.free_in(other).filter(|_| first != second) else { continue };
            // Marked before it is there, and unmarked after.
            if first == bucket {
                self.spill(at, first, true);
            }
            self.write(at, free, index, (&key, hash));
            self.clear_current(at, slot);
            if first != bucket {
                self.spill(at, first, false);
            }
            return Some(slot);
        }
        None
    }

    /// Reserves a larger bank of a hashed lane; it is zeroed step by step, and then grown into.
    fn begin_to_grow(&mut self, at: usize, key: &Key) {
        let Ok((places, _)) = self.larger(at, key) else { return };
        let Some(layout) = self.table(at).map(|table| table.layout()) else { return };
        if let Some(room) = self.rooms.get_mut(at).filter(|room| room.next.is_none()) {
            room.next = Next::reserve(layout, places).ok();
        }
    }

    /// A step towards a larger bank; when it is there, entries will move to it.
    pub(super) fn prepare(&mut self, at: usize) {
        let Some(room) = self.rooms.get_mut(at) else { return };
        if !room.next.as_mut().is_some_and(|next| next.advance(ZEROED_PER_STEP)) {
            return;
        }
        let Some(next) = room.next.take() else { return };
        // Who left again meanwhile leaves no need for it.
        if room.old.is_none() && room.is_crowded(room.entries) {
            let (bank, places) = next.finish();
            // It was made for this table; should it not fit, the table stays as it is.
            let _grown = self.grow_into(at, bank, places);
        }
    }

    /// How many places a larger bank would have, and the first of its window.
    fn larger(&self, at: usize, key: &Key) -> Result<(usize, u16), EngineError> {
        let full = EngineError::Collisions { limit: SLOTS_PER_ENTRY_MAX };
        let (Some(table), Some(room)) = (self.table(at), self.rooms.get(at)) else {
            return Err(full);
        };
        match table.layout() {
            Layout::Single => Err(full),
            Layout::Direct => {
                let window = room.window_for(table.current(), Lane::number(key)).ok_or(full)?;
                Ok((window.len as usize, window.first))
            }
            Layout::Plain | Layout::Wide { .. } => {
                let allowed = SLOTS_PER_ENTRY_MAX.saturating_mul(room.entries + 1);
                if room.old.is_some() || room.current.slots() * 2 > allowed.max(SLOTS_FREE) {
                    return Err(full);
                }
                Ok((table.current().places() * 2, 0))
            }
        }
    }

    /// A larger bank at once, to which entries will move.
    fn grow(&mut self, at: usize, key: &Key) -> Result<(), EngineError> {
        let (places, first) = self.larger(at, key)?;
        // A window's old bank is small enough to be emptied at once, or there would be no window.
        self.drain_all(at);
        let layout = self.table(at).map_or(Layout::Single, |table| table.layout());
        let (bank, places) = match self.rooms.get_mut(at).and_then(|room| room.next.take()) {
            Some(next) => next.finish(),
            None => {
                let bank = Bank::new(layout, places, first)?;
                let places = Places::new(&bank)?;
                (bank, places)
            }
        };
        self.grow_into(at, bank, places)
    }

    fn grow_into(&mut self, at: usize, bank: Bank, places: Places) -> Result<(), EngineError> {
        let full = EngineError::Collisions { limit: SLOTS_PER_ENTRY_MAX };
        let Some(dispatcher) = &mut self.dispatcher else { return Err(full) };
        let Some(room) = self.rooms.get_mut(at) else { return Err(full) };
        dispatcher.grow(at, bank)?;
        room.old = Some(core::mem::replace(&mut room.current, places));
        room.bank ^= 1;
        room.cursor = 0;
        Ok(())
    }

    /// Writes an entry into a free slot of the current bank: key first, value last.
    pub(super) fn write(&mut self, at: usize, slot: usize, index: u32, (key, hash): (&Key, u64)) {
        let (Some(lane), Some(room)) = (self.plan.lanes.get(at), self.rooms.get_mut(at)) else {
            return;
        };
        let table = self.dispatcher.as_ref().and_then(|d| d.tables().get(at));
        let (Some(table), Some(entry)) = (table, self.entries.get_mut(index)) else { return };
        let bank = table.current();
        let digest = lane.digest(key, hash);
        if digest == 0 && lane.layout.is_hashed() {
            // Slots that were never used have digest 0 too; they must not seem to be this key's.
            let bucket = slots_of(slot / runtime::native::dispatch::BUCKET_SLOTS);
            for other in bucket.filter(|other| room.current.occupant(*other).is_none()) {
                bank.set_key(other, lane.nobody(), &[]);
            }
        }
        bank.set_key(slot, digest, key.get(..lane.words()).unwrap_or(key));
        room.current.set(slot, Some(index));
        entry.lane = room.number;
        entry.bank = room.bank;
        entry.slot = slot as u32;
        bank.set_value(slot, entry.value(index));
    }

    /// Frees a slot of the current bank.
    fn clear_current(&mut self, at: usize, slot: usize) {
        let bank = self.rooms.get(at).map_or(0, |room| room.bank);
        self.clear(at, bank, slot);
    }

    /// Frees a slot: value first, so that nobody finds half of it.
    pub(super) fn clear(&mut self, at: usize, bank: u8, slot: usize) {
        let (Some(lane), Some(room)) = (self.plan.lanes.get(at), self.rooms.get_mut(at)) else {
            return;
        };
        let table = self.dispatcher.as_ref().and_then(|d| d.tables().get(at));
        let memory = if bank == room.bank {
            table.map(|table| table.current())
        } else {
            table.and_then(|table| table.old())
        };
        if let Some(memory) = memory {
            memory.set_value(slot, 0);
            memory.set_key(slot, lane.nobody(), &[]);
        }
        if let Some(places) = room.places_mut(bank) {
            places.set(slot, None);
        }
    }

    /// Writes an entry's value into its slot. Allocates nothing.
    pub(super) fn refresh(&mut self, index: u32) {
        let Some(entry) = self.entries.get(index) else { return };
        let Some(at) = self.position(entry.lane) else { return };
        let (Some(room), Some(table)) = (self.rooms.get(at), self.table(at)) else { return };
        let bank = if entry.bank == room.bank { Some(table.current()) } else { table.old() };
        if let Some(bank) = bank {
            bank.set_value(entry.slot as usize, entry.value(index));
        }
    }

    /// Takes an entry that nobody claims out of its table.
    pub(super) fn leave(&mut self, index: u32) {
        let Some(entry) = self.entries.remove(index) else { return };
        let Some(at) = self.position(entry.lane) else { return };
        self.vacate(at, entry.bank, entry.slot as usize);
    }

    /// Frees an entry's slot, and what was marked for its sake.
    pub(super) fn vacate(&mut self, at: usize, bank: u8, slot: usize) {
        let (Some(lane), Some(room), Some(table)) =
            (self.plan.lanes.get(at), self.rooms.get(at), self.table(at))
        else {
            return;
        };
        // In a bank that is being emptied marks are not kept up: they only cost time.
        let mut spilled = None;
        if bank == room.bank && lane.layout.is_hashed() {
            let key = key_in(lane, table.current(), slot);
            let [first, _] = table.current().buckets_of(lane.hash(&self.plan.key, &key));
            spilled = (!slots_of(first).contains(&slot)).then_some(first);
        }
        self.clear(at, bank, slot);
        if let Some(first) = spilled {
            self.spill(at, first, false);
        }
        if let Some(room) = self.rooms.get_mut(at) {
            room.entries = room.entries.saturating_sub(1);
        }
    }
}

/// The entry of a key in one bank.
fn find_in(
    lane: &Lane,
    (bank, places): (&Bank, &Places),
    key: &Key,
    hash: u64,
) -> Result<Option<u32>, EngineError> {
    match lane.layout {
        Layout::Single => Ok(places.occupant(0)),
        Layout::Direct => {
            Ok(bank.slot_of(Lane::number(key)).and_then(|slot| places.occupant(slot)))
        }
        Layout::Plain | Layout::Wide { .. } => {
            let digest = lane.digest(key, hash);
            let [first, second] = bank.buckets_of(hash);
            // As the code does: the second one only if the first is marked.
            let further = bank.is_marked(first).then_some(second);
            for slot in core::iter::once(first).chain(further).flat_map(slots_of) {
                if bank.digest(slot) != digest {
                    continue;
                }
                if let Some(index) = places.occupant(slot) {
                    return if key_in(lane, bank, slot) == *key {
                        Ok(Some(index))
                    } else {
                        Err(EngineError::Collisions { limit: SLOTS_PER_ENTRY_MAX })
                    };
                }
            }
            Ok(None)
        }
    }
}
