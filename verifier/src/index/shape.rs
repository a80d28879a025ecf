//! What rules that look alike have in common, and by what two kinds of rules are told apart.
//!
//! A [`Shape`] is a form without its values. What rules of two shapes both test is their [`Cut`]:
//! the bits of bytes that both key, and one number that both bound. Two rules are disjoint if they
//! differ in a bit of the cut or if their ranges do not meet; a table keyed by the cut finds all
//! others at once.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::{BuildHasher, Hasher};

use flow::Cell;

use super::form::{Form, Keyed, Stretch};
use super::tree::Entry;
use crate::hash::HashKey;

/// A form without its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    keyed: Box<[(Cell, u8)]>,
    runs: Box<[Stretch]>,
}

/// What rules of two shapes both test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    keyed: Vec<(Cell, u8)>,
    stretch: Option<Stretch>,
}

/// How the key of a cut is taken from forms of one shape.
#[derive(Clone, Debug)]
pub(super) struct Take {
    /// Which of the form's keyed bytes, and which of their bits.
    bytes: Box<[(u16, u8)]>,
    number: Number,
}

/// Where a cut's number comes from.
#[derive(Clone, Copy, Debug)]
enum Number {
    /// The cut has none.
    None,
    /// The form's run at this index.
    Run(usize),
    /// So many exact bytes from this one on.
    Exact(usize, usize),
}

impl Shape {
    pub(super) fn of(form: &Form) -> Shape {
        Shape {
            keyed: form.keyed.iter().map(|keyed| (keyed.cell, keyed.mask)).collect(),
            runs: form.runs.iter().map(|run| run.stretch).collect(),
        }
    }

    /// Whether a form has this shape.
    pub(super) fn is_of(&self, form: &Form) -> bool {
        let same = |(ours, theirs): (&(Cell, u8), &Keyed)| *ours == (theirs.cell, theirs.mask);
        self.keyed.len() == form.keyed.len()
            && self.runs.len() == form.runs.len()
            // Shapes differ in what comes last, more often than in the ethertype.
            && self.keyed.iter().zip(&form.keyed).rev().all(same)
            && self.runs.iter().zip(&form.runs).all(|(ours, run)| *ours == run.stretch)
    }

    /// What rules of both shapes test.
    pub(super) fn cut(&self, other: &Shape) -> Cut {
        let stretches = self.runs.iter().chain(&other.runs).copied();
        // The widest, and of those the last.
        let stretch = stretches.filter(|&it| self.bounds(it) && other.bounds(it)).max();
        let mut theirs = other.keyed.iter().peekable();
        let keyed = self.keyed.iter().filter_map(|&(cell, mask)| {
            while theirs.next_if(|(other, _)| *other < cell).is_some() {}
            let &&(other, their_mask) = theirs.peek()?;
            (other == cell && mask & their_mask != 0).then_some((cell, mask & their_mask))
        });
        Cut { keyed: keyed.collect(), stretch }
    }

    /// How forms of this shape make the key of a cut, which is one of this shape's.
    pub(super) fn take(&self, cut: &Cut) -> Take {
        let place = |cell: Cell| self.keyed.partition_point(|&(ours, _)| ours < cell);
        let bytes = cut.keyed.iter().map(|&(cell, mask)| (place(cell) as u16, mask)).collect();
        let number = match cut.stretch {
            None => Number::None,
            Some(stretch) => match self.runs.iter().position(|&run| run == stretch) {
                Some(run) => Number::Run(run),
                None => Number::Exact(place(stretch.first), stretch.width.into()),
            },
        };
        Take { bytes, number }
    }

    /// Whether every rule of the shape bounds this number.
    fn bounds(&self, stretch: Stretch) -> bool {
        if self.runs.contains(&stretch) {
            return true;
        }
        let from = self.keyed.partition_point(|&(cell, _)| cell < stretch.first);
        let bytes = self.keyed.get(from..from + usize::from(stretch.width)).unwrap_or(&[]);
        let exact = |(at, &(cell, mask)): (u16, &(Cell, u8))| {
            mask == 0xff
                && cell.base == stretch.first.base
                && cell.offset == stretch.first.offset + at
        };
        !bytes.is_empty() && (0..).zip(bytes).all(exact)
    }

    /// Heap held, in bytes.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.keyed) + size_of_val(&*self.runs)
    }
}

impl Take {
    /// The interval that stands for a form in a table of the cut. The form has the shape that this
    /// was made for.
    pub(super) fn interval(&self, form: &Form, key: HashKey) -> (u64, u64) {
        let mut hasher = key.build_hasher();
        let (mut word, mut count) = (0, 0);
        for &(at, mask) in &self.bytes {
            let value = form.keyed.get(usize::from(at)).map_or(0, |keyed| keyed.value & mask);
            word = word << 8 | u64::from(value);
            count += 1;
            if count % 8 == 0 {
                hasher.write_u64(core::mem::take(&mut word));
            }
        }
        hasher.write_u64(word);
        let hash = hasher.finish();
        let high = hash & !0xffff_ffff;
        match self.number {
            Number::None => (hash, hash),
            Number::Run(at) => {
                let (low, end) = form.runs.get(at).map_or((0, u32::MAX), |run| (run.low, run.high));
                (high | u64::from(low), high | u64::from(end))
            }
            Number::Exact(at, width) => {
                let bytes = form.keyed.get(at..at + width).unwrap_or(&[]);
                let number = bytes.iter().fold(0, |all, byte| all << 8 | u64::from(byte.value));
                (high | number, high | number)
            }
        }
    }

    /// The form's entry in a table of the cut.
    pub(super) fn entry(&self, form: &Form, key: HashKey, tag: u32) -> Entry {
        let (start, end) = self.interval(form, key);
        Entry { start, end, tag }
    }

    /// Heap held, in bytes.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.bytes)
    }
}
