//! What a register holds during an extraction, and the table that numbers such values.
//!
//! Values are interned, so that a state is a few numbers and equal states are found by hashing.

use alloc::vec::Vec;
use core::hash::BuildHasher;

use flow::{Base, Cell};
use hashbrown::HashTable;

use super::word::Word;
use crate::arena;
use crate::hash::HashKey;
use crate::refusal::{Refusal, UndecidedReason};

/// A symbolic value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::large_enum_variant, reason = "most values are words, and a table holds them")]
pub(super) enum Value {
    /// Not expressible; why, and the instruction that made it.
    Unknown(UndecidedReason, u32),
    /// A number made of bits of the frame.
    Word(Word),
    /// `(length of the frame - address of the base + plus) mod 2^width`.
    Length { base: Base, plus: u64, width: u32 },
    /// The address of a base plus so many bytes.
    Place { base: Base, bytes: i64 },
    /// Just past the frame.
    End,
    /// The context.
    Context,
    /// `r10` plus so many bytes.
    Stack(i64),
}

/// A value's number.
pub(super) type ValueId = u32;

/// The number of a value that nothing reads: a dead register's.
pub(super) const DEAD: ValueId = 0;

/// All values and cells of an extraction, each once.
#[derive(Debug)]
pub(super) struct Values {
    values: Vec<Value>,
    numbers: HashTable<ValueId>,
    cells: Vec<Cell>,
    cell_numbers: HashTable<u32>,
    hasher: HashKey,
    limit: usize,
}

/// The most heap that a table of so many values and cells holds, in bytes.
pub(super) const fn heap_bytes(limit: usize) -> usize {
    arena::table(limit, size_of::<Value>())
        + arena::table(limit, size_of::<Cell>())
        + 2 * arena::index(limit)
}

impl Values {
    /// A table of at most `limit` values and as many cells.
    pub(super) fn new(limit: usize, hasher: HashKey) -> Values {
        // Room for all, and for the first, so that no step has to move thousands of them.
        let mut values = Vec::with_capacity(limit + 1);
        values.push(Value::Unknown(UndecidedReason::Address, 0));
        Values {
            limit,
            values,
            numbers: HashTable::with_capacity(limit),
            cells: Vec::with_capacity(limit),
            cell_numbers: HashTable::with_capacity(limit),
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

    /// The cell's number.
    ///
    /// # Errors
    /// More than `VALUES_MAX` cells.
    pub(super) fn cell(&mut self, cell: Cell) -> Result<u32, Refusal> {
        let Values { cells, cell_numbers, hasher, limit, .. } = self;
        let hash = hasher.hash_one(cell);
        let same = |&id: &u32| cells.get(id as usize) == Some(&cell);
        if let Some(&id) = cell_numbers.find(hash, same) {
            return Ok(id);
        }
        if cells.len() >= *limit {
            return Err(Refusal::limit("VALUES_MAX", *limit as u64));
        }
        let id = cells.len() as u32;
        cells.push(cell);
        cell_numbers.insert_unique(hash, id, |&id| {
            cells.get(id as usize).map_or(0, |cell| hasher.hash_one(cell))
        });
        Ok(id)
    }

    /// The cell with this number.
    pub(super) fn cell_at(&self, number: u32) -> Cell {
        self.cells.get(number as usize).copied().unwrap_or(Cell::frame(0))
    }
}
