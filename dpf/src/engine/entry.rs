//! Entries: who claims a key.
//!
//! The idea: most keys have one claimant, whose verdict stands in the table itself. Where several
//! holders at different depths claim a key, or a key is not the whole rule, the entry's list says
//! who is asked in which order: the greatest rank first. What asking may cost is bounded when a
//! claimant is added, not when a packet comes.

use alloc::vec::Vec;

use super::value::{self, Rank};
use crate::error::EngineError;
use crate::limits::{CLAIMANTS_MAX, RESIDUAL_COST_MAX};

/// A key of one lane, and its claimants.
#[derive(Debug)]
pub(super) struct Entry {
    /// The lane's number.
    pub(super) lane: u32,
    /// Which of the lane's banks it is in.
    pub(super) bank: u8,
    pub(super) slot: u32,
    /// The one with the greatest rank.
    first: Option<Claimant>,
    /// The others, greatest rank first.
    more: Vec<Claimant>,
}

/// One holder's claim to a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claimant {
    pub(super) holder: u32,
    pub(super) rank: Rank,
    /// Whether the key is the whole rule; if not, the holder's program must confirm.
    pub(super) exact: bool,
    /// What that costs at worst, in instructions.
    pub(super) cost: u32,
    /// Published.
    pub(super) visible: bool,
    /// Its value, if it has one by itself.
    pub(super) settled: Option<u64>,
}

impl Entry {
    pub(super) const fn new(lane: u32) -> Self {
        Self { lane, bank: 0, slot: 0, first: None, more: Vec::new() }
    }

    /// Adds a claimant in its place. A holder whose rules share a key has it once: exactly if one
    /// of the rules is exact.
    pub(super) fn add(&mut self, mut claimant: Claimant) -> Result<(), EngineError> {
        if let Some(known) = self.all_mut().find(|known| known.holder == claimant.holder) {
            known.exact |= claimant.exact;
            return Ok(());
        }
        let Some(first) = &mut self.first else {
            self.first = Some(claimant);
            return Ok(());
        };
        if self.more.len() + 1 >= CLAIMANTS_MAX {
            return Err(EngineError::Claimants { limit: CLAIMANTS_MAX });
        }
        self.more.try_reserve(1).map_err(|_| EngineError::NoMemory)?;
        if claimant.rank > first.rank {
            core::mem::swap(first, &mut claimant);
        }
        let at = self.more.partition_point(|other| other.rank >= claimant.rank);
        self.more.insert(at, claimant);
        Ok(())
    }

    /// Whether what must be confirmed here, with a claimant of this cost more, stays bounded.
    pub(super) fn affords(&self, cost: u32) -> Result<(), EngineError> {
        let asked = self.all().filter(|claimant| !claimant.exact);
        let sum = asked.map(|claimant| u64::from(claimant.cost)).sum::<u64>() + u64::from(cost);
        if sum > RESIDUAL_COST_MAX {
            return Err(EngineError::ResidualCost { limit: RESIDUAL_COST_MAX });
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, holder: u32) {
        self.more.retain(|claimant| claimant.holder != holder);
        if self.first.is_some_and(|first| first.holder == holder) {
            self.first = if self.more.is_empty() { None } else { Some(self.more.remove(0)) };
        }
    }

    pub(super) fn publish(&mut self, holder: u32, settled: Option<u64>) {
        for claimant in self.all_mut().filter(|claimant| claimant.holder == holder) {
            claimant.visible = true;
            claimant.settled = settled;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Published claimants, greatest rank first.
    pub(super) fn visible(&self) -> impl Iterator<Item = &Claimant> {
        self.all().filter(|claimant| claimant.visible)
    }

    /// The value word of this entry, whose index is `index`; 0 while nobody is published.
    pub(super) fn value(&self, index: u32) -> u64 {
        self.visible().next().map_or(0, |first| match first.settled {
            Some(value) if first.exact => value,
            _ => value::pending(first.rank, index),
        })
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Claimant> {
        self.first.iter().chain(&self.more)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Claimant> {
        self.first.iter_mut().chain(&mut self.more)
    }
}

#[cfg(test)]
mod tests {
    use super::{Claimant, Entry};
    use crate::engine::value::{Rank, pending};
    use crate::error::EngineError;

    fn claim(holder: u32, depth: u32, exact: bool) -> Claimant {
        let rank = Rank::binding(depth).unwrap();
        Claimant { holder, rank, exact, cost: 5000, visible: false, settled: None }
    }

    #[test]
    fn the_deepest_published_claimant_makes_the_value() {
        let mut entry = Entry::new(0);
        entry.add(claim(7, 1, true)).unwrap();
        entry.add(claim(8, 2, false)).unwrap();
        entry.add(claim(6, 0, true)).unwrap();
        assert_eq!(entry.value(9), 0);
        entry.publish(7, Some(70));
        assert_eq!(entry.value(9), 70);
        entry.publish(8, Some(80));
        assert_eq!(entry.value(9), pending(Rank::binding(2).unwrap(), 9));
        entry.add(claim(8, 2, true)).unwrap();
        assert_eq!(entry.value(9), 80);
        entry.remove(8);
        assert_eq!(entry.value(9), 70);
        entry.publish(6, None);
        entry.remove(7);
        assert_eq!(entry.value(9), pending(Rank::binding(0).unwrap(), 9));
        entry.remove(6);
        assert!(entry.is_empty());
    }

    #[test]
    fn what_may_have_to_be_asked_is_bounded() {
        let mut entry = Entry::new(0);
        for holder in 0..3 {
            entry.affords(5000).unwrap();
            entry.add(claim(holder, 1, false)).unwrap();
        }
        assert!(matches!(entry.affords(5000), Err(EngineError::ResidualCost { .. })));
        entry.affords(1).unwrap();
        let mut full = Entry::new(0);
        let refused = (0..100).find_map(|holder| full.add(claim(holder, 1, true)).err());
        assert!(matches!(refused, Some(EngineError::Claimants { .. })));
    }
}
