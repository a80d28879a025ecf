//! The engine's merged classifier: its convention, its tables, the call.
//!
//! The idea: dispatch code computes, for each mask shape, a key from the frame and looks it up in
//! that shape's table. Code and tables live apart, so that an insertion is a data write: the code
//! gets an array of table references with each call. What ties them is *geometry*: the number of
//! key words of each table, which the checker compared with the code. A [`Dispatcher`] holds code
//! and tables of equal geometry, and is the only way to call.
//!
//! Table layout: `buckets` (a power of two) buckets of [`BUCKET_SLOTS`] slots; a slot is its key
//! words followed by one value word. Code reads bucket `h & mask` and `(h >> 32) & mask`, any slot.
//! What the words mean is the engine's business: no content can make the code misbehave.

use alloc::vec::Vec;
use core::mem::{MaybeUninit, offset_of, size_of, transmute};

use super::code::{Code, Convention, sealed};
use super::pages::CodeError;

/// Slots in a bucket.
pub const BUCKET_SLOTS: usize = 4;
/// Key words in a slot at most.
pub const KEY_WORDS_MAX: usize = 6;
/// Tables, and so mask shapes, of one dispatcher at most.
pub const TABLES_MAX: usize = 64;
/// Buckets of a table at most: hash halves have 32 bits.
pub const BUCKETS_MAX: usize = 1 << 30;

/// Dispatch code: `(frame, length, table references, pending) -> best`.
///
/// It writes at most one word per table to `pending`, then a 0.
#[derive(Debug)]
pub enum Dispatch {}

impl sealed::Convention for Dispatch {}
impl Convention for Dispatch {
    /// Key words of each table, in order.
    type Geometry = Vec<usize>;
}

/// A table's whereabouts as the code sees them.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct TableRef {
    slots: u64,
    bucket_mask: u64,
}

// The engine emits these and its checker compares them: they are an interface.
const _: () = assert!(offset_of!(TableRef, slots) == 0);
const _: () = assert!(offset_of!(TableRef, bucket_mask) == 8);
const _: () = assert!(size_of::<TableRef>() == 16);

type DispatchEntry = extern "C" fn(*const u8, u64, *const TableRef, *mut u64) -> u64;

/// One shape's hash table, as words.
#[derive(Debug)]
pub struct Table {
    words: Vec<u64>,
    key_words: usize,
    buckets: usize,
}

impl Table {
    /// An empty table of `buckets` buckets (rounded up to a power of two).
    ///
    /// # Errors
    /// [`CodeError::NoMemory`] if there is no memory, or either argument is above its limit.
    pub fn new(key_words: usize, buckets: usize) -> Result<Self, CodeError> {
        let bucket_bytes =
            key_words.saturating_add(1).saturating_mul(BUCKET_SLOTS * size_of::<u64>());
        let limit = BUCKETS_MAX.saturating_mul(bucket_bytes);
        if key_words > KEY_WORDS_MAX || buckets > BUCKETS_MAX {
            return Err(CodeError::NoMemory { bytes: buckets.saturating_mul(bucket_bytes), limit });
        }
        let buckets = buckets.max(1).next_power_of_two();
        let len = buckets * BUCKET_SLOTS * (key_words + 1);
        let mut words = Vec::new();
        words
            .try_reserve_exact(len)
            .map_err(|_| CodeError::NoMemory { bytes: len * size_of::<u64>(), limit })?;
        words.resize(len, 0);
        Ok(Self { words, key_words, buckets })
    }

    /// Words of a key.
    #[must_use]
    pub fn key_words(&self) -> usize {
        self.key_words
    }

    /// Buckets, a power of two.
    #[must_use]
    pub fn buckets(&self) -> usize {
        self.buckets
    }

    /// Slots in all buckets.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.buckets * BUCKET_SLOTS
    }

    /// The two buckets that a hash names; they may be the same.
    #[must_use]
    pub fn buckets_of(&self, hash: u64) -> [usize; 2] {
        let mask = self.buckets - 1;
        [(hash as usize) & mask, ((hash >> 32) as usize) & mask]
    }

    /// A slot's key words and its value; `None` if there is no such slot.
    #[must_use]
    pub fn slot(&self, slot: usize) -> Option<(&[u64], u64)> {
        let stride = self.key_words + 1;
        let words = self.words.get(slot.checked_mul(stride)?..)?.get(..stride)?;
        let (value, key) = words.split_last()?;
        Some((key, *value))
    }

    /// Writes a slot. A slot that is not there, or a key of the wrong length, changes nothing.
    pub fn set_slot(&mut self, slot: usize, key: &[u64], value: u64) {
        let stride = self.key_words + 1;
        let words = self.words.get_mut(slot.saturating_mul(stride)..);
        let Some(words) = words.and_then(|rest| rest.get_mut(..stride)) else { return };
        let Some((last, rest)) = words.split_last_mut() else { return };
        if rest.len() == key.len() {
            rest.copy_from_slice(key);
            *last = value;
        }
    }
}

/// Dispatch code together with tables of the geometry it was checked against.
#[derive(Debug)]
pub struct Dispatcher {
    code: Code<Dispatch>,
    tables: Vec<Table>,
    refs: Vec<TableRef>,
}

/// Code and tables that do not fit each other, given back.
#[derive(Debug)]
pub struct Mismatch {
    /// Why.
    pub error: CodeError,
    /// The code.
    pub code: Code<Dispatch>,
    /// The tables.
    pub tables: Vec<Table>,
}

impl Dispatcher {
    /// Joins code and tables.
    ///
    /// # Errors
    /// [`CodeError::WrongTables`] names the first table that does not fit; [`CodeError::NoMemory`].
    pub fn new(code: Code<Dispatch>, tables: Vec<Table>) -> Result<Self, Mismatch> {
        if let Err(error) = fits(code.geometry(), &tables) {
            return Err(Mismatch { error, code, tables });
        }
        let mut refs = Vec::new();
        if refs.try_reserve_exact(tables.len()).is_err() {
            let bytes = tables.len() * size_of::<TableRef>();
            let error = CodeError::NoMemory { bytes, limit: TABLES_MAX * size_of::<TableRef>() };
            return Err(Mismatch { error, code, tables });
        }
        refs.extend(tables.iter().map(table_ref));
        Ok(Self { code, tables, refs })
    }

    /// Takes code and tables apart again.
    #[must_use]
    pub fn into_parts(self) -> (Code<Dispatch>, Vec<Table>) {
        (self.code, self.tables)
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> &Code<Dispatch> {
        &self.code
    }

    /// The tables, in the order of the code.
    #[must_use]
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// Writes one slot of one table. What is not there is not written.
    pub fn set_slot(&mut self, table: usize, slot: usize, key: &[u64], value: u64) {
        if let Some(chosen) = self.tables.get_mut(table) {
            chosen.set_slot(slot, key, value);
            // The write may have gone through a fresh borrow: name the words anew.
            if let Some(entry) = self.refs.get_mut(table) {
                *entry = table_ref(chosen);
            }
        }
    }

    /// Puts another table (a grown one) in the place of one, and returns the old.
    ///
    /// # Errors
    /// [`CodeError::WrongTables`] if there is no such place, or its key has another width.
    pub fn replace(&mut self, table: usize, new: Table) -> Result<Table, CodeError> {
        let wrong = CodeError::WrongTables { table };
        let old = self.tables.get_mut(table).ok_or(wrong)?;
        let entry = self.refs.get_mut(table).ok_or(wrong)?;
        if old.key_words != new.key_words {
            return Err(wrong);
        }
        *entry = table_ref(&new);
        Ok(core::mem::replace(old, new))
    }

    /// Classifies a frame: the greatest even value among the hits. Each odd one ("pending") is then
    /// passed to `resolve` with the best so far, in table order; what that returns is the new best.
    #[must_use]
    pub fn run(&self, frame: &[u8], mut resolve: impl FnMut(u64, u64) -> u64) -> u64 {
        let mut hits = [MaybeUninit::<u64>::uninit(); TABLES_MAX + 1];
        // SAFETY: the code was vouched for under `Dispatch` with the geometry of `self.tables`
        // (checked in `new` and `replace`). It reads `frame`, the table references and any slot of
        // the two buckets of each table (all borrowed from `self` for the call), and writes at
        // most one word per table (`TABLES_MAX` at most) and a final 0 to `hits`.
        let entry = unsafe { transmute::<*const (), DispatchEntry>(self.code.entry()) };
        let mut best = entry(
            frame.as_ptr(),
            frame.len() as u64,
            self.refs.as_ptr(),
            hits.as_mut_ptr().cast::<u64>(),
        );
        for hit in &hits {
            // SAFETY: the code wrote every word up to and including the first 0, where we stop.
            match unsafe { hit.assume_init() } {
                0 => break,
                value => best = resolve(best, value),
            }
        }
        best
    }
}

fn table_ref(table: &Table) -> TableRef {
    TableRef {
        slots: table.words.as_ptr().expose_provenance() as u64,
        bucket_mask: (table.buckets - 1) as u64,
    }
}

fn fits(geometry: &[usize], tables: &[Table]) -> Result<(), CodeError> {
    if geometry.len() != tables.len() || tables.len() > TABLES_MAX {
        return Err(CodeError::WrongTables { table: geometry.len().min(tables.len()) });
    }
    match geometry.iter().zip(tables).position(|(words, table)| *words != table.key_words) {
        Some(table) => Err(CodeError::WrongTables { table }),
        None => Ok(()),
    }
}
