//! The rules of all intermediate spaces, each once.
//!
//! A space is a list of numbers of rules. The space behind a failed test is usually the space
//! behind the next one with a few rules more, so that sharing keeps the whole construction small,
//! and whether two spaces have a rule in common is a comparison of numbers.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::BuildHasher;

use flow::{ByteSet, Cell, Rule};
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::arena;
use crate::limits::{ClaimBudget, RULES_WORK_MAX};
use crate::refusal::Refusal;

/// A rule's number.
pub(super) type RuleId = u32;

/// All rules of an extraction.
#[derive(Debug)]
pub(super) struct Rules {
    rules: Vec<Rule>,
    numbers: HashTable<RuleId>,
    cells: usize,
    references: usize,
    hasher: DefaultHashBuilder,
    budget: ClaimBudget,
}

/// The most heap that a table within `budget` holds, the lists that refer to it included, in bytes.
pub(super) const fn heap_bytes(budget: &ClaimBudget) -> usize {
    arena::table(budget.rules, size_of::<Rule>())
        + arena::index(budget.rules)
        + budget.cells * size_of::<(Cell, ByteSet)>()
        + budget.references * size_of::<RuleId>()
}

impl Rules {
    pub(super) fn new(budget: ClaimBudget) -> Rules {
        Rules {
            budget,
            references: 0,
            rules: Vec::new(),
            numbers: HashTable::new(),
            cells: 0,
            hasher: DefaultHashBuilder::default(),
        }
    }

    pub(super) fn get(&self, id: RuleId) -> Option<&Rule> {
        self.rules.get(id as usize)
    }

    /// The rule's number.
    ///
    /// # Errors
    /// More rules than `RULES_TABLE_MAX`, or more cells than `CELLS_WORK_MAX`.
    pub(super) fn intern(&mut self, rule: Rule) -> Result<RuleId, Refusal> {
        let Rules { rules, numbers, cells, hasher, budget, .. } = self;
        let hash = hasher.hash_one(&rule);
        if let Some(&id) = numbers.find(hash, |&id| rules.get(id as usize) == Some(&rule)) {
            return Ok(id);
        }
        if rules.len() >= budget.rules {
            return Err(Refusal::limit("RULES_TABLE_MAX", budget.rules as u64));
        }
        *cells += rule.cells().len();
        if *cells > budget.cells {
            return Err(Refusal::limit("CELLS_WORK_MAX", budget.cells as u64));
        }
        let id = rules.len() as RuleId;
        // A clone has no room to spare; the rule may.
        rules.push(rule.clone());
        numbers.insert_unique(hash, id, |&id| {
            rules.get(id as usize).map_or(0, |rule| hasher.hash_one(rule))
        });
        Ok(id)
    }

    /// Accounts for a list of so many numbers.
    ///
    /// # Errors
    /// More than `REFERENCES_MAX` in all.
    pub(super) fn refer(&mut self, count: usize) -> Result<(), Refusal> {
        self.references += count;
        if self.references > self.budget.references {
            return Err(Refusal::limit("REFERENCES_MAX", self.budget.references as u64));
        }
        Ok(())
    }

    /// The numbers of a list of rules.
    ///
    /// # Errors
    /// A limit of the table.
    pub(super) fn list(&mut self, rules: Vec<Rule>) -> Result<Box<[RuleId]>, Refusal> {
        self.refer(rules.len())?;
        rules.into_iter().map(|rule| self.intern(rule)).collect()
    }

    /// Whether a rule is inside one of a space's, as far as their tests show.
    pub(super) fn covered(&self, rule: &Rule, space: &[RuleId]) -> bool {
        space.iter().filter_map(|&id| self.get(id)).any(|other| rule.is_plainly_inside(other))
    }

    /// Adds a rule to a space, absorbing what it covers and merging it with its likes.
    ///
    /// # Errors
    /// A limit of the table, or more than `RULES_WORK_MAX` rules in the space.
    pub(super) fn add(&mut self, space: &mut Vec<RuleId>, rule: Rule) -> Result<(), Refusal> {
        let mut rule = rule;
        // Each round takes a rule out of the space or ends.
        loop {
            if self.covered(&rule, space) {
                return Ok(());
            }
            let merged = space.iter().enumerate().find_map(|(at, &id)| {
                let other = self.get(id)?;
                if other.is_plainly_inside(&rule) {
                    return Some((at, rule.clone()));
                }
                rule.merge(other).map(|merged| (at, merged))
            });
            let Some((at, merged)) = merged else { break };
            space.remove(at);
            rule = merged;
        }
        if space.len() >= RULES_WORK_MAX {
            return Err(Refusal::limit("RULES_WORK_MAX", RULES_WORK_MAX as u64));
        }
        space.push(self.intern(rule)?);
        Ok(())
    }
}
