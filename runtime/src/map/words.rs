//! Memory that generated code, the interpreter and the kernel share: words, read and written whole.
//!
//! Every access from here is a relaxed atomic one, which is a plain load or store on x86-64, so
//! that safe code may share a map with code that was generated. Nothing ever tears a word; what two
//! users at the same time leave behind is one of their values in each word.
//!
//! Memory is reserved at once and then filled piece by piece, so that whoever makes a large map can
//! look after other things in between.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Bytes in words of 64 bits.
#[derive(Debug)]
pub(crate) struct Words(Box<[AtomicU64]>);

/// Numbers of 32 bits.
#[derive(Debug)]
pub(super) struct Numbers(Box<[AtomicU32]>);

/// A list that is being filled to the length it was reserved for.
#[derive(Debug)]
pub(super) struct Growing<T> {
    items: Vec<T>,
    length: usize,
}

impl<T> Growing<T> {
    /// Reserves all of it; `None` if there is no memory.
    pub(super) fn reserve(length: usize) -> Option<Self> {
        let mut items = Vec::new();
        items.try_reserve_exact(length).ok()?;
        Some(Self { items, length })
    }

    /// Adds at most `budget` items, and takes them off the budget; true once all are there.
    pub(super) fn fill(&mut self, budget: &mut usize, item: impl Fn(usize) -> T) -> bool {
        let here = self.items.len();
        let more = (self.length - here).min(*budget);
        self.items.extend((here..here + more).map(item));
        *budget -= more;
        self.items.len() == self.length
    }
}

impl From<Growing<AtomicU64>> for Words {
    fn from(all: Growing<AtomicU64>) -> Self {
        Self(all.items.into_boxed_slice())
    }
}

impl From<Growing<AtomicU32>> for Numbers {
    fn from(all: Growing<AtomicU32>) -> Self {
        Self(all.items.into_boxed_slice())
    }
}

impl Words {
    /// Where the first word is.
    pub(crate) fn address(&self) -> u64 {
        self.0.as_ptr().expose_provenance() as u64
    }

    /// Writes one word; one that is not there changes nothing.
    pub(crate) fn set(&self, at: usize, value: u64) {
        if let Some(word) = self.0.get(at) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// One word; one that is not there is 0.
    pub(super) fn get(&self, at: usize) -> u64 {
        self.0.get(at).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// Copies the bytes from byte `at` on. The caller bounds them.
    pub(super) fn read(&self, at: usize, into: &mut [u8]) {
        let mut at = at;
        let mut rest = into;
        while !rest.is_empty() {
            let (from, word) = (at % 8, self.get(at / 8).to_le_bytes());
            let part = rest.len().min(8 - from);
            let (now, later) = rest.split_at_mut(part);
            now.copy_from_slice(word.get(from..from + part).unwrap_or_default());
            (at, rest) = (at + part, later);
        }
    }

    /// Writes bytes from byte `at` on. The caller bounds them.
    pub(super) fn write(&self, at: usize, bytes: &[u8]) {
        let mut at = at;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (from, part) = (at % 8, rest.len().min(8 - at % 8));
            let (now, later) = rest.split_at(part);
            let mut word = self.get(at / 8).to_le_bytes();
            if let Some(place) = word.get_mut(from..from + part) {
                place.copy_from_slice(now);
            }
            self.set(at / 8, u64::from_le_bytes(word));
            (at, rest) = (at + part, later);
        }
    }

    /// Writes bytes from word `at` on, the last word filled up with zeroes.
    pub(super) fn put(&self, at: usize, bytes: &[u8]) {
        for (place, part) in (at..).zip(bytes.chunks(8)) {
            self.set(place, word(part));
        }
    }

    /// Whether these bytes, filled up with zeroes, stand from word `at` on.
    pub(super) fn holds(&self, at: usize, bytes: &[u8]) -> bool {
        (at..).zip(bytes.chunks(8)).all(|(place, part)| self.get(place) == word(part))
    }
}

impl Numbers {
    /// The number there; that of a place that does not exist is [`super::table::NIL`].
    pub(super) fn get(&self, at: u32) -> u32 {
        self.0.get(at as usize).map_or(u32::MAX, |number| number.load(Ordering::Relaxed))
    }

    /// Writes a number; a place that does not exist stays that way.
    pub(super) fn set(&self, at: u32, value: u32) {
        if let Some(number) = self.0.get(at as usize) {
            number.store(value, Ordering::Relaxed);
        }
    }
}

/// Up to eight bytes as a word, little endian.
pub(super) fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    for (place, byte) in word.iter_mut().zip(bytes) {
        *place = *byte;
    }
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::{Growing, Words, word};
    use alloc::vec::Vec;
    use core::sync::atomic::AtomicU64;

    fn words(length: usize) -> Words {
        let mut all = Growing::reserve(length).unwrap();
        let (mut steps, mut done) = (0, false);
        while !done {
            done = all.fill(&mut 3, |_| AtomicU64::new(0));
            steps += 1;
        }
        assert_eq!(steps, length.div_ceil(3).max(1));
        all.into()
    }

    #[test]
    fn any_bytes_are_written_and_read_and_no_others() {
        for (from, length) in (0..24).flat_map(|from| (0..=24 - from).map(move |n| (from, n))) {
            let words = words(3);
            let mut model = [0_u8; 24];
            let bytes: Vec<u8> = (1..=length as u8).collect();
            words.write(from, &bytes);
            model[from..from + length].copy_from_slice(&bytes);
            let mut all = [9; 24];
            words.read(0, &mut all);
            assert_eq!(all, model);
            let mut part = alloc::vec![0; length];
            words.read(from, &mut part);
            assert_eq!(part, bytes);
        }
    }

    #[test]
    fn a_key_is_compared_to_its_end() {
        let words = words(4);
        words.put(1, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert!(words.holds(1, &[1, 2, 3, 4, 5, 6, 7, 8, 9]));
        assert!(words.holds(1, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 0]));
        assert!(!words.holds(1, &[1, 2, 3, 4, 5, 6, 7, 8]) || words.get(2) == 9);
        assert!(!words.holds(1, &[1, 2, 3, 4, 5, 6, 7, 9, 9]));
        assert_eq!(word(&[1, 2]), 0x201);
        // What is not there reads as zero and swallows what is written.
        words.write(40, &[1]);
        words.set(99, 1);
        assert_eq!(words.get(99), 0);
    }
}
