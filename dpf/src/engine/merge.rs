//! The merged state: lanes with their tables, entries, and the code that reads them.
//!
//! The idea: lanes decide what is code. A rule that fits a lane is a data write; one that fits none
//! makes a new lane, for which code is generated ([`Merged::admit`]). Where entries stand in a
//! table is [`super::store`]; that nothing is ever moved all at once is [`super::step`].
//!
//! Invariants: rooms are in the order of the plan's lanes and of the dispatcher's tables; the open
//! lanes of a shape are told apart by constants, so that a rule fits one at most of those that its
//! entry could be in.

use alloc::vec::Vec;

use runtime::native::dispatch::Layout;
use runtime::native::{Code, Dispatch, Dispatcher, Mismatch, Table};
use runtime::pages::CodePages;

use super::entry::Entry;
use super::room::{Room, Window};
use super::slab::Slab;
use crate::check;
use crate::dispatch;
use crate::error::EngineError;
use crate::limits::{FIRST_BUCKETS, LANES_FREE, LANES_MAX, LANES_PER_SHAPE, SHAPES_MAX};
use crate::plan::{HashKey, Key, Lane, Plan, Shape, SplitRule, is_class};

/// What making a plan of one lane may take of the heap, in bytes, generously.
const SCRATCH_PER_LANE: usize = 8 << 10;

/// Everything that dispatch reads.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) plan: Plan,
    pub(super) rooms: Vec<Room>,
    pub(super) entries: Slab<Entry>,
    pub(super) dispatcher: Option<Dispatcher>,
    /// Where each lane's code begins, for reading.
    pub(super) parts: Vec<(usize, usize)>,
    next_number: u32,
    pub(super) compilations: u64,
    pub(super) moves: Moves,
}

/// How much was moved about.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moves {
    /// Bytes of table in this operation, and in the worst one so far.
    pub(super) now: usize,
    pub(super) worst: usize,
}

/// A lane that will be.
struct Fresh {
    lane: Lane,
    shape: u32,
    /// Buckets, or numbers from `first` on.
    places: usize,
    first: u16,
}

impl Fresh {
    fn of(lane: Lane, shape: u32, entries: usize) -> Self {
        let places = match lane.layout {
            Layout::Single | Layout::Direct => 1,
            Layout::Plain | Layout::Wide { .. } => entries.max(FIRST_BUCKETS),
        };
        Self { lane, shape, places, first: 0 }
    }

    fn direct(lane: Lane, shape: u32, window: Window) -> Self {
        Self { lane, shape, places: window.len as usize, first: window.first }
    }

    fn table(&self) -> Result<Table, EngineError> {
        Ok(Table::new(self.lane.layout, self.places, self.first)?)
    }
}

/// What is being prepared for some rules.
#[derive(Default)]
struct Change {
    fresh: Vec<Fresh>,
    /// Positions of lanes that will close.
    close: Vec<usize>,
}

impl Merged {
    pub(super) fn new(key: HashKey) -> Self {
        Self {
            plan: Plan::new(Vec::new(), key),
            rooms: Vec::new(),
            entries: Slab::new(),
            dispatcher: None,
            parts: Vec::new(),
            next_number: 0,
            compilations: 0,
            moves: Moves::default(),
        }
    }

    /// Where a lane is in the plan.
    pub(super) fn position(&self, number: u32) -> Option<usize> {
        self.rooms.iter().position(|room| room.number == number)
    }

    /// The number of a shape that some lane has.
    pub(super) fn shape_of(&self, shape: &Shape) -> Option<u32> {
        let at = self.plan.lanes.iter().position(|lane| lane.shape == *shape)?;
        self.rooms.get(at).map(|room| room.shape)
    }

    /// Distinct shapes.
    pub(super) fn shapes(&self) -> usize {
        self.used_shapes(&[]).count_ones() as usize
    }

    pub(super) fn table(&self, position: usize) -> Option<&Table> {
        self.dispatcher.as_ref()?.tables().get(position)
    }

    /// The open lane that a rule's entry goes to.
    pub(super) fn fitting(&self, shape: u32, values: &[u8]) -> Option<usize> {
        (0..self.rooms.len()).find(|at| self.takes(*at, shape, values))
    }

    /// Whether the lane at a position is open and takes a rule.
    fn takes(&self, at: usize, shape: u32, values: &[u8]) -> bool {
        let (Some(room), Some(lane)) = (self.rooms.get(at), self.plan.lanes.get(at)) else {
            return false;
        };
        let fits = room.shape == shape && !room.closing && lane.fits(values);
        fits && self.has_place(at, &lane.pack(values))
    }

    /// Whether a direct lane's window has, or may grow to have, a number.
    fn has_place(&self, at: usize, key: &Key) -> bool {
        let (Some(room), Some(table)) = (self.rooms.get(at), self.table(at)) else { return false };
        table.layout() != Layout::Direct
            || room.window_for(table.current(), Lane::number(key)).is_some()
    }

    /// Makes sure that each rule fits a lane; generates code if that takes new lanes. On an error
    /// everything is as before.
    pub(super) fn admit(
        &mut self,
        rules: &[SplitRule],
        pages: &mut dyn CodePages,
    ) -> Result<(), EngineError> {
        let mut change = Change::default();
        for rule in rules {
            self.plan_for(rule, &mut change)?;
        }
        if change.fresh.is_empty() {
            return Ok(());
        }
        let closing: Vec<u32> = change
            .close
            .iter()
            .filter_map(|at| self.rooms.get(*at))
            .map(|room| room.number)
            .collect();
        self.reshape(rules, change.fresh, pages)?;
        for room in self.rooms.iter_mut().filter(|room| closing.contains(&room.number)) {
            room.closing = true;
            room.cursor = 0;
        }
        Ok(())
    }

    /// Drops lanes without entries, if there are any: then code is generated. They cost a look-up
    /// until that succeeds.
    pub(super) fn drop_empty(&mut self, pages: &mut dyn CodePages) {
        if self.rooms.iter().any(|room| room.entries == 0) {
            let _dropped = self.reshape(&[], Vec::new(), pages);
        }
    }

    /// Notes in `change` which lane a rule needs that is not there.
    fn plan_for(&self, rule: &SplitRule, change: &mut Change) -> Result<(), EngineError> {
        let shape = self.shape_for(&rule.shape, change)?;
        let values = &rule.values;
        let open: Vec<usize> = (0..self.rooms.len())
            .filter(|at| {
                self.rooms.get(*at).is_some_and(|room| room.shape == shape && !room.closing)
                    && !change.close.contains(at)
            })
            .collect();
        for at in &open {
            let (Some(lane), Some(room)) = (self.plan.lanes.get(*at), self.rooms.get(*at)) else {
                continue;
            };
            if !lane.fits(values) {
                continue;
            }
            let key = lane.pack(values);
            if let Some(window) = room.denser(lane, &key) {
                let lane = Lane::new(lane.shape.clone(), lane.roles.clone(), true);
                change.fresh.push(Fresh::direct(lane, shape, window));
                change.close.push(*at);
            } else if !self.has_place(*at, &key) {
                let lane = Lane::new(lane.shape.clone(), lane.roles.clone(), false);
                change.fresh.push(Fresh::of(lane, shape, room.entries));
                change.close.push(*at);
            }
            return Ok(());
        }
        self.plan_fresh(rule, shape, &open, change)
    }

    /// The same where no lane that is there fits.
    fn plan_fresh(
        &self,
        rule: &SplitRule,
        shape: u32,
        open: &[usize],
        change: &mut Change,
    ) -> Result<(), EngineError> {
        let values = &rule.values;
        let alike = |fresh: &&Fresh| fresh.shape == shape;
        if change.fresh.iter().filter(alike).any(|fresh| fresh.lane.fits(values)) {
            return Ok(());
        }
        let here = open.iter().filter_map(|at| Some((Some(*at), self.plan.lanes.get(*at)?)));
        let new = change.fresh.iter().filter(alike).map(|fresh| (None, &fresh.lane));
        let all: Vec<(Option<usize>, &Lane)> = here.chain(new).collect();
        let nearest = all.iter().min_by_key(|(_, lane)| distance(lane, values));
        let lanes = self.rooms.len() + change.fresh.len();
        let own = match nearest {
            None => true,
            Some((_, lane)) => {
                let (class, _) = distance(lane, values);
                class && all.len() < LANES_PER_SHAPE && lanes < LANES_FREE
            }
        };
        if own {
            change.fresh.push(Fresh::of(Lane::single(&rule.shape, values), shape, 0));
            return Ok(());
        }
        let Some((at, lane)) = nearest else { return Ok(()) };
        let full = EngineError::Shapes { limit: SHAPES_MAX };
        let roles = lane.widened(values).ok_or(full)?;
        let entries = at.and_then(|at| self.rooms.get(at)).map_or(0, |room| room.entries);
        let wider = widened(lane, roles, values, shape, entries);
        let (at, replaced) = (*at, (*lane).clone());
        match at {
            Some(at) => change.close.push(at),
            None => change.fresh.retain(|fresh| fresh.lane != replaced),
        }
        change.fresh.push(wider);
        Ok(())
    }

    /// The number of a shape, a new one if need be.
    fn shape_for(&self, shape: &Shape, change: &Change) -> Result<u32, EngineError> {
        let new = || change.fresh.iter().find(|fresh| fresh.lane.shape == *shape);
        if let Some(number) = self.shape_of(shape).or_else(|| new().map(|fresh| fresh.shape)) {
            return Ok(number);
        }
        let number = self.used_shapes(&change.fresh).trailing_ones();
        if number as usize >= SHAPES_MAX {
            return Err(EngineError::Shapes { limit: SHAPES_MAX });
        }
        Ok(number)
    }

    /// A bit for each shape number in use.
    fn used_shapes(&self, fresh: &[Fresh]) -> u64 {
        let here = self.rooms.iter().map(|room| room.shape);
        let all = here.chain(fresh.iter().map(|fresh| fresh.shape));
        all.fold(0, |used, number| used | 1_u64.checked_shl(number).unwrap_or(0))
    }

    /// New lanes in, lanes without entries (that no rule of `wanted` needs) out. On an error
    /// everything is as before.
    fn reshape(
        &mut self,
        wanted: &[SplitRule],
        fresh: Vec<Fresh>,
        pages: &mut dyn CodePages,
    ) -> Result<(), EngineError> {
        let kept: Vec<usize> = (0..self.rooms.len())
            .filter(|at| {
                let used = self.rooms.get(*at).is_some_and(|room| room.entries != 0);
                let shape = |rule: &SplitRule| self.shape_of(&rule.shape);
                used || wanted.iter().any(|rule| {
                    shape(rule).is_some_and(|shape| self.takes(*at, shape, &rule.values))
                })
            })
            .collect();
        let count = kept.len() + fresh.len();
        if count > LANES_MAX {
            return Err(EngineError::Shapes { limit: SHAPES_MAX });
        }
        // What follows asks for little at a time, and cannot fail half-way: is there room for all?
        let mut scratch: Vec<u8> = Vec::new();
        let bytes = (count + 1) * SCRATCH_PER_LANE;
        scratch.try_reserve_exact(bytes).map_err(|_| EngineError::NoMemory)?;
        drop(scratch);
        let old = kept.iter().filter_map(|at| self.plan.lanes.get(*at)).cloned();
        let lanes = old.chain(fresh.iter().map(|fresh| fresh.lane.clone())).collect();
        let plan = Plan::new(lanes, self.plan.key);
        let (mut tables, mut rooms) = (Vec::new(), Vec::new());
        for (number, fresh) in (self.next_number..).zip(&fresh) {
            let table = fresh.table()?;
            rooms.push(Room::new(number, fresh.shape, &table)?);
            tables.push(table);
        }
        let emitted = dispatch::emit(&plan)?;
        let parts = emitted.parts.clone();
        let code = Code::seal(check::dispatcher(&plan, emitted)?, pages)?;
        self.swap(code, &kept, tables, pages)?;
        self.next_number += rooms.len() as u32;
        let mut at = 0;
        self.rooms.retain(|_| {
            at += 1;
            kept.contains(&(at - 1))
        });
        self.rooms.extend(rooms);
        self.plan = plan;
        self.parts = parts;
        self.compilations += 1;
        Ok(())
    }

    /// Puts new code and tables in the place of the old. On an error the old are still there.
    fn swap(
        &mut self,
        code: Code<Dispatch>,
        kept: &[usize],
        tables: Vec<Table>,
        pages: &mut dyn CodePages,
    ) -> Result<(), EngineError> {
        let outcome = match &mut self.dispatcher {
            Some(dispatcher) => dispatcher.exchange(code, kept, tables).map(|(old, _gone)| {
                old.release(pages);
            }),
            None => Dispatcher::new(code, tables).map(|dispatcher| {
                self.dispatcher = Some(dispatcher);
            }),
        };
        outcome.map_err(|Mismatch { error, code, .. }| {
            code.release(pages);
            error.into()
        })
    }
}

/// How far a rule is from a lane of its shape: whether they differ in class, and in how many bytes.
fn distance(lane: &Lane, values: &[u8]) -> (bool, usize) {
    let class = lane.differing(values).any(|(cell, _)| is_class(cell));
    (class, lane.differing(values).count())
}

/// A wider lane; direct if its key is a number and both are near each other.
fn widened(
    from: &Lane,
    roles: Vec<crate::plan::Role>,
    values: &[u8],
    shape: u32,
    entries: usize,
) -> Fresh {
    let direct = Lane::new(from.shape.clone(), roles.clone(), true);
    if direct.layout == Layout::Direct && from.words() == 0 {
        let mut constants = Vec::new();
        from.unpack(&Key::default(), &mut constants);
        let (a, b) = (direct.pack(&constants), direct.pack(values));
        let (a, b) = (Lane::number(&a), Lane::number(&b));
        let window = Window::over(a.min(b), a.max(b));
        if window.is_worth(2) {
            return Fresh::direct(direct, shape, window);
        }
    }
    Fresh::of(Lane::new(from.shape.clone(), roles, false), shape, entries)
}
