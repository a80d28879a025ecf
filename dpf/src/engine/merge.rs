//! The merged state: shapes with their tables, entries, and the code that reads them.
//!
//! The idea: an entry may be in any slot of the two buckets that its hash names. A new one goes to
//! the emptier bucket; if both are full, one occupant moves to its other bucket; if none can, the
//! table doubles. All of that only moves entries about and never changes a verdict, so it may be
//! done while a binding is merely being prepared.
//!
//! Invariants: `occupant[slot]` is the entry whose key stands in that slot; the slot's value word
//! is the entry's [`Entry::value`]; shapes are in the order of the dispatcher's tables.

use alloc::vec::Vec;

use runtime::native::dispatch::BUCKET_SLOTS;
use runtime::native::{Code, Dispatch, Dispatcher, Mismatch, Table};
use runtime::pages::CodePages;

use super::entry::Entry;
use super::slab::Slab;
use crate::check;
use crate::dispatch;
use crate::error::EngineError;
use crate::limits::{FIRST_BUCKETS, SHAPES_MAX, SLOTS_FREE, SLOTS_PER_ENTRY_MAX};
use crate::plan::{HashKey, Key, Plan, Shape};

const EMPTY: usize = usize::MAX;

/// Everything that dispatch reads.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) plan: Plan,
    /// For each shape: its number, stable while others come and go.
    numbers: Vec<usize>,
    places: Vec<Places>,
    pub(super) entries: Slab<Entry>,
    pub(super) dispatcher: Option<Dispatcher>,
    next_number: usize,
    pub(super) compilations: u64,
}

/// Who is where in one table.
#[derive(Debug)]
struct Places {
    occupant: Vec<usize>,
    entries: usize,
}

/// What a change of shapes leads to.
struct Next {
    plan: Plan,
    /// Positions of the old plan's shapes that stay, ascending; they come first in the new plan.
    kept: Vec<usize>,
    /// Tables of the shapes that follow them.
    fresh: Vec<(Table, Places)>,
    code: Code<Dispatch>,
}

impl Places {
    fn new(table: &Table) -> Result<Self, EngineError> {
        let mut occupant = Vec::new();
        occupant.try_reserve_exact(table.slots()).map_err(|_| EngineError::NoMemory)?;
        occupant.resize(table.slots(), EMPTY);
        Ok(Self { occupant, entries: 0 })
    }

    fn free_in(&self, bucket: usize) -> impl Iterator<Item = usize> {
        let slots = bucket * BUCKET_SLOTS..(bucket + 1) * BUCKET_SLOTS;
        slots.filter(|slot| self.occupant.get(*slot) == Some(&EMPTY))
    }

    /// A free slot in the emptier of two buckets.
    fn free(&self, buckets: [usize; 2]) -> Option<usize> {
        let [a, b] = buckets;
        let emptier = if self.free_in(b).count() > self.free_in(a).count() { b } else { a };
        self.free_in(emptier).next()
    }
}

impl Merged {
    pub(super) fn new(key: HashKey) -> Self {
        Self {
            plan: Plan { shapes: Vec::new(), key },
            numbers: Vec::new(),
            places: Vec::new(),
            entries: Slab::new(),
            dispatcher: None,
            next_number: 0,
            compilations: 0,
        }
    }

    /// Where a shape is in the plan.
    pub(super) fn position(&self, number: usize) -> Option<usize> {
        self.numbers.iter().position(|known| *known == number)
    }

    /// The number of a shape that is in the plan.
    pub(super) fn number_of(&self, shape: &Shape) -> Option<usize> {
        let at = self.plan.shapes.iter().position(|known| known == shape)?;
        self.numbers.get(at).copied()
    }

    /// Entries of the shape at a position in the plan.
    pub(super) fn entries_in(&self, position: usize) -> usize {
        self.places.get(position).map_or(0, |places| places.entries)
    }

    /// Makes the plan hold the shapes that have entries and those of `wanted`; generates code if
    /// that changes the plan. On an error everything is as before.
    pub(super) fn reshape(
        &mut self,
        wanted: &[Shape],
        pages: &mut dyn CodePages,
    ) -> Result<(), EngineError> {
        let kept: Vec<usize> = (0..self.plan.shapes.len())
            .filter(|at| {
                let named = self.plan.shapes.get(*at).is_some_and(|shape| wanted.contains(shape));
                named || self.entries_in(*at) != 0
            })
            .collect();
        let new: Vec<&Shape> =
            wanted.iter().filter(|shape| !self.plan.shapes.contains(shape)).collect();
        if new.is_empty() && kept.len() == self.plan.shapes.len() {
            return Ok(());
        }
        let old = kept.iter().filter_map(|at| self.plan.shapes.get(*at));
        let shapes: Vec<Shape> = old.chain(new.iter().copied()).cloned().collect();
        if shapes.len() > SHAPES_MAX {
            return Err(EngineError::Shapes { limit: SHAPES_MAX });
        }
        let plan = Plan { shapes, key: self.plan.key };
        let mut fresh = Vec::new();
        for shape in &new {
            let table = Table::new(shape.words(), FIRST_BUCKETS)?;
            let places = Places::new(&table)?;
            fresh.push((table, places));
        }
        let emitted = dispatch::emit(&plan)?;
        let code = Code::seal(check::dispatcher(&plan, emitted)?, pages)?;
        self.swap(Next { plan, kept, fresh, code }, pages)
    }

    /// Puts new code and its tables in the place of the old.
    fn swap(&mut self, next: Next, pages: &mut dyn CodePages) -> Result<(), EngineError> {
        let Next { plan, kept, fresh, code } = next;
        let mut tables = Vec::new();
        if let Some(dispatcher) = self.dispatcher.take() {
            let (code, old) = dispatcher.into_parts();
            code.release(pages);
            tables = pick(old, &kept);
        }
        self.numbers = pick(core::mem::take(&mut self.numbers), &kept);
        self.places = pick(core::mem::take(&mut self.places), &kept);
        for (table, places) in fresh {
            tables.push(table);
            self.places.push(places);
            self.numbers.push(self.next_number);
            self.next_number += 1;
        }
        self.plan = plan;
        self.compilations += 1;
        // The checker derived the geometry from this very plan: a mismatch cannot be.
        match Dispatcher::new(code, tables) {
            Ok(dispatcher) => self.dispatcher = Some(dispatcher),
            Err(Mismatch { error, code, .. }) => {
                code.release(pages);
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// The entry of a key, if there is one.
    pub(super) fn find(&self, position: usize, key: &Key, hash: u64) -> Option<usize> {
        let (table, places) = (self.table(position)?, self.places.get(position)?);
        let slots = table.buckets_of(hash).map(|bucket| bucket * BUCKET_SLOTS);
        let slots = slots.into_iter().flat_map(|start| start..start + BUCKET_SLOTS);
        let mut entries = slots.filter_map(|slot| places.occupant.get(slot).copied());
        entries.find(|index| self.entries.get(*index).is_some_and(|entry| entry.key == *key))
    }

    pub(super) fn table(&self, position: usize) -> Option<&Table> {
        self.dispatcher.as_ref()?.tables().get(position)
    }

    /// Finds or makes the entry of a key; a new one is in its table, with value 0.
    pub(super) fn enter(&mut self, number: usize, key: Key) -> Result<usize, EngineError> {
        let position = self.position(number).ok_or(EngineError::NoMemory)?;
        let words = self.plan.shapes.get(position).map_or(0, Shape::words);
        let hash = self.plan.key.hash(key.get(..words).unwrap_or(&key));
        if let Some(index) = self.find(position, &key, hash) {
            return Ok(index);
        }
        let index = self.entries.insert(Entry::new(number, key, hash))?;
        if let Err(error) = self.place(position, index) {
            self.entries.remove(index);
            return Err(error);
        }
        if let Some(places) = self.places.get_mut(position) {
            places.entries += 1;
        }
        Ok(index)
    }

    /// Finds a slot for an entry that has none, by moving one other or by growing the table.
    fn place(&mut self, position: usize, index: usize) -> Result<(), EngineError> {
        loop {
            let hash = self.entries.get(index).map_or(0, |entry| entry.hash);
            let buckets = self.table(position).map_or([0; 2], |table| table.buckets_of(hash));
            let free = self.places.get(position).and_then(|places| places.free(buckets));
            if let Some(slot) = free.or_else(|| self.make_room(position, buckets)) {
                self.put(position, index, slot);
                return Ok(());
            }
            self.grow(position)?;
        }
    }

    /// Moves one occupant of two full buckets to its other bucket: the slot that it leaves.
    fn make_room(&mut self, position: usize, buckets: [usize; 2]) -> Option<usize> {
        let slots = buckets.into_iter().flat_map(|b| b * BUCKET_SLOTS..(b + 1) * BUCKET_SLOTS);
        for slot in slots {
            let places = self.places.get(position)?;
            let occupant = *places.occupant.get(slot)?;
            let hash = self.entries.get(occupant)?.hash;
            let others = self.table(position)?.buckets_of(hash);
            let Some(free) = places.free(others) else { continue };
            self.put(position, occupant, free);
            self.clear(position, slot);
            return Some(slot);
        }
        None
    }

    /// Doubles a table. Its entries are all placed anew.
    fn grow(&mut self, position: usize) -> Result<(), EngineError> {
        let (Some(table), Some(places)) = (self.table(position), self.places.get(position)) else {
            return Err(EngineError::NoMemory);
        };
        let mut buckets = table.buckets();
        let words = table.key_words();
        let allowed = SLOTS_FREE.max(SLOTS_PER_ENTRY_MAX.saturating_mul(places.entries + 1));
        loop {
            buckets = buckets.saturating_mul(2);
            if buckets.saturating_mul(BUCKET_SLOTS) > allowed {
                return Err(EngineError::Collisions { limit: SLOTS_PER_ENTRY_MAX });
            }
            if let Some((table, moved)) = self.rehashed(position, words, buckets)? {
                return self.install(position, table, moved);
            }
        }
    }

    /// The entries of a table in a table of another size; `None` if they do not fit.
    fn rehashed(
        &self,
        position: usize,
        words: usize,
        buckets: usize,
    ) -> Result<Option<(Table, Places)>, EngineError> {
        let mut table = Table::new(words, buckets)?;
        let mut moved = Places::new(&table)?;
        let Some(places) = self.places.get(position) else { return Ok(None) };
        for index in places.occupant.iter().copied().filter(|index| *index != EMPTY) {
            let Some(entry) = self.entries.get(index) else { continue };
            let Some(slot) = moved.free(table.buckets_of(entry.hash)) else { return Ok(None) };
            table.set_slot(slot, entry.key.get(..words).unwrap_or(&entry.key), entry.value(index));
            if let Some(occupant) = moved.occupant.get_mut(slot) {
                *occupant = index;
            }
        }
        moved.entries = places.entries;
        Ok(Some((table, moved)))
    }

    fn install(&mut self, position: usize, table: Table, moved: Places) -> Result<(), EngineError> {
        let Some(dispatcher) = &mut self.dispatcher else { return Err(EngineError::NoMemory) };
        let _old = dispatcher.replace(position, table)?;
        for (slot, index) in moved.occupant.iter().enumerate() {
            if let Some(entry) = self.entries.get_mut(*index) {
                entry.slot = slot;
            }
        }
        if let Some(places) = self.places.get_mut(position) {
            *places = moved;
        }
        Ok(())
    }

    fn put(&mut self, position: usize, index: usize, slot: usize) {
        let place = self.places.get_mut(position).and_then(|p| p.occupant.get_mut(slot));
        if let (Some(place), Some(entry)) = (place, self.entries.get_mut(index)) {
            *place = index;
            entry.slot = slot;
        }
        self.refresh(index);
    }

    fn clear(&mut self, position: usize, slot: usize) {
        if let Some(place) = self.places.get_mut(position).and_then(|p| p.occupant.get_mut(slot)) {
            *place = EMPTY;
        }
        let words = self.plan.shapes.get(position).map_or(0, Shape::words);
        if let Some(dispatcher) = &mut self.dispatcher {
            let nothing = Key::default();
            dispatcher.set_slot(position, slot, nothing.get(..words).unwrap_or(&[]), 0);
        }
    }

    /// Writes an entry's key and value into its slot. Allocates nothing.
    pub(super) fn refresh(&mut self, index: usize) {
        let Some(entry) = self.entries.get(index) else { return };
        let Some(position) = self.position(entry.shape) else { return };
        let words = self.plan.shapes.get(position).map_or(0, Shape::words);
        let key = entry.key.get(..words).unwrap_or(&entry.key);
        if let Some(dispatcher) = &mut self.dispatcher {
            dispatcher.set_slot(position, entry.slot, key, entry.value(index));
        }
    }

    /// Takes an entry that nobody claims out of its table.
    pub(super) fn leave(&mut self, index: usize) {
        let Some(entry) = self.entries.remove(index) else { return };
        let Some(position) = self.position(entry.shape) else { return };
        self.clear(position, entry.slot);
        if let Some(places) = self.places.get_mut(position) {
            places.entries = places.entries.saturating_sub(1);
        }
    }
}

/// The elements at ascending `positions`.
fn pick<T>(from: Vec<T>, positions: &[usize]) -> Vec<T> {
    let all = from.into_iter().enumerate();
    all.filter(|(at, _)| positions.contains(at)).map(|(_, value)| value).collect()
}
