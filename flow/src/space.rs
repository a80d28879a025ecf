//! A set of frames as a union of rules.
//!
//! What a filter claims, what a grant allows, what an expression says: all are a [`Space`]. Rules
//! of one space may overlap. Containment, disjointness and subtraction are exact; the steps of the
//! proofs are in [`crate::proof`], for callers that must not be away for long.

use alloc::vec::Vec;
use core::task::Poll;

use crate::error::{Contradiction, FlowError};
use crate::limits::{CELLS_MAX, GUARDS_MAX, PIECES_MAX, RULES_MAX};
use crate::proof::{Containment, Intersection};
use crate::rule::Rule;
use crate::subtract;

/// A union of rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Space {
    rules: Vec<Rule>,
}

impl Space {
    /// No frame.
    #[must_use]
    pub const fn empty() -> Space {
        Space { rules: Vec::new() }
    }

    /// Every frame of 14 to 1,522 bytes.
    #[must_use]
    pub fn all() -> Space {
        Space { rules: alloc::vec![Rule::any()] }
    }

    /// The union of `rules`.
    #[must_use]
    pub const fn from_rules(rules: Vec<Rule>) -> Space {
        Space { rules }
    }

    /// The rules whose union this is.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rules whose union this is, given away.
    #[must_use]
    pub fn into_rules(self) -> Vec<Rule> {
        self.rules
    }

    /// Whether `frame` is in the space.
    #[must_use]
    pub fn contains(&self, frame: &[u8]) -> bool {
        self.rules.iter().any(|rule| rule.matches(frame))
    }

    /// Whether the space has no rule. A space that has rules is still empty if aliasing makes all
    /// of them so: ask [`Space::witness`] to be exact.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// A frame of the space; `None` if and only if it is empty.
    ///
    /// # Errors
    /// [`FlowError::Budget`] as for [`Rule::absolute`].
    pub fn witness(&self) -> Result<Option<Vec<u8>>, FlowError> {
        for rule in &self.rules {
            if let Some(frame) = rule.witness()? {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// Whether the space keeps to the limits within which every proof about it can be finished.
    /// Spaces from outside are checked once, when they come in.
    ///
    /// # Errors
    /// [`FlowError::Budget`] naming `RULES_MAX`, `CELLS_MAX` or `GUARDS_MAX`.
    pub fn check(&self) -> Result<(), FlowError> {
        let limit = |limit| Err(FlowError::Budget { limit });
        if self.rules.len() > RULES_MAX {
            return limit("RULES_MAX");
        }
        for rule in &self.rules {
            if rule.cells().len() > CELLS_MAX {
                return limit("CELLS_MAX");
            }
            if rule.guards().count() > GUARDS_MAX {
                return limit("GUARDS_MAX");
            }
        }
        Ok(())
    }

    /// Frames in either space.
    #[must_use]
    pub fn union(&self, other: &Space) -> Space {
        let mut rules = self.rules.clone();
        rules.extend(other.rules.iter().filter(|rule| !self.rules.contains(rule)).cloned());
        Space { rules }
    }

    /// Frames in both spaces.
    ///
    /// # Errors
    /// [`FlowError::Budget`] where more than `PIECES_MAX` rules would result; two spaces that pass
    /// [`Space::check`] never make so many.
    pub fn intersect(&self, other: &Space) -> Result<Space, FlowError> {
        let mut rules = Vec::new();
        for ours in &self.rules {
            for both in other.rules.iter().filter_map(|theirs| ours.intersect(theirs)) {
                if rules.len() == PIECES_MAX {
                    return Err(FlowError::Budget { limit: "PIECES_MAX" });
                }
                rules.push(both);
            }
        }
        Ok(Space { rules })
    }

    /// Frames in this space and not in `other`, with at most `budget` rules made on the way
    /// (`PIECES_MAX` is the most).
    ///
    /// # Errors
    /// [`FlowError::Budget`] naming `PIECES_MAX`.
    pub fn subtract(&self, other: &Space, budget: usize) -> Result<Space, FlowError> {
        subtract::subtract(self, other, budget.min(PIECES_MAX)).map(Space::from_rules)
    }

    /// Frames not in the space.
    ///
    /// # Errors
    /// As for [`Space::subtract`].
    pub fn complement(&self) -> Result<Space, FlowError> {
        Space::all().subtract(self, PIECES_MAX)
    }

    /// Proves that every frame of this space is in `other`.
    ///
    /// # Errors
    /// A frame in this space and not in `other`, or the limit that left it open.
    pub fn subset_of(&self, other: &Space) -> Result<(), Contradiction> {
        match Containment::new(self, other).step(&mut u64::MAX.clone()) {
            Poll::Ready(verdict) => verdict,
            Poll::Pending => Err(Contradiction::Budget { limit: "VISITS_MAX" }),
        }
    }

    /// Proves that no frame is in both spaces.
    ///
    /// # Errors
    /// A frame in both, or the limit that left it open.
    pub fn disjoint_from(&self, other: &Space) -> Result<(), Contradiction> {
        match Intersection::new(self, other).step(&mut u64::MAX.clone()) {
            Poll::Ready(verdict) => verdict,
            Poll::Pending => Err(Contradiction::Budget { limit: "VISITS_MAX" }),
        }
    }
}

impl From<Rule> for Space {
    fn from(rule: Rule) -> Space {
        Space { rules: alloc::vec![rule] }
    }
}
