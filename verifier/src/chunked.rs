//! A vector that never moves what it holds.
//!
//! It grows by segments: 1, 2, 4 .. elements at first, so that a small one is small, then always
//! `2^LOG`. To push allocates at most one segment and copies nothing but, seldom, the list of
//! segments, so the worst push does not grow with what is there already.

use alloc::vec::Vec;

/// Elements in segments of at most `2^LOG`.
#[derive(Debug)]
pub(crate) struct Chunked<T, const LOG: u32> {
    segments: Vec<Vec<T>>,
    length: usize,
}

impl<T, const LOG: u32> Chunked<T, LOG> {
    pub(crate) const fn new() -> Chunked<T, LOG> {
        Chunked { segments: Vec::new(), length: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.length
    }

    /// Segment and place in it.
    const fn place(index: usize) -> (usize, usize) {
        let from_one = index + 1;
        if from_one >> LOG == 0 {
            let segment = from_one.ilog2();
            (segment as usize, from_one - (1 << segment))
        } else {
            (LOG as usize + (from_one >> LOG) - 1, from_one & ((1 << LOG) - 1))
        }
    }

    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        let (segment, at) = Self::place(index);
        self.segments.get(segment)?.get(at)
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        let (segment, at) = Self::place(index);
        self.segments.get_mut(segment)?.get_mut(at)
    }

    pub(crate) fn push(&mut self, value: T) {
        let (segment, _) = Self::place(self.length);
        if segment == self.segments.len() {
            self.segments.push(Vec::with_capacity(1 << (segment as u32).min(LOG)));
        }
        if let Some(last) = self.segments.get_mut(segment) {
            last.push(value);
            self.length += 1;
        }
    }

    /// Gives the last segment's memory back. `false`: there is none.
    pub(crate) fn shed(&mut self) -> bool {
        let Some(segment) = self.segments.pop() else { return false };
        self.length -= segment.len();
        true
    }

    /// Heap held, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let held: usize = self.segments.iter().map(Vec::capacity).sum();
        held * size_of::<T>() + self.segments.capacity() * size_of::<Vec<T>>()
    }
}

#[cfg(test)]
mod tests {
    use super::Chunked;

    #[test]
    fn every_element_has_its_place() {
        let mut chunked = Chunked::<usize, 4>::new();
        for index in 0..1000 {
            assert_eq!(chunked.get(index), None);
            chunked.push(index);
            assert_eq!(chunked.get_mut(index), Some(&mut index.clone()));
        }
        assert!((0..1000).all(|index| chunked.get(index) == Some(&index)));
        assert_eq!(chunked.len(), 1000);
        // 63 segments of 16 elements, and where they are.
        let least = 63 * (16 * 8 + size_of::<alloc::vec::Vec<usize>>());
        assert!(chunked.bytes() >= least && chunked.bytes() < 12_000);
        while chunked.shed() {}
        assert_eq!((chunked.len(), chunked.get(0)), (0, None));
    }
}
