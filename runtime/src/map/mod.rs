//! Maps: what is in them, with one layout for generated code, interpreter and system calls.
//!
//! The idea: a map is memory that is all there from the start. Values are slots of equal stride in
//! one piece of memory that never moves; a look-up yields a slot, and generated code its address.
//! A deleted entry's slot stays the map's: a program that still holds its address reads or writes
//! some value of the same map, as in Linux, and nothing else (decision 030).
//!
//! | file | is |
//! |---|---|
//! | `words` | memory that safe and generated code share |
//! | `table` | hash table and order of use, with a bound on every walk |
//! | `keyed` | the keyed hash |
//! | `prefix` | longest-prefix match: a table probed once for each prefix length in use |
//! | `errno` | error numbers |
//!
//! Every operation is bounded by the key's and the value's size, for a trie also by the number of
//! prefix lengths in use. Return codes and flags are Linux's. One user at a time: two at once leave
//! some mixture of what both wrote in the map, never anything outside of it.

mod errno;
mod interp;
mod keyed;
mod prefix;
mod table;
#[cfg(test)]
mod tests;
pub(crate) mod words;

use alloc::sync::Arc;
use core::sync::atomic::AtomicU64;

use ebpf::{MapError, MapKind, MapSpec};

pub use errno::{Errno, status};
pub use interp::MapSet;
pub use keyed::Secret;
use prefix::{Lengths, LengthsMaker, Prefix};
use table::{Table, TableMaker};
use words::{Growing, Words};

/// `BPF_ANY`: create or update.
pub const ANY: u64 = 0;
/// `BPF_NOEXIST`: create only.
pub const NO_EXIST: u64 = 1;
/// `BPF_EXIST`: update only.
pub const EXIST: u64 = 2;

/// A map.
#[derive(Debug)]
pub struct Map {
    spec: MapSpec,
    values: Words,
    index: Index,
}

/// How keys become slots.
#[derive(Debug)]
enum Index {
    /// The key is the slot.
    Array,
    Hash(Table),
    /// The table's order is the order of use.
    Lru(Table),
    Trie(Table, Lengths),
}

/// Why a map could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MakeError {
    /// There can be no such map.
    Spec(MapError),
    /// No memory for it.
    NoMemory {
        /// Bytes wanted ([`Map::bytes`]).
        bytes: usize,
    },
}

/// A map whose memory is reserved and being filled: [`Maker::advance`] until it is there.
#[derive(Debug)]
pub struct Maker {
    spec: MapSpec,
    values: Growing<AtomicU64>,
    table: Option<TableMaker>,
    lengths: Option<LengthsMaker>,
}

impl Maker {
    /// Reserves all memory of a map; the secret is for its hash.
    ///
    /// # Errors
    /// [`MakeError`]; nothing is reserved then.
    pub fn new(spec: MapSpec, secret: Secret) -> Result<Self, MakeError> {
        spec.validate().map_err(MakeError::Spec)?;
        Self::reserve(spec, secret).ok_or(MakeError::NoMemory { bytes: Map::bytes(&spec) })
    }

    fn reserve(spec: MapSpec, secret: Secret) -> Option<Self> {
        let values = Growing::reserve(spec.value_bytes() / 8)?;
        let capacity = spec.max_entries;
        let table = if spec.kind.is_array() {
            None
        } else {
            Some(TableMaker::reserve(key_words(&spec), capacity, secret)?)
        };
        let lengths = match spec.kind {
            MapKind::LpmTrie => Some(LengthsMaker::reserve(prefix::bits(&spec))?),
            _ => None,
        };
        Some(Self { spec, values, table, lengths })
    }

    /// Fills at most so many words; true once the map can be [`Maker::finish`]ed.
    pub fn advance(&mut self, words: usize) -> bool {
        let mut budget = words;
        self.values.fill(&mut budget, |_| AtomicU64::new(0))
            && self.table.as_mut().is_none_or(|table| table.fill(&mut budget))
            && self.lengths.as_mut().is_none_or(|lengths| lengths.fill(&mut budget))
    }

    /// The map. What was not filled yet is filled now.
    #[must_use]
    pub fn finish(mut self) -> Arc<Map> {
        while !self.advance(usize::MAX) {}
        let index = match (self.spec.kind, self.table, self.lengths) {
            (MapKind::Hash, Some(table), _) => Index::Hash(table.finish()),
            (MapKind::LruHash, Some(table), _) => Index::Lru(table.finish()),
            (MapKind::LpmTrie, Some(table), Some(lengths)) => {
                Index::Trie(table.finish(), lengths.finish())
            }
            _ => Index::Array,
        };
        Arc::new(Map { spec: self.spec, values: self.values.into(), index })
    }
}

impl Map {
    /// An empty map (arrays: all zeroes), made in one go.
    ///
    /// # Errors
    /// [`MakeError`]
    pub fn new(spec: MapSpec, secret: Secret) -> Result<Arc<Map>, MakeError> {
        Maker::new(spec, secret).map(Maker::finish)
    }

    /// Heap that a map takes, all of it, in bytes; the allocator's own needs excluded.
    #[must_use]
    pub fn bytes(spec: &MapSpec) -> usize {
        let table = if spec.kind.is_array() {
            0
        } else {
            table::heap_bytes(key_words(spec), spec.max_entries)
        };
        let lengths = if spec.kind == MapKind::LpmTrie { 4 * (prefix::bits(spec) + 1) } else { 0 };
        size_of::<Map>() + 2 * size_of::<usize>() + spec.value_bytes() + table + lengths
    }

    /// Allocations that a map consists of, at most.
    pub const ALLOCATIONS: usize = 7;

    /// What it is.
    #[must_use]
    pub const fn spec(&self) -> &MapSpec {
        &self.spec
    }

    /// Entries; all of them for an array.
    #[must_use]
    pub fn len(&self) -> u32 {
        match &self.index {
            Index::Array => self.spec.max_entries,
            Index::Hash(table) | Index::Lru(table) | Index::Trie(table, _) => table.len(),
        }
    }

    /// Whether it has no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Address of the first value. The values follow each other at [`MapSpec::value_stride`].
    #[must_use]
    pub fn values_address(&self) -> u64 {
        self.values.address()
    }

    /// Address of a slot's value.
    #[must_use]
    pub fn value_address(&self, slot: u32) -> u64 {
        self.values_address() + u64::from(slot) * self.spec.value_stride() as u64
    }

    /// The slot of a key, as a program looks it up: a use of the entry.
    #[must_use]
    pub fn lookup(&self, key: &[u8]) -> Option<u32> {
        let slot = self.peek(key)?;
        if let Index::Lru(table) = &self.index {
            table.renew(slot);
        }
        Some(slot)
    }

    /// As [`Map::lookup`] in a hash map (not LRU) whose keys are at most a word: the rest of it is
    /// zero. Nothing in other maps.
    #[inline(always)]
    pub(crate) fn lookup_word(&self, key: u64) -> Option<u32> {
        match &self.index {
            Index::Hash(table) => table.find_word(key),
            _ => None,
        }
    }

    /// The slot of a key, looked up from outside: no use of the entry.
    #[must_use]
    pub fn peek(&self, key: &[u8]) -> Option<u32> {
        if key.len() != self.spec.key_size as usize {
            return None;
        }
        match &self.index {
            Index::Array => Some(self.array_index(key)).filter(|&at| at < self.spec.max_entries),
            Index::Hash(table) | Index::Lru(table) => table.find(key),
            Index::Trie(table, lengths) => lengths.longest(table, key),
        }
    }

    /// The slot that an update of a key writes: its own, or a new one. The caller then writes the
    /// whole value.
    ///
    /// # Errors
    /// [`Errno`]; nothing has changed then.
    pub fn claim(&self, key: &[u8], flags: u64) -> Result<u32, Errno> {
        if key.len() != self.spec.key_size as usize || flags > EXIST {
            return Err(Errno::Invalid);
        }
        match &self.index {
            Index::Array => self.claim_in_array(key, flags),
            Index::Hash(table) => claim(table, key, flags, |table, key| {
                let full = table.is_full() || table.crowded(key).is_some();
                if full { Err(Errno::TooBig) } else { Ok(()) }
            }),
            Index::Lru(table) => claim(table, key, flags, make_room),
            Index::Trie(table, lengths) => {
                let prefix = Prefix::of(key).ok_or(Errno::Invalid)?;
                let before = table.len();
                let slot = claim(table, prefix.key(), flags, |table, key| {
                    let full = table.is_full() || table.crowded(key).is_some();
                    if full { Err(Errno::NoSpace) } else { Ok(()) }
                })?;
                if table.len() != before {
                    lengths.gained(prefix.bits());
                }
                Ok(slot)
            }
        }
    }

    /// Writes a key's value.
    ///
    /// # Errors
    /// [`Errno`]; nothing has changed then.
    pub fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        if value.len() != self.spec.value_size as usize {
            return Err(Errno::Invalid);
        }
        let slot = self.claim(key, flags)?;
        self.values.put(self.value_word(slot), value);
        Ok(())
    }

    /// Takes a key out. Its slot's memory stays the map's.
    ///
    /// # Errors
    /// [`Errno::Invalid`] for arrays and impossible prefixes, [`Errno::NoEntry`].
    pub fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        if key.len() != self.spec.key_size as usize {
            return Err(Errno::Invalid);
        }
        let take = |table: &Table, key: &[u8]| {
            let slot = table.find(key).ok_or(Errno::NoEntry)?;
            table.remove(slot, key);
            Ok(())
        };
        match &self.index {
            Index::Array => Err(Errno::Invalid),
            Index::Hash(table) | Index::Lru(table) => take(table, key),
            Index::Trie(table, lengths) => {
                let prefix = Prefix::of(key).ok_or(Errno::Invalid)?;
                take(table, prefix.key())?;
                lengths.lost(prefix.bits());
                Ok(())
            }
        }
    }

    /// The key after this one, or the first for none and for one that is not there: every key once,
    /// unless the map changes meanwhile.
    ///
    /// # Errors
    /// [`Errno::NoEntry`] after the last; [`Errno::Invalid`] for keys of the wrong size.
    pub fn next_key(&self, key: Option<&[u8]>, into: &mut [u8]) -> Result<(), Errno> {
        let size = self.spec.key_size as usize;
        if into.len() != size || key.is_some_and(|key| key.len() != size) {
            return Err(Errno::Invalid);
        }
        match &self.index {
            Index::Array => {
                let here = key.map(|key| self.array_index(key));
                let next = here.filter(|&at| at < self.spec.max_entries).map_or(0, |at| at + 1);
                if next >= self.spec.max_entries {
                    return Err(Errno::NoEntry);
                }
                into.copy_from_slice(&next.to_le_bytes());
            }
            Index::Hash(table) | Index::Lru(table) => {
                let here = key.and_then(|key| table.find(key));
                next_in(table, here, into)?;
            }
            Index::Trie(table, _) => {
                let prefix = key.and_then(Prefix::of);
                let here = prefix.and_then(|prefix| table.find(prefix.key()));
                next_in(table, here, into)?;
            }
        }
        Ok(())
    }

    /// Copies bytes of a slot's value; false if they are not all inside it.
    #[must_use]
    pub fn read(&self, slot: u32, offset: usize, into: &mut [u8]) -> bool {
        let inside = self.is_inside(slot, offset, into.len());
        if inside {
            self.values.read(self.value_word(slot) * 8 + offset, into);
        }
        inside
    }

    /// Writes bytes of a slot's value; false if they are not all inside it.
    #[must_use]
    pub fn write(&self, slot: u32, offset: usize, bytes: &[u8]) -> bool {
        let inside = self.is_inside(slot, offset, bytes.len());
        if inside {
            self.values.write(self.value_word(slot) * 8 + offset, bytes);
        }
        inside
    }

    /// The words of the values, for the copy that a helper makes.
    pub(crate) const fn values(&self) -> &Words {
        &self.values
    }

    /// The first word of a slot's value.
    pub(crate) const fn value_word(&self, slot: u32) -> usize {
        slot as usize * (self.spec.value_stride() / 8)
    }

    fn is_inside(&self, slot: u32, offset: usize, bytes: usize) -> bool {
        let end = offset.checked_add(bytes);
        slot < self.spec.max_entries && end.is_some_and(|end| end <= self.spec.value_size as usize)
    }

    /// Keys of arrays have four bytes.
    fn array_index(&self, key: &[u8]) -> u32 {
        words::word(key) as u32
    }

    fn claim_in_array(&self, key: &[u8], flags: u64) -> Result<u32, Errno> {
        let at = self.array_index(key);
        if at >= self.spec.max_entries {
            Err(Errno::TooBig)
        } else if flags == NO_EXIST {
            Err(Errno::Exists)
        } else {
            Ok(at)
        }
    }
}

/// Words of a key in a table.
fn key_words(spec: &MapSpec) -> usize {
    (spec.key_size as usize).div_ceil(8)
}

fn claim(
    table: &Table,
    key: &[u8],
    flags: u64,
    room: impl Fn(&Table, &[u8]) -> Result<(), Errno>,
) -> Result<u32, Errno> {
    match table.find(key) {
        Some(_) if flags == NO_EXIST => Err(Errno::Exists),
        Some(slot) => Ok(slot),
        None if flags == EXIST => Err(Errno::NoEntry),
        None => {
            room(table, key)?;
            table.insert(key).ok_or(Errno::TooBig)
        }
    }
}

/// Takes out the entry that was not used for longest, if a new one has no room.
fn make_room(table: &Table, key: &[u8]) -> Result<(), Errno> {
    let full = if table.is_full() { table.oldest() } else { None };
    if let Some(victim) = table.crowded(key).or(full) {
        let mut old = [0; ebpf::limits::MAP_KEY_BYTES_MAX];
        let old = old.get_mut(..key.len()).ok_or(Errno::Invalid)?;
        table.key(victim, old);
        table.remove(victim, old);
    }
    Ok(())
}

fn next_in(table: &Table, here: Option<u32>, into: &mut [u8]) -> Result<(), Errno> {
    let next = match here {
        Some(slot) => table.newer(slot),
        None => table.oldest(),
    };
    table.key(next.ok_or(Errno::NoEntry)?, into);
    Ok(())
}
