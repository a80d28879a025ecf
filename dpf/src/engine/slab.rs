//! Values by index, in memory that never moves.
//!
//! The idea: segments, each twice as long as the one before. Growing takes a new segment and leaves
//! the others where they are, so that no insertion ever copies what is there already. Holes are
//! chained through themselves, so that removing allocates nothing.

use alloc::vec::Vec;

use runtime::native::Zeroed;

use crate::error::EngineError;

/// Values in the first segment.
const FIRST: usize = 64;
/// Segments: indices have 32 bits.
const SEGMENTS: usize = 26;

/// Segment and place in it.
const fn locate(index: usize) -> (usize, usize) {
    let number = index.saturating_add(FIRST);
    let segment = (number / FIRST).ilog2() as usize;
    (segment, number - (FIRST << segment))
}

/// Values by index; indices stay valid while others come and go.
#[derive(Debug)]
pub(super) struct Slab<T> {
    segments: [Vec<Place<T>>; SEGMENTS],
    /// Places in use or chained.
    len: usize,
    /// First hole, plus one; 0 if there is none.
    free: u32,
    count: usize,
}

#[derive(Debug)]
enum Place<T> {
    Full(T),
    /// The next hole, plus one.
    Free(u32),
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self { segments: [const { Vec::new() }; SEGMENTS], len: 0, free: 0, count: 0 }
    }

    /// Puts a value in: its index.
    pub(super) fn insert(&mut self, value: T) -> Result<u32, EngineError> {
        if let Some(index) = self.free.checked_sub(1)
            && let Some(place) = self.place(index)
            && let Place::Free(next) = *place
        {
            *place = Place::Full(value);
            self.free = next;
            self.count += 1;
            return Ok(index);
        }
        let index = u32::try_from(self.len).map_err(|_| EngineError::NoMemory)?;
        let (segment, _) = locate(self.len);
        let segment_len = FIRST << segment.min(SEGMENTS);
        let values = self.segments.get_mut(segment).ok_or(EngineError::NoMemory)?;
        if values.capacity() == 0 {
            values.try_reserve_exact(segment_len).map_err(|_| EngineError::NoMemory)?;
        }
        values.push(Place::Full(value));
        self.len += 1;
        self.count += 1;
        Ok(index)
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<T> {
        let free = self.free;
        let place = self.place(index).filter(|place| matches!(place, Place::Full(_)))?;
        let Place::Full(value) = core::mem::replace(place, Place::Free(free)) else { return None };
        self.free = index.saturating_add(1);
        self.count -= 1;
        Some(value)
    }

    fn place(&mut self, index: u32) -> Option<&mut Place<T>> {
        let (segment, at) = locate(index as usize);
        self.segments.get_mut(segment)?.get_mut(at)
    }

    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&T> {
        let (segment, at) = locate(index as usize);
        match self.segments.get(segment)?.get(at)? {
            Place::Full(value) => Some(value),
            Place::Free(_) => None,
        }
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        match self.place(index)? {
            Place::Full(value) => Some(value),
            Place::Free(_) => None,
        }
    }

    /// Values in it.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let all = self.segments.iter().flatten();
        all.enumerate().filter_map(|(at, place)| match place {
            Place::Full(value) => Some((at as u32, value)),
            Place::Free(_) => None,
        })
    }
}

/// Numbers by the index of a handle, 0 where nothing was set. Like [`Slab`], it never moves.
#[derive(Debug)]
pub(super) struct Sparse {
    segments: [Option<Zeroed<u32>>; SEGMENTS],
}

impl Sparse {
    pub(super) const fn new() -> Self {
        Self { segments: [const { None }; SEGMENTS] }
    }

    /// Makes room for an index.
    pub(super) fn reserve(&mut self, index: usize) -> Result<(), EngineError> {
        let (segment, _) = locate(index);
        let place = self.segments.get_mut(segment).ok_or(EngineError::NoMemory)?;
        if place.is_none() {
            *place = Some(Zeroed::new(FIRST << segment).map_err(|_| EngineError::NoMemory)?);
        }
        Ok(())
    }

    /// Sets a number; without room for it nothing happens.
    pub(super) fn set(&mut self, index: usize, number: Option<u32>) {
        let (segment, at) = locate(index);
        let values = self.segments.get_mut(segment).and_then(Option::as_mut);
        if let Some(value) = values.and_then(|values| values.get_mut(at)) {
            *value = number.map_or(0, |number| number.saturating_add(1));
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<u32> {
        let (segment, at) = locate(index);
        self.segments.get(segment)?.as_ref()?.get(at)?.checked_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::{Slab, Sparse, locate};

    #[test]
    fn places_follow_each_other_without_gaps() {
        let mut expected = (0, 0);
        for index in 0..10_000 {
            assert_eq!(locate(index), expected, "{index}");
            expected.1 += 1;
            if expected.1 == 64 << expected.0 {
                expected = (expected.0 + 1, 0);
            }
        }
    }

    #[test]
    fn holes_are_filled_again_and_indices_stay() {
        let mut slab = Slab::new();
        let all: alloc::vec::Vec<u32> = (0..1000).map(|n| slab.insert(n).unwrap()).collect();
        for index in all.iter().step_by(3) {
            assert_eq!(slab.remove(*index), Some(*index));
            assert_eq!(slab.remove(*index), None);
        }
        assert_eq!((slab.count(), slab.get(1), slab.get(3)), (666, Some(&1), None));
        for n in 0..334 {
            assert!(slab.insert(5000 + n).unwrap() < 1000);
        }
        assert_eq!((slab.count(), slab.iter().count()), (1000, 1000));
        assert_eq!(slab.get(1), Some(&1));
    }

    #[test]
    fn numbers_far_apart_need_room_first() {
        let mut sparse = Sparse::new();
        sparse.set(70_000, Some(0));
        assert_eq!(sparse.get(70_000), None);
        sparse.reserve(70_000).unwrap();
        sparse.set(70_000, Some(0));
        assert_eq!((sparse.get(70_000), sparse.get(70_001), sparse.get(3)), (Some(0), None, None));
        sparse.set(70_000, None);
        assert_eq!(sparse.get(70_000), None);
    }
}
