//! The end of an environment: exit, fault or kill; everything it held goes back.
//!
//! In this order: its proof is dropped, its bindings leave the engine and the registry, its own
//! mappings are broken, its pages are taken out of whoever else maps them and given back, its
//! capabilities are forgotten (a grant that nobody holds any more goes with the last one), and
//! its page tables are given back. Its children, with their quotas, pass to its own creator,
//! which is told by `EVENT_CHILD` and gets the quota back. The card is polled on the way, so that
//! the end of a large environment does not hold packets up.
//!
//! What it *derived* does not end with it: a grant lives while somebody holds a capability to it or
//! anything stands under it, and until somebody with `Rights::REVOKE` on it or on an ancestor
//! revokes it.

use abi::record::Record;
use abi::ring::{EVENT_CHILD, EVENT_DEADLINE};
use abi::start::State;

use super::{Ended, Environment, EnvironmentId};
use crate::Kernel;
use crate::limits::{EXIT_DESERTED, REAP_BATCH};

impl Kernel {
    /// Ends an environment. Ending one that has ended does nothing.
    pub(crate) fn end_environment(&mut self, end: Ended) {
        let id = end.id;
        self.abandon_proof(id);
        self.remove_bindings_of(id);
        let Some(environment) = self.environments.get_mut(id) else { return };
        environment.state = end.state;
        self.break_transfers_of(id);
        self.scheduler.forget(id);
        self.scheduler.free_all_of(id);
        self.forget_upcalls(id);
        self.set_predicate(id, None);
        self.forget_revocations(id);
        self.break_mappings_of(id);
        self.free_pages_of(id);
        self.free_maps_of(id);
        let Some(environment) = self.environments.remove(end) else { return };
        self.show_soon();
        log::info!("{} ({}) ended: {:?} {:#x}", environment.name, id.0, end.state, end.detail);
        self.channel.emit(64, || Record::Environment {
            id: id.0,
            name: environment.name.clone(),
            state: end.state,
            detail: end.detail,
        });
        let unstarted = self.unstarted_children(id);
        self.bequeath(id, environment.parent, environment.account.quota);
        self.bury_environment(*environment);
        self.collect_orphans(unstarted);
        if self.environments.len() == 0 {
            log::error!("no environment is left");
            machine::exit(EXIT_DESERTED);
        }
    }

    fn break_mappings_of(&mut self, id: EnvironmentId) {
        loop {
            for _ in 0..REAP_BATCH {
                let first = self.environments.get(id).and_then(|it| it.mapped.first().copied());
                let Some(address) = first else { return };
                if self.unmap_page(id, address).is_err() {
                    return;
                }
            }
            self.poll_card();
        }
    }

    fn free_pages_of(&mut self, id: EnvironmentId) {
        loop {
            for _ in 0..REAP_BATCH {
                let first = self.environments.get(id).and_then(|it| it.pages.first().copied());
                let Some(frame) = first else { return };
                self.free_page(frame);
            }
            self.poll_card();
        }
    }

    /// Children and quota pass to the creator.
    fn bequeath(&mut self, id: EnvironmentId, heir: Option<EnvironmentId>, quota: u64) {
        for (_, child) in self.environments.iter_mut() {
            if child.parent == Some(id) {
                child.parent = heir;
            }
        }
        let Some(heir) = heir else { return };
        if let Some(environment) = self.environments.get_mut(heir) {
            environment.account.quota += quota;
        }
        self.post(heir, EVENT_CHILD);
    }

    /// Forgets the capabilities and gives the page tables back.
    fn bury_environment(&mut self, environment: Environment) {
        for capability in environment.table.iter() {
            self.forget(capability.object);
        }
        let tables = environment.space.table_frames();
        environment.space.destroy(&mut self.memory.pool);
        self.memory.tables_changed(tables, 0);
    }

    /// Posts events to an environment, and wakes it if it waits for one. It goes to the end of the
    /// queue: there is no boost for those that wake.
    pub(crate) fn post(&mut self, id: EnvironmentId, events: u64) {
        let Some(environment) = self.environments.get_mut(id) else { return };
        if environment.is_held() {
            environment.events |= events & !EVENT_DEADLINE;
            if events & EVENT_DEADLINE != 0 {
                self.release(id, 0);
            }
            return;
        }
        environment.events |= events;
        if environment.state == State::Waiting {
            let events = core::mem::take(&mut environment.events);
            environment.answer(abi::Status::Ok, events);
            environment.state = State::Runnable;
            self.scheduler.enqueue(id);
        }
    }
}
