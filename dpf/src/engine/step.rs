//! A little at a time: what is left of a growing table or a closing lane moves with each operation.
//!
//! The idea: a table that grows has two banks, a lane that closes has another to go to. Each
//! insertion and removal moves [`MOVES_PER_STEP`] slots' worth, which is more than it adds, so that
//! it is done long before the next time; before that a larger bank is zeroed a piece at a time.
//! Nothing is found twice or not at all on the way: an entry is written where it goes before it is
//! cleared where it was.

use alloc::vec::Vec;

use runtime::native::dispatch::Layout;

use super::merge::Merged;
use super::store::key_in;
use crate::limits::MOVES_PER_STEP;

impl Merged {
    /// One step. True if a lane has become empty by it.
    pub(super) fn step(&mut self) -> bool {
        self.moves.now = 0;
        let mut left = MOVES_PER_STEP;
        for at in 0..self.rooms.len() {
            self.prepare(at);
            self.drain(at, &mut left);
        }
        let mut emptied = false;
        for at in 0..self.rooms.len() {
            emptied |= self.close(at, &mut left);
        }
        self.moves.worst = self.moves.worst.max(self.moves.now);
        emptied
    }

    /// Moves entries from the old bank of a lane to the current one.
    fn drain(&mut self, at: usize, left: &mut usize) {
        while *left > 0 {
            let Some(room) = self.rooms.get_mut(at) else { return };
            let Some(old) = &room.old else { return };
            let slot = room.cursor;
            if old.count == 0 {
                self.settle(at);
                return;
            }
            room.cursor = if slot + 1 < old.slots() { slot + 1 } else { 0 };
            *left -= 1;
            let Some(index) = old.occupant(slot) else { continue };
            let bank = room.bank ^ 1;
            let (Some(lane), Some(table)) = (self.plan.lanes.get(at), self.table(at)) else {
                return;
            };
            let Some(memory) = table.old() else { return };
            let key = key_in(lane, memory, slot);
            let hash = lane.hash(&self.plan.key, &key);
            let bytes = lane.layout.stride() / if lane.layout == Layout::Direct { 1 } else { 4 };
            // Should there be no place, it stays where it is and is found there.
            if let Some(spot) = self.spot(at, &key, hash) {
                self.write(at, spot, index, (&key, hash));
                self.clear(at, bank, slot);
                self.moves.now += bytes;
            }
        }
    }

    /// Empties the old bank of a lane, which must be small.
    pub(super) fn drain_all(&mut self, at: usize) {
        let slots = self.rooms.get(at).and_then(|room| Some(room.old.as_ref()?.slots()));
        if let Some(slots) = slots {
            self.drain(at, &mut (slots + 1));
            self.settle(at);
        }
    }

    /// Gives an empty old bank back.
    fn settle(&mut self, at: usize) {
        if let (Some(room), Some(dispatcher)) = (self.rooms.get_mut(at), &mut self.dispatcher)
            && room.old.as_ref().is_some_and(|old| old.count == 0)
        {
            room.old = None;
            room.cursor = 0;
            drop(dispatcher.settle(at));
        }
    }

    /// Moves entries from a closing lane to those that take them. True if it is empty now.
    fn close(&mut self, at: usize, left: &mut usize) -> bool {
        let Some(room) = self.rooms.get(at) else { return false };
        if !room.closing || room.old.is_some() || room.entries == 0 {
            return false;
        }
        let mut values = Vec::new();
        while *left > 0 {
            let (Some(room), Some(lane), Some(table)) =
                (self.rooms.get_mut(at), self.plan.lanes.get(at), self.dispatcher.as_ref())
            else {
                return false;
            };
            let Some(table) = table.tables().get(at) else { return false };
            if room.entries == 0 {
                return true;
            }
            let slot = room.cursor;
            room.cursor = if slot + 1 < room.current.slots() { slot + 1 } else { 0 };
            *left -= 1;
            let Some(index) = room.current.occupant(slot) else { continue };
            let (shape, bank, stride) = (room.shape, room.bank, lane.layout.stride());
            lane.unpack(&key_in(lane, table.current(), slot), &mut values);
            let Some(to) = self.fitting(shape, &values) else { continue };
            let growing = self.rooms.get(to).is_some_and(|room| room.old.is_some());
            let Some(target) = self.plan.lanes.get(to).filter(|_| !growing) else { return false };
            let key = target.pack(&values);
            let hash = target.hash(&self.plan.key, &key);
            if self.put(to, index, &key, hash).is_ok() {
                self.vacate(at, bank, slot);
                self.moves.now += stride;
            }
        }
        self.rooms.get(at).is_some_and(|room| room.entries == 0)
    }
}
