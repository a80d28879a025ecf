//! A claim taken in but not yet published: committed or rolled back, never copied.
//!
//! Between [`crate::Registry::own`] and [`Owned::commit`] the engine compiles and checks what the
//! binding needs; whatever fails there just drops the value, and the registry is as before. The
//! borrow keeps everyone else out meanwhile (design decision 17). [`super::Exchange`] does the same
//! with the two that take the place of one: what they share is [`Provisional`].

use alloc::vec::Vec;

use super::{Binding, BindingId, Grant, GrantId, Links, Registry, tables};
use crate::claim::Claim;
use crate::index::Form;
use crate::refusal::{Refusal, RefusalCode};

/// A proven, disjoint, not yet committed binding.
#[derive(Debug)]
pub struct Owned<'r>(Provisional<'r, 1>);

/// Bindings that go again when this does, unless they are kept.
#[derive(Debug)]
pub(super) struct Provisional<'r, const N: usize> {
    registry: &'r mut Registry,
    pub(super) ids: [BindingId; N],
    /// Shared out of the registry so that the accessors cannot fail.
    pub(super) claims: [Claim; N],
    pub(super) grant: GrantId,
    pub(super) depth: u32,
    kept: bool,
}

impl Registry {
    /// Takes claims in under a grant, by which there is one binding more in the end; `leaving`:
    /// rules of the one that they take the place of.
    ///
    /// # Errors
    /// [`RefusalCode::Stale`] if the grant is gone; [`RefusalCode::Limit`].
    pub(super) fn provide<const N: usize>(
        &mut self,
        grant: GrantId,
        claims: [Claim; N],
        forms: &[Vec<Form>; N],
        leaving: usize,
    ) -> Result<Provisional<'_, N>, Refusal> {
        if self.bindings.len() >= self.limits.bindings {
            return Err(Refusal::limit("BINDINGS_MAX", self.limits.bindings as u64));
        }
        let holder = self.grants.get(grant.0).ok_or(Refusal::new(RefusalCode::Stale))?;
        if holder.held.count >= self.limits.neighbours {
            return Err(Refusal::limit("NEIGHBOURS_MAX", self.limits.neighbours as u64));
        }
        let depth = Grant::depth(holder);
        tables::room(&holder.bound, forms.iter().flatten(), self.limits)?;
        self.rules_left(grant, forms.iter().map(Vec::len).sum(), leaving)?;
        let mut rest = forms.iter();
        let ids = claims.each_ref().map(|claim| {
            self.sequence += 1;
            let (claim, born, links) = (claim.clone(), self.sequence, Links::default());
            let id = BindingId(self.bindings.insert(Binding { claim, grant, born, links }));
            if let Some(holder) = self.grants.get_mut(grant.0) {
                holder.held.push(&mut self.bindings, id);
            }
            self.enter_binding(id, grant, rest.next().map_or(&[], Vec::as_slice));
            id
        });
        Ok(Provisional { registry: self, ids, claims, grant, depth, kept: false })
    }
}

impl<const N: usize> Provisional<'_, N> {
    /// They stay, and the one that they take the place of goes.
    pub(super) fn keep(mut self, old: Option<BindingId>) -> [BindingId; N] {
        self.kept = true;
        if let Some(old) = old {
            let _claim = self.registry.release(old);
        }
        self.ids
    }
}

impl<const N: usize> Drop for Provisional<'_, N> {
    fn drop(&mut self) {
        if !self.kept {
            for id in self.ids {
                let _rolled_back = self.registry.release(id);
            }
        }
    }
}

impl<'r> Owned<'r> {
    pub(super) const fn new(binding: Provisional<'r, 1>) -> Owned<'r> {
        Owned(binding)
    }

    /// The handle that [`Owned::commit`] will return.
    #[must_use]
    pub const fn binding(&self) -> BindingId {
        self.0.ids[0]
    }

    /// The filter and what it accepts.
    #[must_use]
    pub const fn claim(&self) -> &Claim {
        &self.0.claims[0]
    }

    /// The grant it is made under.
    #[must_use]
    pub const fn grant(&self) -> GrantId {
        self.0.grant
    }

    /// The grant's depth.
    #[must_use]
    pub const fn depth(&self) -> u32 {
        self.0.depth
    }

    /// Makes it a binding. Allocates nothing and cannot fail.
    pub fn commit(self) -> BindingId {
        let [id] = self.0.keep(None);
        id
    }
}
