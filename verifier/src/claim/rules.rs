//! The rules of all intermediate spaces, each once.
//!
//! A space is a list of numbers of rules. The space behind a failed test is usually the space
//! behind the next one with a few rules more, so that sharing keeps the whole construction small,
//! and whether two spaces have a rule in common is a comparison of numbers.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::BuildHasher;

use flow::{ByteSet, Cell, Rule};
use hashbrown::HashTable;

use crate::arena;
use crate::hash::HashKey;
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
    hasher: HashKey,
    budget: ClaimBudget,
}

/// Rules that one work item compares a rule with at most.
pub(super) const COMPARED_AT_ONCE: usize = 16;

/// A rule on its way into a space: first it is compared with all rules that may be around it, then
/// with those that it may take up. Every merge begins anew and takes a rule out, so it ends.
#[derive(Debug)]
pub(super) struct Adding {
    rule: Rule,
    /// Index of the rule to compare with next.
    at: usize,
    /// Whether no rule of the space is around it.
    absorbs: bool,
}

impl Adding {
    /// Nothing is compared yet.
    pub(super) const fn new(rule: Rule) -> Adding {
        Adding { rule, at: 0, absorbs: false }
    }
}

/// The most heap that a table within `budget` holds, the lists that refer to it included, in bytes.
pub(super) const fn heap_bytes(budget: &ClaimBudget) -> usize {
    arena::table(budget.rules, size_of::<Rule>())
        + arena::index(budget.rules)
        + budget.cells * size_of::<(Cell, ByteSet)>()
        + budget.references * size_of::<RuleId>()
}

impl Rules {
    /// A table with room for all of `budget`: to grow would be a long step.
    pub(super) fn new(budget: ClaimBudget, hasher: HashKey) -> Rules {
        Rules {
            budget,
            references: 0,
            rules: Vec::with_capacity(budget.rules),
            numbers: HashTable::with_capacity(budget.rules),
            cells: 0,
            hasher,
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

    /// Gives the memory of one rule back; the table is of no use then. `false`: there is none.
    pub(super) fn forget_one(&mut self) -> bool {
        self.rules.pop().is_some()
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

    /// Adds a rule to a space, absorbing what it covers and merging it with its likes. For short
    /// spaces only: everything is done at once.
    ///
    /// # Errors
    /// As for [`Rules::add_some`].
    pub(super) fn add(&mut self, space: &mut Vec<RuleId>, rule: Rule) -> Result<(), Refusal> {
        let mut adding = Some(Adding::new(rule));
        while let Some(rest) = adding {
            adding = self.add_some(space, rest)?;
        }
        Ok(())
    }

    /// Brings a rule a bit further on its way into a space, by at most [`COMPARED_AT_ONCE`]
    /// comparisons. `None`: it is there.
    ///
    /// # Errors
    /// A limit of the table, or more than `RULES_WORK_MAX` rules in the space.
    pub(super) fn add_some(
        &mut self,
        space: &mut Vec<RuleId>,
        mut adding: Adding,
    ) -> Result<Option<Adding>, Refusal> {
        for _ in 0..COMPARED_AT_ONCE {
            let other = space.get(adding.at).and_then(|&id| self.get(id));
            match (other, adding.absorbs) {
                (None, false) => (adding.at, adding.absorbs) = (0, true),
                (None, true) => return self.push(space, adding.rule).map(|()| None),
                (Some(other), false) if adding.rule.is_plainly_inside(other) => return Ok(None),
                (Some(_), false) => adding.at += 1,
                (Some(other), true) if other.is_plainly_inside(&adding.rule) => {
                    space.remove(adding.at);
                }
                (Some(other), true) => match adding.rule.merge(other) {
                    Some(merged) => {
                        space.remove(adding.at);
                        adding = Adding::new(merged);
                    }
                    None => adding.at += 1,
                },
            }
        }
        Ok(Some(adding))
    }

    fn push(&mut self, space: &mut Vec<RuleId>, rule: Rule) -> Result<(), Refusal> {
        if space.len() >= RULES_WORK_MAX {
            return Err(Refusal::limit("RULES_WORK_MAX", RULES_WORK_MAX as u64));
        }
        space.push(self.intern(rule)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use flow::{ByteSet, Cell, Rule};

    use super::{Adding, COMPARED_AT_ONCE, RuleId, Rules};
    use crate::hash::HashKey;
    use crate::limits::ClaimBudget;

    fn byte(at: u16, value: u8) -> Rule {
        Rule::any().with(Cell::frame(at), ByteSet::exact(value)).unwrap()
    }

    /// Rules of which no two can be merged.
    fn apart(count: u8) -> impl Iterator<Item = Rule> {
        (0..count).map(|n| byte(20 + u16::from(n), n))
    }

    #[test]
    fn a_work_item_compares_with_few_rules_however_many_there_are() {
        let mut rules = Rules::new(ClaimBudget::of(4096), HashKey::PUBLIC);
        let mut space: Vec<RuleId> = Vec::new();
        for rule in apart(200) {
            rules.add(&mut space, rule).unwrap();
        }
        assert_eq!(space.len(), 200);
        let mut items = 0;
        let mut adding = Some(Adding::new(byte(300, 1)));
        while let Some(rest) = adding {
            adding = rules.add_some(&mut space, rest).unwrap();
            items += 1;
        }
        assert!(items >= 2 * 200 / COMPARED_AT_ONCE, "{items} items");
        assert_eq!(space.len(), 201);
    }

    #[test]
    fn a_rule_is_taken_in_takes_others_in_and_merges() {
        let mut rules = Rules::new(ClaimBudget::of(4096), HashKey::PUBLIC);
        let mut space: Vec<RuleId> = Vec::new();
        for rule in apart(40) {
            rules.add(&mut space, rule).unwrap();
        }
        // Inside the rule for byte 59, the last.
        let inside = byte(59, 39).with(Cell::frame(100), ByteSet::exact(1)).unwrap();
        rules.add(&mut space, inside).unwrap();
        assert_eq!(space.len(), 40);
        // Differs from it in one set, and so does the next: one rule for three values.
        rules.add(&mut space, byte(59, 40)).unwrap();
        rules.add(&mut space, byte(59, 41)).unwrap();
        assert_eq!(space.len(), 40);
        let merged = space
            .iter()
            .filter_map(|&id| rules.get(id))
            .any(|rule| rule.cells().eq([(Cell::frame(59), ByteSet::range(39, 41))]));
        assert!(merged);
        // Around all of them.
        rules.add(&mut space, Rule::any()).unwrap();
        assert_eq!(space.len(), 1);
    }
}
