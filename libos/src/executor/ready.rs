//! Which tasks were woken: a bit each, and a bit for each word of them.
//!
//! Setting a bit is two atomic operations: it may happen at any time, also in an upcall handler
//! that interrupted the executor. A bit of the summary may be set for a word that is zero; a word
//! that is not zero always has its bit, at the latest when `set` has returned.

use core::sync::atomic::{AtomicU64, Ordering};

/// Tasks at most.
pub const TASKS_MAX: usize = WORDS * BITS;

const BITS: usize = 64;
const WORDS: usize = 64;

/// The set of places that were woken.
#[derive(Debug)]
pub(super) struct Ready {
    summary: AtomicU64,
    words: [AtomicU64; WORDS],
}

impl Default for Ready {
    fn default() -> Ready {
        Ready { summary: AtomicU64::new(0), words: [const { AtomicU64::new(0) }; WORDS] }
    }
}

impl Ready {
    /// Adds a place below [`TASKS_MAX`]; others are ignored.
    pub(super) fn set(&self, place: usize) {
        let Some(word) = self.words.get(place / BITS) else { return };
        word.fetch_or(1 << (place % BITS), Ordering::AcqRel);
        self.summary.fetch_or(1 << (place / BITS), Ordering::AcqRel);
    }

    /// Whether no place is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.words.iter().zip(0..).all(|(word, place)| {
            self.summary.load(Ordering::Acquire) >> place & 1 == 0
                || word.load(Ordering::Acquire) == 0
        })
    }

    /// Takes one place out; whether it was in.
    pub(super) fn take(&self, place: usize) -> bool {
        let bit = 1 << (place % BITS);
        let Some(word) = self.words.get(place / BITS) else { return false };
        word.fetch_and(!bit, Ordering::AcqRel) & bit != 0
    }

    /// Takes the first place from `from` on.
    pub(super) fn take_next(&self, from: usize) -> Option<usize> {
        let mut at = from;
        while at < TASKS_MAX {
            let (place, offset) = (at / BITS, at % BITS);
            let summary = self.summary.load(Ordering::Acquire) >> place;
            if summary == 0 {
                return None;
            }
            if summary & 1 == 0 {
                at = (place + summary.trailing_zeros() as usize) * BITS;
                continue;
            }
            let word = self.words.get(place)?.load(Ordering::Acquire) >> offset;
            if word == 0 {
                self.tidy(place);
                at = (place + 1) * BITS;
                continue;
            }
            let found = at + word.trailing_zeros() as usize;
            if self.take(found) {
                return Some(found);
            }
            at = found + 1;
        }
        None
    }

    /// Clears the summary's bit of a word that is zero.
    fn tidy(&self, place: usize) {
        let Some(word) = self.words.get(place) else { return };
        if word.load(Ordering::Acquire) == 0 {
            self.summary.fetch_and(!(1 << place), Ordering::AcqRel);
            // Somebody may have set a bit of the word in between, and the summary's before us.
            if word.load(Ordering::Acquire) != 0 {
                self.summary.fetch_or(1 << place, Ordering::AcqRel);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ready, TASKS_MAX};
    use std::vec;
    use std::vec::Vec;

    fn all(ready: &Ready) -> Vec<usize> {
        let mut from = 0;
        let mut found = Vec::new();
        while let Some(place) = ready.take_next(from) {
            found.push(place);
            from = place + 1;
        }
        found
    }

    #[test]
    fn places_come_out_in_order_once() {
        let ready = Ready::default();
        assert!(ready.is_empty());
        let places = [0, 1, 63, 64, 127, 640, 4032, TASKS_MAX - 1];
        for &place in places.iter().rev().chain(&places) {
            ready.set(place);
        }
        ready.set(TASKS_MAX);
        assert!(!ready.is_empty());
        assert_eq!(all(&ready), places);
        assert!(ready.is_empty());
        assert_eq!(all(&ready), vec![0usize; 0]);
        ready.set(5);
        assert!(ready.take(5) && !ready.take(5) && ready.is_empty());
    }
}
