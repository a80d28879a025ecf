//! Two bindings about to take the place of one: committed or rolled back, never copied.
//!
//! As [`super::Owned`], for [`HandedOver`]: while the engine compiles what the two need, the old
//! binding still answers; the exchange itself is one step that cannot fail.

use alloc::vec::Vec;

use super::{Binding, BindingId, Grant, GrantId, Links, Registry, tables};
use crate::claim::Claim;
use crate::placement::HandedOver;
use crate::refusal::{Refusal, RefusalCode};

/// A binding and the two that will be exactly it.
#[derive(Debug)]
pub struct Exchange<'r> {
    registry: &'r mut Registry,
    old: BindingId,
    new: [BindingId; 2],
    claims: [Claim; 2],
    grant: GrantId,
    depth: u32,
    committed: bool,
}

impl Registry {
    /// Takes two claims in, provisionally, that were proven to be exactly one binding's: they take
    /// its place by [`Exchange::commit`] and are rolled back otherwise.
    ///
    /// # Errors
    /// [`RefusalCode::Stale`] if the binding is gone or is another registry's;
    /// [`RefusalCode::Limit`].
    pub fn exchange(&mut self, handed: HandedOver) -> Result<Exchange<'_>, Refusal> {
        handed.recheck(self)?;
        // One more than there were, once the old one has gone.
        if self.bindings.len() >= self.limits.bindings {
            return Err(Refusal::limit("BINDINGS_MAX", self.limits.bindings as u64));
        }
        let (old, grant, claims, forms) = handed.into_parts();
        let holder = self.grants.get(grant.0).ok_or(Refusal::new(RefusalCode::Stale))?;
        if holder.held.count >= self.limits.neighbours {
            return Err(Refusal::limit("NEIGHBOURS_MAX", self.limits.neighbours as u64));
        }
        let depth = Grant::depth(holder);
        tables::room(&holder.bound, &forms.concat(), self.limits)?;
        let of_old = self.binding(old).map_or(0, |it| it.claim.space().rules().len());
        self.rules_left(grant, forms.iter().map(Vec::len).sum(), of_old)?;
        let parts = [0, 1].map(|part: usize| (claims[part].clone(), &forms[part]));
        let new = parts.map(|(claim, forms)| {
            self.sequence += 1;
            let (born, links) = (self.sequence, Links::default());
            let id = BindingId(self.bindings.insert(Binding { claim, grant, born, links }));
            if let Some(holder) = self.grants.get_mut(grant.0) {
                holder.held.push(&mut self.bindings, id);
            }
            self.enter_binding(id, grant, forms);
            id
        });
        Ok(Exchange { registry: self, old, new, claims, grant, depth, committed: false })
    }

    /// Exchanges a binding for the two that were proven to be exactly it: all at once, or not at
    /// all.
    ///
    /// # Errors
    /// As for [`Registry::exchange`].
    pub fn hand_over(&mut self, handed: HandedOver) -> Result<[BindingId; 2], Refusal> {
        self.exchange(handed).map(Exchange::commit)
    }
}

impl Exchange<'_> {
    /// The binding that goes.
    #[must_use]
    pub const fn old(&self) -> BindingId {
        self.old
    }

    /// The handles that [`Exchange::commit`] will return.
    #[must_use]
    pub const fn bindings(&self) -> [BindingId; 2] {
        self.new
    }

    /// Their filters, and what they accept.
    #[must_use]
    pub const fn claims(&self) -> &[Claim; 2] {
        &self.claims
    }

    /// The grant that all three are made under.
    #[must_use]
    pub const fn grant(&self) -> GrantId {
        self.grant
    }

    /// The grant's depth.
    #[must_use]
    pub const fn depth(&self) -> u32 {
        self.depth
    }

    /// The old one goes, the two are bindings. Cannot fail.
    pub fn commit(mut self) -> [BindingId; 2] {
        self.committed = true;
        let _claim = self.registry.release(self.old);
        self.new
    }
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        if !self.committed {
            for id in self.new {
                let _rolled_back = self.registry.release(id);
            }
        }
    }
}
