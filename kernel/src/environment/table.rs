//! The environments that live, and the last states of those that do not.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};

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

/// All environments.
pub(crate) struct Environments {
    alive: BTreeMap<EnvironmentId, Box<Environment>>,
    ended: VecDeque<Ended>,
    last: u32,
}

impl Environments {
    pub(crate) fn new() -> Environments {
        Environments { alive: BTreeMap::new(), ended: VecDeque::with_capacity(ENDED_MAX), last: 0 }
    }

    /// Takes one in and names it.
    pub(crate) fn insert(&mut self, environment: Environment) -> EnvironmentId {
        self.last += 1;
        let id = EnvironmentId(self.last);
        self.alive.insert(id, Box::new(environment));
        id
    }

    pub(crate) fn get(&self, id: EnvironmentId) -> Option<&Environment> {
        self.alive.get(&id).map(|environment| &**environment)
    }

    pub(crate) fn get_mut(&mut self, id: EnvironmentId) -> Option<&mut Environment> {
        self.alive.get_mut(&id).map(|environment| &mut **environment)
    }

    /// Two different ones at once.
    pub(crate) fn pair_mut(
        &mut self,
        first: EnvironmentId,
        second: EnvironmentId,
    ) -> Option<(&mut Environment, &mut Environment)> {
        let (mut one, mut other) = (None, None);
        for (&id, environment) in &mut self.alive {
            if id == first {
                one = Some(&mut **environment);
            } else if id == second {
                other = Some(&mut **environment);
            }
        }
        one.zip(other)
    }

    /// Takes one out for good and remembers how it ended.
    pub(crate) fn remove(&mut self, end: Ended) -> Option<Box<Environment>> {
        let environment = self.alive.remove(&end.id)?;
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
        self.alive.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (EnvironmentId, &Environment)> {
        self.alive.iter().map(|(&id, environment)| (id, &**environment))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (EnvironmentId, &mut Environment)> {
        self.alive.iter_mut().map(|(&id, environment)| (id, &mut **environment))
    }
}
