//! Children that were never started and that nobody can reach any more.
//!
//! A child that runs goes on when its creator ends. One that was not started yet, and to which
//! nobody else holds a capability, never will be: it ends with its creator, and its quota goes
//! where the creator's went.

use abi::start::State;
use alloc::vec::Vec;

use super::{Ended, EnvironmentId};
use crate::Kernel;
use crate::capability::Object;

impl Kernel {
    /// Children of an environment's that were never started.
    pub(super) fn unstarted_children(&self, parent: EnvironmentId) -> Vec<EnvironmentId> {
        let children = self.environments.iter().filter(|(_, it)| it.parent == Some(parent));
        children.filter(|(_, it)| it.state == State::Created).map(|(id, _)| id).collect()
    }

    /// Ends those to which no table but their own holds a capability.
    pub(super) fn collect_orphans(&mut self, mut orphans: Vec<EnvironmentId>) {
        if orphans.is_empty() {
            return;
        }
        let holders: Vec<EnvironmentId> = self.environments.iter().map(|(id, _)| id).collect();
        for holder in holders {
            let Some(environment) = self.environments.get(holder) else { continue };
            for capability in environment.table.iter() {
                if let Object::Environment(named) = capability.object {
                    orphans.retain(|&id| id != named || id == holder);
                }
            }
            self.poll_card();
        }
        for id in orphans {
            self.end_environment(Ended { id, state: State::Killed, detail: 0 });
        }
    }
}
