//! The look-up of a claim's rules among all others: one candidate after the other.
//!
//! For each rule and each population: the table's entries that meet the rule's interval, then the
//! rules that the table does not have yet. The look-up may stop anywhere and go on after the index
//! has changed: places are remembered by key, and where tables came or went the pair of rule and
//! population is asked again. Rules that come in behind its back are the caller's to compare.

use core::task::Poll;

use super::Index;
use super::form::Form;
use super::population::{Population, Progress};
use super::shape::Shape;
use super::tree::Entry;
use super::work::Work;
use crate::fuel::Fuel;
use crate::limits::ITEM_UNITS;

/// A look-up under way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Search {
    rule: usize,
    population: usize,
    stage: Stage,
    epoch: u64,
    pub(crate) work: Work,
}

#[derive(Clone, Copy, Debug, Default)]
enum Stage {
    #[default]
    Start,
    /// In a table, behind `after`; then the rules that it lacked when we came.
    Probe { table: usize, interval: (u64, u64), after: Option<(u64, u32)>, lacks: Option<Place> },
    /// One by one, behind a place of the first table.
    Walk(Place),
}

/// A place in a table's order; before all of it.
type Place = Option<(u64, u32)>;

/// Somebody's rule that may meet one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The index of our rule.
    pub(crate) rule: usize,
    /// The tag that theirs came in with.
    pub(crate) tag: u32,
    /// Whether it is only asked because a table is not whole.
    pub(crate) walked: bool,
}

/// Fuel for a look-up: a hash and three short paths; for going on to the next entry.
const PROBE_UNITS: u32 = 12;
const STEP_UNITS: u32 = 4;

/// Fuel for working out the cut of a shape that is new: some hundred comparisons of cells.
const CUT_UNITS: u32 = 24;

const _: () = assert!(PROBE_UNITS + CUT_UNITS <= ITEM_UNITS);

impl Search {
    /// The next candidate; `None` after the last.
    pub(crate) fn next(
        &mut self,
        index: &Index,
        forms: &[Form],
        fuel: &mut Fuel,
    ) -> Poll<Option<Candidate>> {
        if self.epoch != index.epoch {
            (self.stage, self.epoch) = (Stage::Start, index.epoch);
        }
        loop {
            let Some(form) = forms.get(self.rule) else { return Poll::Ready(None) };
            let Some(population) = index.populations.get(self.population) else {
                (self.rule, self.population) = (self.rule + 1, 0);
                continue;
            };
            if fuel.is_empty() {
                return Poll::Pending;
            }
            let (found, walked) = match &mut self.stage {
                Stage::Start if population.rules == 0 => (None, false),
                Stage::Start => {
                    fuel.spend(PROBE_UNITS);
                    self.work.probes += 1;
                    self.stage = start(index, form, (self.population, population), fuel);
                    continue;
                }
                Stage::Probe { table, interval, after, .. } => {
                    fuel.spend(STEP_UNITS);
                    let tree = population.table_at(*table).map(|table| &table.tree);
                    let entry = tree.and_then(|it| it.next(*after, *interval, &mut self.work));
                    *after = entry.as_ref().map(Entry::key);
                    (entry, false)
                }
                Stage::Walk(after) => {
                    fuel.spend(STEP_UNITS);
                    let tree = population.first().map(|table| &table.tree);
                    let all = (0, u64::MAX);
                    let entry = tree.and_then(|it| it.next(*after, all, &mut self.work));
                    *after = entry.as_ref().map(Entry::key);
                    (entry, true)
                }
            };
            match (found, self.stage) {
                (Some(Entry { tag, .. }), _) => {
                    let counter =
                        if walked { &mut self.work.walked } else { &mut self.work.candidates };
                    *counter += 1;
                    return Poll::Ready(Some(Candidate { rule: self.rule, tag, walked }));
                }
                (None, Stage::Probe { lacks: Some(place), .. }) => self.stage = Stage::Walk(place),
                (None, _) => (self.population, self.stage) = (self.population + 1, Stage::Start),
            }
        }
    }
}

/// How a form is looked up in a population.
fn start(
    index: &Index,
    form: &Form,
    (at, population): (usize, &Population),
    fuel: &mut Fuel,
) -> Stage {
    let ours = index.find(form).and_then(|ours| index.populations.get(ours)?.relation(at));
    let (table, interval) = match ours {
        Some(relation) => match relation.table {
            Some(table) => (table, relation.take.interval(form, index.key)),
            None => return Stage::Walk(None),
        },
        None => {
            fuel.spend(CUT_UNITS);
            let shape = Shape::of(form);
            let cut = shape.cut(&population.shape);
            match population.table_for(&cut) {
                Some(table) => (table, shape.take(&cut).interval(form, index.key)),
                None => return Stage::Walk(None),
            }
        }
    };
    let lacks = match population.table_at(table).map(|table| table.progress) {
        None | Some(Progress::None) => return Stage::Walk(None),
        Some(Progress::UpTo(place)) => Some(Some(place)),
        Some(Progress::Whole) => None,
    };
    Stage::Probe { table, interval, after: None, lacks }
}
