//! The rules of one shape, in one table for each way in which others look for them.
//!
//! The first table is keyed by everything that the shape tests, and always whole: the others are
//! filled from it, in its order.

use alloc::vec::Vec;

use super::form::Form;
use super::shape::{Cut, Shape, Take};
use super::tree::Tree;
use super::work::Work;
use crate::hash::HashKey;

/// The rules of one shape.
#[derive(Debug)]
pub(super) struct Population {
    pub(super) shape: Shape,
    pub(super) rules: u64,
    tables: Vec<Table>,
    /// How rules of this shape look for those of the population at the same index.
    relations: Vec<Relation>,
}

/// The rules, by what they have in common with another shape.
#[derive(Debug)]
pub(super) struct Table {
    cut: Cut,
    take: Take,
    pub(super) tree: Tree,
    pub(super) progress: Progress,
    /// Shapes that look here; without any the table is a free place.
    users: u32,
}

/// Which rules are in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Those that came in since it was made are not, nor any others.
    None,
    /// All up to this one, in the order of the first table.
    UpTo((u64, u32)),
    /// All.
    Whole,
}

/// How rules of one shape look for those of another.
#[derive(Debug)]
pub(super) struct Relation {
    pub(super) cut: Cut,
    pub(super) take: Take,
    /// The other's table; `None` while the other is small.
    pub(super) table: Option<usize>,
}

impl Population {
    pub(super) fn new(shape: Shape) -> Population {
        let cut = shape.cut(&shape);
        let first = Table {
            take: shape.take(&cut),
            cut,
            tree: Tree::new(),
            progress: Progress::Whole,
            users: 1,
        };
        Population { shape, rules: 0, tables: alloc::vec![first], relations: Vec::new() }
    }

    /// Heap held, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let tables: usize = self.tables.iter().map(|it| it.tree.bytes() + it.take.bytes()).sum();
        let relations: usize = self.relations.iter().map(|it| it.take.bytes()).sum();
        self.shape.bytes()
            + tables
            + relations
            + self.tables.capacity() * size_of::<Table>()
            + self.relations.capacity() * size_of::<Relation>()
    }

    /// The table that holds all rules, in its order.
    pub(super) fn first(&self) -> Option<&Table> {
        self.tables.first()
    }

    pub(super) fn table_at(&self, at: usize) -> Option<&Table> {
        self.tables.get(at)
    }

    /// The table that is keyed by a cut, if there is one.
    pub(super) fn table_for(&self, cut: &Cut) -> Option<usize> {
        self.tables.iter().position(|table| table.users > 0 && table.cut == *cut)
    }

    pub(super) fn relation(&self, to: usize) -> Option<&Relation> {
        self.relations.get(to)
    }

    /// Remembers how to look among rules of `shape`, the population at `to`.
    pub(super) fn relate(&mut self, to: usize, shape: &Shape) {
        let cut = self.shape.cut(shape);
        let relation = Relation { take: self.shape.take(&cut), cut, table: None };
        match self.relations.get_mut(to) {
            Some(place) => *place = relation,
            // Populations are added one by one, each related to all before it.
            None => self.relations.push(relation),
        }
    }

    pub(super) fn set_table(&mut self, to: usize, table: usize) {
        if let Some(relation) = self.relations.get_mut(to) {
            relation.table = Some(table);
        }
    }

    /// One more user for the table of a cut, which is made if there is none.
    pub(super) fn table(&mut self, cut: Cut) -> (usize, Progress) {
        if let Some(at) = self.table_for(&cut)
            && let Some(table) = self.tables.get_mut(at)
        {
            table.users += 1;
            // Already being filled, or whole: nothing to be done by the caller.
            return (at, Progress::Whole);
        }
        let progress = if self.rules == 0 { Progress::Whole } else { Progress::None };
        let take = self.shape.take(&cut);
        let table = Table { cut, take, tree: Tree::new(), progress, users: 1 };
        let free = self.tables.iter().position(|table| table.users == 0);
        let at = free.unwrap_or(self.tables.len());
        match self.tables.get_mut(at) {
            Some(place) => *place = table,
            None => self.tables.push(table),
        }
        (at, progress)
    }

    /// One user less; the tree of a table that has none left.
    pub(super) fn leave(&mut self, at: usize) -> Option<Tree> {
        let table = self.tables.get_mut(at)?;
        table.users = table.users.checked_sub(1)?;
        (table.users == 0).then(|| core::mem::replace(&mut table.tree, Tree::new()))
    }

    pub(super) fn insert(&mut self, form: &Form, tag: u32, key: HashKey, work: &mut Work) {
        let Some(place) = self.first().map(|it| it.take.entry(form, key, tag).key()) else {
            return;
        };
        for table in self.tables.iter_mut().filter(|table| table.has(place)) {
            table.tree.insert(table.take.entry(form, key, tag), work);
        }
    }

    pub(super) fn remove(&mut self, form: &Form, tag: u32, key: HashKey, work: &mut Work) {
        let Some(place) = self.first().map(|it| it.take.entry(form, key, tag).key()) else {
            return;
        };
        let mut removed = false;
        for table in self.tables.iter_mut().filter(|table| table.has(place)) {
            removed |= table.tree.remove(table.take.entry(form, key, tag).key(), work);
        }
        self.rules -= u64::from(removed);
    }

    /// Puts the next rule into a table that is not whole. `false`: it is whole.
    pub(super) fn fill_one(
        &mut self,
        at: usize,
        form_of: impl Fn(u32) -> Option<Form>,
        key: HashKey,
        work: &mut Work,
    ) -> bool {
        let Some((first, rest)) = self.tables.split_first_mut() else { return false };
        let Some(table) = at.checked_sub(1).and_then(|at| rest.get_mut(at)) else { return false };
        let after = match table.progress {
            Progress::None => None,
            Progress::UpTo(place) => Some(place),
            Progress::Whole => return false,
        };
        let Some(next) = first.tree.next(after, (0, u64::MAX), work) else {
            table.progress = Progress::Whole;
            return false;
        };
        if let Some(form) = form_of(next.tag) {
            table.tree.insert(table.take.entry(&form, key, next.tag), work);
        }
        table.progress = Progress::UpTo(next.key());
        true
    }
}

impl Table {
    /// Whether the rule at this place of the first table is, or belongs, in this one.
    fn has(&self, place: (u64, u32)) -> bool {
        self.users > 0
            && match self.progress {
                Progress::None => false,
                Progress::UpTo(last) => place <= last,
                Progress::Whole => true,
            }
    }
}
