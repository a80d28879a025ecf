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
            match self.last_taken(first..first + count) {
                None => {
                    self.mark(first..first + count, false);
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

    /// Gives frames in a row back.
    pub(crate) fn put_run(&mut self, range: Range<u64>) {
        let all_taken = words(&range).all(|(at, mask)| self.words.as_ref()[at] & mask == 0);
        assert!(all_taken, "frames {range:x?} given twice");
        self.mark(range, true);
    }

    /// The highest frame of a range that is not free. The range is within the limit.
    fn last_taken(&self, range: Range<u64>) -> Option<u64> {
        let taken = |(at, mask): (usize, u64)| (at, !self.words.as_ref()[at] & mask);
        let (at, taken) = words(&range).rev().map(taken).find(|(_, taken)| *taken != 0)?;
        Some(at as u64 * 64 + u64::from(taken.ilog2()))
    }

    /// Makes a range free that is taken, or taken that is free.
    fn mark(&mut self, range: Range<u64>, free: bool) {
        for (at, mask) in words(&range) {
            self.words.as_mut()[at] ^= mask;
        }
        let count = (range.end - range.start) as usize;
        self.free = if free { self.free + count } else { self.free - count };
    }

    /// One past the highest frame number that the map has room for.
    pub(crate) fn limit(&self) -> u64 {
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

/// The words that a range of bits touches, and which bits of them.
fn words(range: &Range<u64>) -> impl DoubleEndedIterator<Item = (usize, u64)> + use<> {
    let Range { start, end } = *range;
    (start / 64..end.div_ceil(64)).map(move |word| {
        let low = start.saturating_sub(word * 64);
        let high = (end - word * 64).min(64);
        (word as usize, u64::MAX << low & u64::MAX >> (64 - high))
    })
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
    fn runs_of_every_length_come_and_go() {
        for count in 1..=190 {
            let mut map = map(200);
            map.take_at(5);
            let first = map.take_run(count, 1).unwrap();
            assert_eq!(first, if count <= 5 { 0 } else { 6 });
            let run = first..first + count as u64;
            assert!((0..200).all(|n| map.is_free(n) != (n == 5 || run.contains(&n))));
            map.put_run(run);
            assert_eq!(map.free(), 199);
            assert!((0..200).all(|n| map.is_free(n) != (n == 5)));
        }
    }

    #[test]
    #[should_panic(expected = "given twice")]
    fn giving_a_run_that_is_free_in_part_stops_the_kernel() {
        let mut map = map(200);
        let first = map.take_run(100, 1).unwrap();
        map.put(first + 70);
        map.put_run(first..first + 100);
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
