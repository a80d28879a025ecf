//! The kernel's books, and the audit that they add up.
//!
//! What moves is counted where it moves, in one place each; what exists is counted from the tables
//! themselves. The audit recounts both.

use abi::books::{Books, Check, Reason, ReceiveBooks, TransmitBooks};
use abi::limits::ENVIRONMENTS_MAX;

use crate::Kernel;
use crate::environment::{Environment, EnvironmentId};
use crate::limits::AUDIT_BATCH;
use crate::pages::Page;

/// What moved since boot.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) rx: ReceiveBooks,
    pub(crate) tx: TransmitBooks,
    /// Allocations that did not fit the arena of their proof, as far as they were reported: a bug.
    pub(crate) arena_overflows: u64,
}

impl Counters {
    /// A received packet was dropped.
    pub(crate) fn dropped(&mut self, reason: Reason) {
        if let Some(count) = self.rx.dropped.get_mut(reason as usize) {
            *count += 1;
        }
    }

    /// A transmission was refused.
    pub(crate) fn refused(&mut self, reason: Reason) {
        if let Some(count) = self.tx.refused.get_mut(reason as usize) {
            *count += 1;
        }
    }
}

impl Kernel {
    /// The books as they are now.
    #[must_use]
    pub fn books(&self) -> Books {
        let (grants, bindings) = self.network.registry.counts();
        let mut rx = self.counters.rx;
        rx.malformed = self.network.malformed();
        let mut tx = self.counters.tx;
        tx.in_flight = self.network.in_flight() as u64;
        Books {
            at_ns: machine::time::now_ns(),
            frames: self.memory.books(),
            rx,
            tx,
            environments: self.environments.len() as u32,
            grants: grants as u32,
            bindings: bindings as u32,
            records_lost: self.channel.lost(),
        }
    }

    /// The first check that fails, if any: see [`Check`]. The card is polled on the way.
    #[must_use]
    pub fn audit(&mut self) -> Option<Check> {
        let failing = self.books().failing();
        let failing = failing.or_else(|| (!self.bindings_agree()).then_some(Check::Bindings));
        let failing = failing.or_else(|| (!self.owners_agree()).then_some(Check::Owners));
        let failing = failing.or_else(|| (!self.slices_agree()).then_some(Check::Slices));
        if let Some(check) = failing {
            log::error!("audit: {check:?} does not add up: {:?}", self.books());
        }
        failing
    }

    /// Every binding has a live owner that counts it, and registry, engine and table hold the same.
    fn bindings_agree(&self) -> bool {
        let owned: usize = self.environments.iter().map(|(_, it)| it.bindings).sum();
        let (_, registered) = self.network.registry.counts();
        let each = self.network.bindings.iter().all(|(&id, binding)| {
            let registered = self.network.registry.binding(id);
            self.environments.get(binding.owner).is_some()
                && registered.is_some_and(|it| it.grant() == binding.grant)
        });
        let count = self.network.bindings.len();
        let used = |map| {
            let all = self.network.bindings.values().flat_map(|binding| &binding.maps);
            all.filter(|&&id| id == map).count()
        };
        let maps = self.maps.agree(used);
        each && count == owned && count == registered && maps && self.network.engine_agrees()
    }

    /// Every page has a live owner, and each account holds what the tables say.
    fn owners_agree(&mut self) -> bool {
        let mut owned = [0_u64; ENVIRONMENTS_MAX];
        let (mut from, mut work) = (0, 0);
        while let Some(page) = self.memory.next_page(from) {
            if !self.page_agrees(page) {
                return false;
            }
            from = page.frame.number().0 + 1;
            work += 1 + page.mappings.len();
            // Numbers of those that live differ by their place.
            if let Some(count) = owned.get_mut(page.owner.0 as usize % ENVIRONMENTS_MAX) {
                *count += 1;
            }
            if work >= AUDIT_BATCH {
                // It neither makes pages nor gives them away.
                self.poll_card();
                work = 0;
            }
        }
        self.environments.iter().all(|(id, it)| {
            let owned = owned.get(id.0 as usize % ENVIRONMENTS_MAX).copied();
            owned.is_some_and(|owned| self.account_agrees(id, it, owned))
        })
    }

    /// Its owner lives and knows of it, and so does everybody in whose tables it is.
    fn page_agrees(&self, page: &Page) -> bool {
        let owner = self.environments.get(page.owner);
        owner.is_some_and(|it| it.pages.contains(&page.frame.number().0))
            && page.mappings.iter().all(|&(place, address)| {
                self.environments.get(place).is_some_and(|it| it.mapped.contains(&address))
            })
    }

    fn account_agrees(&self, id: EnvironmentId, environment: &Environment, owned: u64) -> bool {
        let account = &environment.account;
        let frames = account.tables == environment.space.table_frames() as u64
            && account.chunks == environment.table.chunks() as u64
            && account.pages == owned
            && environment.pages.len() as u64 == owned
            && account.maps == self.maps.frames_of(id)
            && (account.arena > 0) == environment.proof.is_some();
        frames && account.used() <= account.quota
    }
}
