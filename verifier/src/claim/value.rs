//! What a register holds during an extraction, and the table that numbers such values.
//!
//! Values are interned, so that a state is a few numbers and equal states are found by hashing.
//! So are the bytes that the bits of words come from: bytes of the frame, and sums of a byte's bits
//! and a constant (`sums`).

use alloc::vec::Vec;
use core::hash::BuildHasher;

use flow::{Base, Cell, Rule};
use hashbrown::HashTable;

use super::measure::Measure;
use super::word::Word;
use crate::arena;
use crate::hash::HashKey;
use crate::refusal::{Refusal, UndecidedReason};

/// A symbolic value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Value {
    /// Not expressible; why, and the instruction that made it.
    Unknown(UndecidedReason, u32),
    /// A number made of bits of the frame.
    Word(Word),
    /// A number that depends on the frame's length.
    Length(Measure),
    /// The address of a base plus so many bytes.
    Place { base: Base, bytes: i64 },
    /// Just past the frame.
    End,
    /// The context.
    Context,
    /// `r10` plus so many bytes.
    Stack(i64),
}

/// What the bits of a word come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// A byte of the frame.
    Byte(Cell),
    /// `(((of >> first) & mask) ^ flip) + plus`, under the mask.
    Sum { of: u32, first: u8, mask: u8, flip: u8, plus: u8 },
}

/// Sums of sums of one byte.
const SUMS_DEEP: usize = 4;

/// A value's number.
pub(super) type ValueId = u32;

/// The number of a value that nothing reads: a dead register's.
pub(super) const DEAD: ValueId = 0;

/// All values and sources of an extraction, each once.
#[derive(Debug)]
pub(super) struct Values {
    values: Vec<Value>,
    numbers: HashTable<ValueId>,
    sources: Vec<Source>,
    source_numbers: HashTable<u32>,
    hasher: HashKey,
    limit: usize,
    /// What is known of every frame.
    facts: Rule,
}

/// The most heap that a table of so many values and sources holds, in bytes.
pub(super) const fn heap_bytes(limit: usize) -> usize {
    arena::table(limit, size_of::<Value>())
        + arena::table(limit, size_of::<Source>())
        + 2 * arena::index(limit)
}

impl Values {
    /// A table of at most `limit` values and as many sources.
    pub(super) fn new(limit: usize, hasher: HashKey, facts: Rule) -> Values {
        // Room for all, and for the first, so that no step has to move thousands of them.
        let mut values = Vec::with_capacity(limit + 1);
        values.push(Value::Unknown(UndecidedReason::Address, 0));
        Values {
            facts,
            limit,
            values,
            numbers: HashTable::with_capacity(limit),
            sources: Vec::with_capacity(limit),
            source_numbers: HashTable::with_capacity(limit),
            hasher,
        }
    }

    /// The value's number.
    ///
    /// # Errors
    /// More than `VALUES_MAX` values.
    pub(super) fn intern(&mut self, value: Value) -> Result<ValueId, Refusal> {
        let Values { values, numbers, hasher, limit, .. } = self;
        let hash = hasher.hash_one(&value);
        let same = |&id: &ValueId| values.get(id as usize) == Some(&value);
        if let Some(&id) = numbers.find(hash, same) {
            return Ok(id);
        }
        if values.len() >= *limit {
            return Err(Refusal::limit("VALUES_MAX", *limit as u64));
        }
        let id = values.len() as ValueId;
        values.push(value);
        numbers.insert_unique(hash, id, |&id| {
            values.get(id as usize).map_or(0, |value| hasher.hash_one(value))
        });
        Ok(id)
    }

    pub(super) fn get(&self, id: ValueId) -> Value {
        const MISSING: Value = Value::Unknown(UndecidedReason::Address, 0);
        self.values.get(id as usize).cloned().unwrap_or(MISSING)
    }

    /// The bits of a byte that are known, and which those are: value and mask.
    pub(super) fn fact(&self, cell: Cell) -> Option<(u8, u8)> {
        let set = self.facts.set(cell);
        if set.is_all() { None } else { set.as_masked().filter(|_| !set.is_empty()) }
    }

    /// The number of a byte of the frame.
    ///
    /// # Errors
    /// More than `VALUES_MAX` sources.
    pub(super) fn cell(&mut self, cell: Cell) -> Result<u32, Refusal> {
        self.source(Source::Byte(cell))
    }

    /// The number of a sum; `None` if it is too deep.
    ///
    /// # Errors
    /// More than `VALUES_MAX` sources.
    pub(super) fn sum(&mut self, sum: Source) -> Result<Option<u32>, Refusal> {
        let Source::Sum { of, .. } = sum else { return self.source(sum).map(Some) };
        if self.chain(of).1.iter().all(Option::is_some) {
            return Ok(None);
        }
        self.source(sum).map(Some)
    }

    fn source(&mut self, source: Source) -> Result<u32, Refusal> {
        let Values { sources, source_numbers, hasher, limit, .. } = self;
        let hash = hasher.hash_one(source);
        let same = |&id: &u32| sources.get(id as usize) == Some(&source);
        if let Some(&id) = source_numbers.find(hash, same) {
            return Ok(id);
        }
        if sources.len() >= *limit {
            return Err(Refusal::limit("VALUES_MAX", *limit as u64));
        }
        let id = sources.len() as u32;
        sources.push(source);
        source_numbers.insert_unique(hash, id, |&id| {
            sources.get(id as usize).map_or(0, |source| hasher.hash_one(source))
        });
        Ok(id)
    }

    /// The byte of the frame that a source depends on.
    pub(super) fn root(&self, source: u32) -> Cell {
        self.chain(source).0
    }

    /// The byte of the frame that a source is, if it is one.
    pub(super) fn plain(&self, source: u32) -> Option<Cell> {
        match self.sources.get(source as usize) {
            Some(&Source::Byte(cell)) => Some(cell),
            _ => None,
        }
    }

    /// What a source is when the byte it depends on is `raw`.
    pub(super) fn byte(&self, source: u32, raw: u8) -> u8 {
        let sums = self.chain(source).1;
        sums.iter().flatten().rev().fold(raw, |byte, sum| match *sum {
            Source::Byte(_) => byte,
            Source::Sum { first, mask, flip, plus, .. } => {
                ((byte >> first & mask) ^ flip).wrapping_add(plus) & mask
            }
        })
    }

    /// The byte at a source's root, and the sums from the source down to it.
    fn chain(&self, mut source: u32) -> (Cell, [Option<Source>; SUMS_DEEP]) {
        let mut sums = [None; SUMS_DEEP];
        let mut free = sums.iter_mut();
        loop {
            match (self.sources.get(source as usize), free.next()) {
                (Some(&Source::Byte(cell)), _) => return (cell, sums),
                (Some(&sum @ Source::Sum { of, .. }), Some(place)) => {
                    *place = Some(sum);
                    source = of;
                }
                _ => return (Cell::frame(0), sums),
            }
        }
    }

    /// The same sums of another byte.
    ///
    /// # Errors
    /// More than `VALUES_MAX` sources.
    pub(super) fn moved(&mut self, source: u32, to: impl Fn(Cell) -> Cell) -> Result<u32, Refusal> {
        let (cell, sums) = self.chain(source);
        let mut number = self.cell(to(cell))?;
        for sum in sums.into_iter().flatten().rev() {
            if let Source::Sum { first, mask, flip, plus, .. } = sum {
                number = self.source(Source::Sum { of: number, first, mask, flip, plus })?;
            }
        }
        Ok(number)
    }
}
