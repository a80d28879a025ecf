//! The environments that live, and the last states of those that do not.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use abi::start::State;

use super::{Environment, EnvironmentId};
use crate::limits::ENDED_MAX;

/// How an environment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) id: EnvironmentId,
    pub(crate) state: State,
    /// Exit code, or number of the exception.
    pub(crate) detail: u64,
}

/// Slots of the table. A number's slot is the number modulo this: a look-up, of which every call
/// makes several, is an index and a comparison.
const SLOTS: usize = abi::limits::ENVIRONMENTS_MAX;

/// All environments.
pub(crate) struct Environments {
    slots: Vec<Option<(EnvironmentId, Box<Environment>)>>,
    /// Those that live, oldest first.
    order: Vec<EnvironmentId>,
    ended: VecDeque<Ended>,
    last: u32,
}

impl Environments {
    pub(crate) fn new() -> Environments {
        Environments {
            slots: (0..SLOTS).map(|_| None).collect(),
            order: Vec::with_capacity(SLOTS),
            ended: VecDeque::with_capacity(ENDED_MAX),
            last: 0,
        }
    }

    /// Takes one in and names it. Its number is the next one whose slot is free: the caller has
    /// seen that there are fewer than `ENVIRONMENTS_MAX`.
    pub(crate) fn insert(&mut self, environment: Environment) -> EnvironmentId {
        assert!(self.order.len() < SLOTS, "an environment beyond the limit");
        let id = loop {
            self.last += 1;
            let place = self.slots.get(self.last as usize % SLOTS);
            if place.is_some_and(Option::is_none) {
                break EnvironmentId(self.last);
            }
        };
        if let Some(place) = self.slots.get_mut(id.0 as usize % SLOTS) {
            *place = Some((id, Box::new(environment)));
        }
        self.order.push(id);
        id
    }

    pub(crate) fn get(&self, id: EnvironmentId) -> Option<&Environment> {
        let (there, environment) = self.slots.get(id.0 as usize % SLOTS)?.as_ref()?;
        (*there == id).then_some(environment)
    }

    pub(crate) fn get_mut(&mut self, id: EnvironmentId) -> Option<&mut Environment> {
        let (there, environment) = self.slots.get_mut(id.0 as usize % SLOTS)?.as_mut()?;
        (*there == id).then_some(environment)
    }

    /// Two different ones at once.
    pub(crate) fn pair_mut(
        &mut self,
        first: EnvironmentId,
        second: EnvironmentId,
    ) -> Option<(&mut Environment, &mut Environment)> {
        let places = [first.0 as usize % SLOTS, second.0 as usize % SLOTS];
        let [one, other] = self.slots.get_disjoint_mut(places).ok()?;
        let ((one_id, one), (other_id, other)) = (one.as_mut()?, other.as_mut()?);
        (*one_id == first && *other_id == second).then_some((one, other))
    }

    /// Takes one out for good and remembers how it ended.
    pub(crate) fn remove(&mut self, end: Ended) -> Option<Box<Environment>> {
        let place = self.slots.get_mut(end.id.0 as usize % SLOTS)?;
        let (_, environment) = place.take_if(|(there, _)| *there == end.id)?;
        self.order.retain(|&id| id != end.id);
        if self.ended.len() == ENDED_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back(end);
        Some(environment)
    }

    /// How one ended, if that is remembered.
    pub(crate) fn ended(&self, id: EnvironmentId) -> Option<Ended> {
        self.ended.iter().find(|end| end.id == id).copied()
    }

    /// How many live.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// Those that live, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (EnvironmentId, &Environment)> {
        self.order.iter().filter_map(|&id| Some((id, self.get(id)?)))
    }

    /// The same, in no order.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (EnvironmentId, &mut Environment)> {
        self.slots.iter_mut().flatten().map(|(id, environment)| (*id, &mut **environment))
    }
}
