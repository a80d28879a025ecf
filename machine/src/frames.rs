//! Which frames are free: a bitmap with a roving start, shared by bare metal and host.
//!
//! A set bit is a free frame. Frames that were never added (holes, firmware, the kernel itself) are
//! as if taken for ever. `take` is a scan of words from where the last one succeeded, so a nearly
//! full map costs at most one pass over its words.

use core::ops::Range;

/// The bitmap, over storage that the platform provides (all zero to begin with).
pub(crate) struct FrameMap<S> {
    words: S,
    start: usize,
    free: usize,
    total: usize,
}

impl<S: AsRef<[u64]> + AsMut<[u64]>> FrameMap<S> {
    /// An empty map over `words`, one bit per frame from number 0.
    pub(crate) fn new(mut words: S) -> Self {
        words.as_mut().fill(0);
        Self { words, start: 0, free: 0, total: 0 }
    }

    /// Adds frames that exist and are free. Numbers beyond the storage are ignored.
    pub(crate) fn add(&mut self, range: Range<u64>) {
        for number in range.start..range.end.min(self.limit()) {
            if !self.is_free(number) {
                self.set(number);
                self.total += 1;
            }
        }
    }

    /// Free frames now.
    pub(crate) fn free(&self) -> usize {
        self.free
    }

    /// Frames ever added.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// Whether this frame is free.
    pub(crate) fn is_free(&self, number: u64) -> bool {
        let word = usize::try_from(number / 64).ok().and_then(|word| self.words.as_ref().get(word));
        word.is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Takes any free frame.
    pub(crate) fn take(&mut self) -> Option<u64> {
        let words = self.words.as_ref();
        let count = words.len();
        let found = (self.start..count).chain(0..self.start).find(|&at| words[at] != 0)?;
        self.start = found;
        let number = found as u64 * 64 + u64::from(words[found].trailing_zeros());
        self.clear(number);
        Some(number)
    }

    /// Takes this frame if it is free.
    pub(crate) fn take_at(&mut self, number: u64) -> bool {
        let free = self.is_free(number);
        if free {
            self.clear(number);
        }
        free
    }

    /// Takes `count` frames in a row, the lowest such row, starting at a multiple of `align`.
    pub(crate) fn take_run(&mut self, count: usize, align: u64) -> Option<u64> {
        if count == 0 || count > self.free {
            return None;
        }
        let count = count as u64;
        let mut first = 0;
        while first + count <= self.limit() {
            match (first..first + count).rev().find(|&number| !self.is_free(number)) {
                None => {
                    (first..first + count).for_each(|number| self.clear(number));
                    return Some(first);
                }
                Some(taken) => first = self.next_free(taken + 1).next_multiple_of(align),
            }
        }
        None
    }

    /// Gives a frame back. One that is free already is a bug of the caller, and stops it.
    pub(crate) fn put(&mut self, number: u64) {
        assert!(number < self.limit() && !self.is_free(number), "frame {number:#x} given twice");
        self.set(number);
    }

    fn limit(&self) -> u64 {
        self.words.as_ref().len() as u64 * 64
    }

    /// The lowest free number from `from` on, or the limit. Skips taken words whole.
    fn next_free(&self, from: u64) -> u64 {
        let mut number = from;
        while number < self.limit() && !self.is_free(number) {
            let taken_word = self.words.as_ref()[(number / 64) as usize] == 0;
            number = if taken_word { (number / 64 + 1) * 64 } else { number + 1 };
        }
        number
    }

    fn set(&mut self, number: u64) {
        self.words.as_mut()[(number / 64) as usize] |= 1 << (number % 64);
        self.free += 1;
    }

    fn clear(&mut self, number: u64) {
        self.words.as_mut()[(number / 64) as usize] &= !(1 << (number % 64));
        self.free -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(frames: u64) -> FrameMap<Vec<u64>> {
        let mut map = FrameMap::new(vec![0; 4]);
        map.add(0..frames);
        map
    }

    #[test]
    fn takes_each_frame_once_and_counts() {
        let mut map = map(130);
        let mut seen: Vec<u64> = core::iter::from_fn(|| map.take()).collect();
        assert_eq!(map.free(), 0);
        assert_eq!(map.total(), 130);
        seen.sort_unstable();
        assert_eq!(seen, (0..130).collect::<Vec<_>>());
        map.put(77);
        assert!(map.is_free(77));
        assert_eq!(map.take(), Some(77));
    }

    #[test]
    fn runs_are_contiguous_and_aligned() {
        let mut map = map(200);
        assert!(map.take_at(10));
        assert!(!map.take_at(10));
        assert!(!map.take_at(u64::MAX));
        assert_eq!(map.take_run(20, 1), Some(11));
        assert_eq!(map.take_run(10, 1), Some(0));
        assert_eq!(map.take_run(64, 64), Some(64));
        assert_eq!(map.take_run(100, 1), None);
        assert_eq!(map.take_run(0, 1), None);
        assert_eq!(map.take_run(usize::MAX, 1), None);
        assert_eq!(map.free(), 200 - 20 - 10 - 1 - 64);
    }

    #[test]
    fn holes_are_never_handed_out() {
        let mut map = FrameMap::new(vec![0; 4]);
        map.add(5..6);
        map.add(250..400);
        let seen: Vec<u64> = core::iter::from_fn(|| map.take()).collect();
        assert_eq!(seen, [5, 250, 251, 252, 253, 254, 255]);
        assert_eq!(map.total(), 7);
    }

    #[test]
    #[should_panic(expected = "given twice")]
    fn giving_a_free_frame_stops_the_kernel() {
        map(10).put(3);
    }
}
