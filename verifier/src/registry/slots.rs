//! A table whose handles go stale.
//!
//! A removed entry's slot is used again under the next generation. A slot whose generations are
//! used up is retired, so that a handle never comes back.

use super::ids::Handle;
use crate::chunked::Chunked;

#[derive(Debug)]
pub(crate) struct Slots<T> {
    slots: Chunked<Slot<T>, 12>,
    /// The slot that is used next; the others that are free follow it.
    free: Option<usize>,
    live: usize,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    content: Content<T>,
}

#[derive(Debug)]
enum Content<T> {
    Taken(T),
    Free(Option<usize>),
}

impl<T> Slots<T> {
    pub(crate) const fn new() -> Slots<T> {
        Slots { slots: Chunked::new(), free: None, live: 0 }
    }

    /// How many entries there are.
    pub(crate) const fn len(&self) -> usize {
        self.live
    }

    pub(crate) fn insert(&mut self, value: T) -> Handle {
        self.live += 1;
        if let Some(index) = self.free
            && let Some(slot) = self.slots.get_mut(index)
            && let Content::Free(next) = slot.content
        {
            self.free = next;
            slot.content = Content::Taken(value);
            return Handle::new(index as u32, slot.generation);
        }
        // Far fewer than 2^32 entries: the callers' limits come first.
        let index = self.slots.len() as u32;
        self.slots.push(Slot { generation: 1, content: Content::Taken(value) });
        Handle::new(index, 1)
    }

    pub(crate) fn remove(&mut self, handle: Handle) -> Option<T> {
        let slot = self.slots.get_mut(handle.index())?;
        if slot.generation != handle.generation() || matches!(slot.content, Content::Free(_)) {
            return None;
        }
        let next = slot.generation.checked_add(1);
        let free = if next.is_some() { self.free } else { None };
        let content = core::mem::replace(&mut slot.content, Content::Free(free));
        if let Some(next) = next {
            slot.generation = next;
            self.free = Some(handle.index());
        }
        self.live -= 1;
        match content {
            Content::Taken(value) => Some(value),
            Content::Free(_) => None,
        }
    }

    pub(crate) fn get(&self, handle: Handle) -> Option<&T> {
        let slot = self.slots.get(handle.index())?;
        match &slot.content {
            Content::Taken(value) if slot.generation == handle.generation() => Some(value),
            _ => None,
        }
    }

    pub(crate) fn get_mut(&mut self, handle: Handle) -> Option<&mut T> {
        let slot = self.slots.get_mut(handle.index())?;
        match &mut slot.content {
            Content::Taken(value) if slot.generation == handle.generation() => Some(value),
            _ => None,
        }
    }

    /// What is in a slot now, and its handle.
    pub(crate) fn at(&self, index: usize) -> Option<(Handle, &T)> {
        let slot = self.slots.get(index)?;
        match &slot.content {
            Content::Taken(value) => Some((Handle::new(index as u32, slot.generation), value)),
            Content::Free(_) => None,
        }
    }

    /// Heap held by the table itself, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.slots.bytes()
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
        slots.slots.get_mut(first.index()).unwrap().generation = u32::MAX;
        let last = super::Handle::new(0, u32::MAX);
        assert_eq!(slots.remove(last), Some(0));
        assert_ne!(slots.insert(1).index(), last.index());
    }
}
