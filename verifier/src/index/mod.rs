//! Who might meet a rule: found by its shape, not by asking everybody.
//!
//! Rules that test the same bits of the same bytes are a [`Population`]. For a new rule and each
//! population the bits that both test are compared with all of the population's rules in one
//! look-up of a table that is keyed by just these bits (see [`shape::Cut`]); so the cost follows
//! the number of shapes, not of rules. What a look-up finds is a candidate: whether it really meets
//! the rule is decided on the rules themselves, which also settles hash collisions, sets that are
//! no range, and bytes with two spellings.
//!
//! | file | is |
//! |---|---|
//! | `form` | a rule as keyed bytes and ranges of numbers |
//! | `shape` | what rules have in common, and by what two kinds are told apart |
//! | `tree` | the tables: intervals in order |
//! | `population` | the rules of one shape, and their tables |
//! | `search` | the resumable look-up |
//! | `work` | what an operation did, counted |
//!
//! Tables are made when a population is no longer small, and filled a few rules at a time; until
//! one is whole, the rules that are not in it are asked one by one. So nothing ever stops to
//! rebuild, and every answer is right at any time.

pub(crate) mod form;
mod population;
mod search;
mod shape;
mod tree;
mod work;

use alloc::vec::Vec;

pub(crate) use form::Form;
pub(crate) use search::{Candidate, Search};
pub use work::Work;

use crate::hash::HashKey;
use population::{Population, Progress};
use shape::Shape;
use tree::Tree;

/// The rules of everybody who must be kept apart under one grant.
#[derive(Debug)]
pub(crate) struct Index {
    key: HashKey,
    populations: Vec<Population>,
    /// Tables that are being filled: population and table.
    unfilled: Vec<(usize, usize)>,
    /// Trees that nobody needs any more, given back in pieces.
    dropped: Vec<Tree>,
    /// Counts changes of which tables there are: a look-up under way starts over.
    epoch: u64,
}

/// A population of up to so many rules has one table only.
const SMALL: u64 = 16;

/// Parts of dropped trees given back with each operation.
const SHED_AT_ONCE: usize = 4;

impl Index {
    pub(crate) const fn new(key: HashKey) -> Index {
        Index { key, populations: Vec::new(), unfilled: Vec::new(), dropped: Vec::new(), epoch: 0 }
    }

    /// Shapes that rules have now.
    pub(crate) fn shapes(&self) -> usize {
        self.populations.iter().filter(|population| population.rules > 0).count()
    }

    /// Shapes that `forms` would add.
    pub(crate) fn new_shapes<'f>(&self, forms: impl Iterator<Item = &'f Form>) -> usize {
        let is_new = |form: &Form| {
            self.find(form).is_none_or(|at| {
                self.populations.get(at).is_none_or(|population| population.rules == 0)
            })
        };
        let mut fresh: Vec<Shape> = Vec::new();
        for form in forms.filter(|form| is_new(form)) {
            if !fresh.iter().any(|shape| shape.is_of(form)) {
                fresh.push(Shape::of(form));
            }
        }
        fresh.len()
    }

    /// Heap held, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.populations.capacity() * size_of::<Population>()
            + self.populations.iter().map(Population::bytes).sum::<usize>()
            + self.dropped.iter().map(Tree::bytes).sum::<usize>()
    }

    /// Takes a rule in. `slots`: populations that there may be before those without rules go.
    pub(crate) fn insert(&mut self, form: &Form, tag: u32, slots: usize, work: &mut Work) {
        let at = self.find(form).unwrap_or_else(|| self.add(Shape::of(form), slots));
        let Some(population) = self.populations.get_mut(at) else { return };
        population.rules += 1;
        if population.rules == SMALL + 1 {
            self.make_tables(at);
        }
        let key = self.key;
        if let Some(population) = self.populations.get_mut(at) {
            population.insert(form, tag, key, work);
        }
        self.shed();
    }

    /// Takes a rule out that was taken in with the same tag.
    pub(crate) fn remove(&mut self, form: &Form, tag: u32, work: &mut Work) {
        let (key, at) = (self.key, self.find(form));
        if let Some(population) = at.and_then(|at| self.populations.get_mut(at)) {
            population.remove(form, tag, key, work);
        }
        self.shed();
    }

    /// Fills tables by at most `count` rules; `form_of` makes the form of a tag's rule again.
    /// `false`: every table is whole.
    pub(crate) fn fill(
        &mut self,
        count: usize,
        form_of: impl Fn(u32) -> Option<Form>,
        work: &mut Work,
    ) -> bool {
        let key = self.key;
        for _ in 0..count {
            let Some(&(at, table)) = self.unfilled.last() else { return false };
            let more = self
                .populations
                .get_mut(at)
                .is_some_and(|population| population.fill_one(table, &form_of, key, work));
            if !more {
                self.unfilled.pop();
                self.epoch += 1;
            }
        }
        !self.unfilled.is_empty()
    }

    /// The population of a form's shape.
    fn find(&self, form: &Form) -> Option<usize> {
        self.populations.iter().position(|population| population.shape.is_of(form))
    }

    /// Makes room for a shape: in a new place, or in that of one without rules.
    fn add(&mut self, shape: Shape, slots: usize) -> usize {
        self.epoch += 1;
        let unused = || self.populations.iter().position(|population| population.rules == 0);
        let reused = if self.populations.len() < slots { None } else { unused() };
        let at = reused.unwrap_or(self.populations.len());
        if reused.is_some() {
            self.forget(at);
        }
        let fresh = Population::new(shape);
        match self.populations.get_mut(at) {
            Some(place) => *place = fresh,
            None => self.populations.push(fresh),
        }
        for other in 0..self.populations.len() {
            self.relate(at, other);
            if other != at {
                self.relate(other, at);
            }
        }
        at
    }

    /// Prepares look-ups by rules of one shape among those of another.
    fn relate(&mut self, ours: usize, theirs: usize) {
        let Some(other) = self.populations.get(theirs) else { return };
        let (large, shape) = (other.rules > SMALL, other.shape.clone());
        let Some(this) = self.populations.get_mut(ours) else { return };
        this.relate(theirs, &shape);
        // Its own table is there from the start.
        if large || ours == theirs {
            self.make_table(ours, theirs);
        }
    }

    /// Makes the tables of a population that became large.
    fn make_tables(&mut self, at: usize) {
        self.epoch += 1;
        for ours in 0..self.populations.len() {
            self.make_table(ours, at);
        }
    }

    /// Makes the table in which rules of one shape look for those of another.
    fn make_table(&mut self, ours: usize, theirs: usize) {
        let Some(relation) = self.populations.get(ours).and_then(|it| it.relation(theirs)) else {
            return;
        };
        let cut = relation.cut.clone();
        if relation.table.is_some() {
            return;
        }
        let Some(other) = self.populations.get_mut(theirs) else { return };
        let (table, progress) = other.table(cut);
        if progress == Progress::None {
            self.unfilled.push((theirs, table));
        }
        if let Some(this) = self.populations.get_mut(ours) {
            this.set_table(theirs, table);
        }
    }

    /// Takes out what others keep for a shape that no rule has.
    fn forget(&mut self, at: usize) {
        for theirs in 0..self.populations.len() {
            let table = self.populations.get(at).and_then(|it| it.relation(theirs)?.table);
            let other = self.populations.get_mut(theirs).filter(|_| theirs != at);
            if let (Some(table), Some(other)) = (table, other)
                && let Some(tree) = other.leave(table)
            {
                self.dropped.push(tree);
                self.unfilled.retain(|&it| it != (theirs, table));
            }
        }
        self.unfilled.retain(|&(population, _)| population != at);
    }

    fn shed(&mut self) {
        for _ in 0..SHED_AT_ONCE {
            let Some(tree) = self.dropped.last_mut() else { return };
            if !tree.shed() {
                self.dropped.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests;
