//! A table beside the registry: what the kernel keeps for each grant and each binding.
//!
//! The registry names them by slot and generation, and uses its lowest slots first. So the table is
//! a vector by slot, and a look-up, of which every packet needs several, is an index and a
//! comparison.

use alloc::boxed::Box;
use alloc::vec::Vec;
use verifier::{BindingId, GrantId};

/// A name with a slot.
pub(crate) trait Slot: Copy + PartialEq {
    /// The slot.
    fn slot(self) -> usize;
}

impl Slot for BindingId {
    #[inline(always)]
    fn slot(self) -> usize {
        self.index()
    }
}

impl Slot for GrantId {
    #[inline(always)]
    fn slot(self) -> usize {
        self.index()
    }
}

/// Values by name.
pub(crate) struct Slots<N, T> {
    places: Vec<Option<Box<(N, T)>>>,
    used: usize,
}

impl<N: Slot, T> Slots<N, T> {
    pub(crate) fn new() -> Slots<N, T> {
        Slots { places: Vec::new(), used: 0 }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.used
    }

    #[inline(always)]
    pub(crate) fn get(&self, name: &N) -> Option<&T> {
        let (there, value) = &**self.places.get(name.slot())?.as_ref()?;
        (there == name).then_some(value)
    }

    #[inline(always)]
    pub(crate) fn get_mut(&mut self, name: &N) -> Option<&mut T> {
        let (there, value) = &mut **self.places.get_mut(name.slot())?.as_mut()?;
        (there == name).then_some(value)
    }

    pub(crate) fn contains_key(&self, name: &N) -> bool {
        self.get(name).is_some()
    }

    /// Puts a value in, in the place of whatever has the slot.
    pub(crate) fn insert(&mut self, name: N, value: T) {
        let slot = name.slot();
        while self.places.len() <= slot {
            self.places.push(None);
        }
        if let Some(place) = self.places.get_mut(slot) {
            self.used += usize::from(place.is_none());
            *place = Some(Box::new((name, value)));
        }
    }

    pub(crate) fn remove(&mut self, name: &N) -> Option<T> {
        let place = self.places.get_mut(name.slot())?;
        let taken = place.take_if(|it| it.0 == *name)?;
        self.used -= 1;
        Some(taken.1)
    }

    /// All of them, by slot.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&N, &T)> {
        self.places.iter().flatten().map(|it| (&it.0, &it.1))
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.iter().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::{Slot, Slots};

    /// Slot and generation.
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Name(usize, u32);

    impl Slot for Name {
        #[inline(always)]
        fn slot(self) -> usize {
            self.0
        }
    }

    #[test]
    fn a_later_generation_of_a_slot_is_another_name() {
        let mut slots = Slots::new();
        slots.insert(Name(2, 1), 'a');
        slots.insert(Name(0, 1), 'b');
        assert_eq!((slots.len(), slots.get(&Name(2, 1))), (2, Some(&'a')));
        assert_eq!(slots.get(&Name(2, 2)), None);
        assert_eq!(slots.remove(&Name(2, 2)), None);
        assert_eq!(slots.remove(&Name(2, 1)), Some('a'));
        assert_eq!(slots.remove(&Name(2, 1)), None);
        slots.insert(Name(2, 2), 'c');
        assert!(!slots.contains_key(&Name(2, 1)) && !slots.contains_key(&Name(9, 1)));
        if let Some(value) = slots.get_mut(&Name(2, 2)) {
            *value = 'd';
        }
        assert_eq!(slots.values().collect::<Vec<_>>(), [&'b', &'d']);
        assert_eq!(slots.iter().map(|(name, _)| name.0).collect::<Vec<_>>(), [0, 2]);
    }

    use alloc::vec::Vec;
}
