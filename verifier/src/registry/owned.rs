//! A claim taken in but not yet published: committed or rolled back, never copied.
//!
//! Between [`crate::Registry::own`] and [`Owned::commit`] the engine compiles and checks what the
//! binding needs; whatever fails there just drops the value, and the registry is as before. The
//! borrow keeps everyone else out meanwhile (design decision 17).

use super::{BindingId, Grant, GrantId, Registry};
use crate::claim::Claim;

/// A proven, disjoint, not yet committed binding.
#[derive(Debug)]
pub struct Owned<'r> {
    registry: &'r mut Registry,
    id: BindingId,
    /// Shared out of the registry so that the accessors cannot fail.
    claim: Claim,
    grant: GrantId,
    depth: u32,
    committed: bool,
}

impl<'r> Owned<'r> {
    pub(super) fn new(
        registry: &'r mut Registry,
        id: BindingId,
        claim: Claim,
        grant: GrantId,
    ) -> Owned<'r> {
        let depth = registry.grant(grant).map_or(0, Grant::depth);
        Owned { registry, id, claim, grant, depth, committed: false }
    }

    /// The handle that [`Owned::commit`] will return.
    #[must_use]
    pub const fn binding(&self) -> BindingId {
        self.id
    }

    /// The filter and what it accepts.
    #[must_use]
    pub const fn claim(&self) -> &Claim {
        &self.claim
    }

    /// The grant it is made under.
    #[must_use]
    pub const fn grant(&self) -> GrantId {
        self.grant
    }

    /// The grant's depth.
    #[must_use]
    pub const fn depth(&self) -> u32 {
        self.depth
    }

    /// Makes it a binding. Allocates nothing and cannot fail.
    pub fn commit(mut self) -> BindingId {
        self.committed = true;
        self.id
    }
}

impl Drop for Owned<'_> {
    fn drop(&mut self) {
        if !self.committed {
            let _rolled_back = self.registry.release(self.id);
        }
    }
}
