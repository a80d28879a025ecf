//! Entries: who claims a key, and what the tables say about it.
//!
//! The idea: a table slot holds one word, the entry's *value*, so that dispatch code need not know
//! more: `rank << 48 | index << 1 | pending`. The greatest value wins. If the first claimant of a
//! key needs no confirmation, the index is its holder's; else the value is *pending* (odd) and the
//! index is the entry's, whose claimants are then tried in order.
//!
//! Rank: a grant at depth d has 2d, its bindings 2d + 1. So a binding beats its own grant, and both
//! beat whatever is further up (design decision 3). The root, rank 0, is never stored.

use alloc::vec::Vec;

use crate::error::EngineError;
use crate::limits::CLAIMANTS_MAX;
use crate::plan::Key;

/// A key of one shape, and its claimants.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) shape: usize,
    pub(super) key: Key,
    pub(super) hash: u64,
    /// Where it is in the shape's table.
    pub(super) slot: usize,
    /// Greatest rank first.
    claimants: Vec<Claimant>,
}

/// One holder's claim to a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claimant {
    pub(super) holder: usize,
    pub(super) rank: u16,
    /// Whether the key is the whole rule; if not, the holder's program must confirm.
    pub(super) exact: bool,
    /// Published.
    pub(super) visible: bool,
}

const RANK_SHIFT: u32 = 48;

/// What is in a table's value word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// The holder at this index has it.
    Holder(usize),
    /// The claimants of the entry at this index must be tried.
    Pending(usize),
}

/// Packs a value; never 0 for a rank above 0.
pub(super) fn pack(rank: u16, value: Value) -> u64 {
    let (index, pending) = match value {
        Value::Holder(index) => (index, 0),
        Value::Pending(index) => (index, 1),
    };
    u64::from(rank) << RANK_SHIFT | (index as u64) << 1 | pending
}

/// Takes a value apart; `None` for 0, "nothing".
pub(super) fn unpack(value: u64) -> Option<Value> {
    let index = (value << 16 >> 17) as usize;
    match value {
        0 => None,
        _ if value & 1 == 1 => Some(Value::Pending(index)),
        _ => Some(Value::Holder(index)),
    }
}

impl Entry {
    pub(super) fn new(shape: usize, key: Key, hash: u64) -> Self {
        Self { shape, key, hash, slot: usize::MAX, claimants: Vec::new() }
    }

    /// Adds a claimant in its place. A holder whose rules share a key has it once: exactly if one
    /// of the rules is exact.
    pub(super) fn add(&mut self, claimant: Claimant) -> Result<(), EngineError> {
        if let Some(known) = self.claimants.iter_mut().find(|c| c.holder == claimant.holder) {
            known.exact |= claimant.exact;
            return Ok(());
        }
        if self.claimants.len() >= CLAIMANTS_MAX {
            return Err(EngineError::Claimants { limit: CLAIMANTS_MAX });
        }
        self.claimants.try_reserve(1).map_err(|_| EngineError::NoMemory)?;
        let at = self.claimants.partition_point(|other| other.rank >= claimant.rank);
        self.claimants.insert(at, claimant);
        Ok(())
    }

    pub(super) fn remove(&mut self, holder: usize) {
        self.claimants.retain(|claimant| claimant.holder != holder);
    }

    pub(super) fn publish(&mut self, holder: usize) {
        for claimant in self.claimants.iter_mut().filter(|c| c.holder == holder) {
            claimant.visible = true;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.claimants.is_empty()
    }

    /// Published claimants, greatest rank first.
    pub(super) fn visible(&self) -> impl Iterator<Item = &Claimant> {
        self.claimants.iter().filter(|claimant| claimant.visible)
    }

    /// The value word of this entry, whose index is `index`; 0 while nobody is published.
    pub(super) fn value(&self, index: usize) -> u64 {
        self.visible().next().map_or(0, |first| {
            let value =
                if first.exact { Value::Holder(first.holder) } else { Value::Pending(index) };
            pack(first.rank, value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Claimant, Entry, Value, pack, unpack};

    #[test]
    fn values_order_by_rank_and_come_apart_again() {
        for value in [Value::Holder(0), Value::Pending(0), Value::Holder(0xffff_ffff)] {
            assert_eq!(unpack(pack(1, value)), Some(value));
            assert_eq!(unpack(pack(0x7fff, value)), Some(value));
        }
        assert_eq!(unpack(0), None);
        assert!(pack(3, Value::Holder(0)) > pack(2, Value::Pending(usize::MAX >> 18)));
    }

    #[test]
    fn the_deepest_published_claimant_makes_the_value() {
        let claim = |holder, rank, exact| Claimant { holder, rank, exact, visible: false };
        let mut entry = Entry::new(0, [0; 6], 0);
        entry.add(claim(7, 3, true)).unwrap();
        entry.add(claim(8, 5, false)).unwrap();
        assert_eq!(entry.value(9), 0);
        entry.publish(7);
        assert_eq!(entry.value(9), pack(3, Value::Holder(7)));
        entry.publish(8);
        assert_eq!(entry.value(9), pack(5, Value::Pending(9)));
        entry.add(claim(8, 5, true)).unwrap();
        assert_eq!(entry.value(9), pack(5, Value::Holder(8)));
        entry.remove(8);
        assert_eq!(entry.value(9), pack(3, Value::Holder(7)));
        entry.remove(7);
        assert!(entry.is_empty());
    }
}
