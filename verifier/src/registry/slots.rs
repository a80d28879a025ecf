//! A table whose handles go stale.
//!
//! A removed entry's slot is used again under the next generation. A slot whose generations are
//! used up is retired, so that a handle never comes back.

use alloc::vec::Vec;

use super::ids::Handle;

#[derive(Debug)]
pub(crate) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<usize>,
    live: usize,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slots<T> {
    pub(crate) const fn new() -> Slots<T> {
        Slots { slots: Vec::new(), free: Vec::new(), live: 0 }
    }

    /// How many entries there are.
    pub(crate) const fn len(&self) -> usize {
        self.live
    }

    pub(crate) fn insert(&mut self, value: T) -> Handle {
        self.live += 1;
        if let Some(index) = self.free.pop()
            && let Some(slot) = self.slots.get_mut(index)
        {
            slot.value = Some(value);
            return Handle::new(index as u32, slot.generation);
        }
        // Far fewer than 2^32 entries: the callers' limits come first.
        let index = self.slots.len() as u32;
        self.slots.push(Slot { generation: 1, value: Some(value) });
        Handle::new(index, 1)
    }

    pub(crate) fn remove(&mut self, handle: Handle) -> Option<T> {
        let slot = self.slots.get_mut(handle.index())?;
        if slot.generation != handle.generation() {
            return None;
        }
        let value = slot.value.take()?;
        self.live -= 1;
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next;
            self.free.push(handle.index());
        }
        Some(value)
    }

    pub(crate) fn get(&self, handle: Handle) -> Option<&T> {
        let slot = self.slots.get(handle.index())?;
        slot.value.as_ref().filter(|_| slot.generation == handle.generation())
    }

    pub(crate) fn get_mut(&mut self, handle: Handle) -> Option<&mut T> {
        let slot = self.slots.get_mut(handle.index())?;
        let generation = slot.generation;
        slot.value.as_mut().filter(|_| generation == handle.generation())
    }
}

#[cfg(test)]
mod tests {
    use super::Slots;

    #[test]
    fn a_slot_used_again_has_another_handle() {
        let mut slots = Slots::new();
        let first = slots.insert('a');
        assert_eq!(slots.remove(first), Some('a'));
        assert_eq!(slots.remove(first), None);
        let second = slots.insert('b');
        assert_eq!(first.index(), second.index());
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.get_mut(first), None);
        assert_eq!(slots.get(second), Some(&'b'));
        assert_eq!(slots.len(), 1);
    }

    #[test]
    fn generations_that_are_used_up_retire_the_slot() {
        let mut slots = Slots::new();
        let first = slots.insert(0);
        slots.slots[first.index()].generation = u32::MAX;
        let last = super::Handle::new(0, u32::MAX);
        assert_eq!(slots.remove(last), Some(0));
        assert_ne!(slots.insert(1).index(), last.index());
    }
}
