//! Grants as the kernel keeps them: who holds them, and the guard over what they may send.
//!
//! A grant lives while anybody holds a capability to it or anything stands under it, and until
//! it, or a grant above it, is revoked. The root grant is never collected and has no guard.
//!
//! The guard is the grant's transmit space as a verified and compiled filter, made once when the
//! grant is derived. It sees a frame's real length and its first `GUARDED_BYTES_MAX` bytes, the
//! rest as zeros; a transmit space that looks further is therefore refused.

use abi::limits::GUARDED_BYTES_MAX;
use dpf::NativeProgram;
use flow::{Base, Space};
use verifier::GrantId;

use crate::Kernel;
use crate::environment::EnvironmentId;

/// A grant's guard and holders.
pub(crate) struct GrantRecord {
    pub(crate) guard: Option<NativeProgram>,
    /// Capabilities to it, in all tables.
    pub(crate) holders: u64,
    /// Who derived it, and the kernel heap it is charged for, in bytes.
    pub(crate) payer: Option<EnvironmentId>,
    pub(crate) cost: u64,
}

impl Kernel {
    /// A capability to the grant is gone.
    pub(crate) fn forget_grant(&mut self, id: GrantId) {
        if let Some(record) = self.network.grants.get_mut(&id) {
            record.holders = record.holders.saturating_sub(1);
        }
        self.collect_grant(id);
    }

    /// Takes a grant out that nobody holds and nothing stands under, then its parent if that has
    /// become such a one.
    pub(crate) fn collect_grant(&mut self, id: GrantId) {
        let mut next = Some(id);
        while let Some(id) = next {
            let held = self.network.grants.get(&id).is_none_or(|record| record.holders > 0);
            let Some(grant) = self.network.registry.grant(id) else { return };
            let busy = !grant.children().is_empty() || grant.bindings() > 0;
            if id == GrantId::ROOT || held || busy {
                return;
            }
            next = grant.parent();
            self.revoke_grant(id, None);
        }
    }

    /// Takes a grant back, with its whole subtree and their bindings. Owners other than `by` find
    /// theirs in their repossession vectors.
    pub(crate) fn revoke_grant(&mut self, id: GrantId, by: Option<EnvironmentId>) {
        let revoked = self.network.registry.revoke(id);
        for binding in revoked.bindings {
            if self.network.bindings.get(&binding).is_some_and(|it| Some(it.owner) != by) {
                self.note_binding(binding);
            }
            self.take_down(binding);
            self.poll_card();
        }
        for grant in revoked.grants {
            self.take_grant_down(grant);
            self.poll_card();
        }
        self.raise_repossessions();
    }

    pub(crate) fn take_grant_down(&mut self, id: GrantId) {
        let network = &mut self.network;
        if !network.engine.remove_grant(id, &mut network.code) {
            log::error!("grant {id} was not in the engine");
        }
        let Some(record) = network.grants.remove(&id) else { return };
        if let Some(guard) = record.guard {
            guard.free(&mut network.code);
        }
        if let Some(payer) = record.payer.and_then(|id| self.environments.get_mut(id)) {
            payer.account.heap = payer.account.heap.saturating_sub(record.cost);
        }
        log::info!("grant {id} is gone");
    }
}

/// Whether the guard can decide the space: no rule looks at a byte that the kernel does not copy.
pub(crate) fn is_guardable(space: &Space) -> bool {
    let within = |last: usize| last < GUARDED_BYTES_MAX;
    space.rules().iter().all(|rule| {
        rule.cells().all(|(cell, _)| match cell.base {
            Base::Frame => within(usize::from(cell.offset)),
            Base::Header(base) => {
                let furthest = base.longest() + u32::from(base.add) + u32::from(cell.offset);
                within(furthest as usize) && within(usize::from(base.at))
            }
        })
    })
}
