//! Two bindings about to take the place of one: committed or rolled back, never copied.
//!
//! As [`super::Owned`], for [`HandedOver`]: while the engine compiles what the two need, the old
//! binding still answers; the exchange itself is one step that cannot fail.

use super::owned::Provisional;
use super::{BindingId, GrantId, Registry};
use crate::claim::Claim;
use crate::placement::HandedOver;
use crate::refusal::Refusal;

/// A binding and the two that will be exactly it.
#[derive(Debug)]
pub struct Exchange<'r> {
    old: BindingId,
    new: Provisional<'r, 2>,
}

impl Registry {
    /// Takes two claims in, provisionally, that were proven to be exactly one binding's: they take
    /// its place by [`Exchange::commit`] and are rolled back otherwise.
    ///
    /// # Errors
    /// [`crate::RefusalCode::Stale`] if the binding is gone or is another registry's;
    /// [`crate::RefusalCode::Limit`].
    pub fn exchange(&mut self, handed: HandedOver) -> Result<Exchange<'_>, Refusal> {
        handed.recheck(self)?;
        let (old, grant, claims, forms) = handed.into_parts();
        let leaving = self.binding(old).map_or(0, |it| it.claim.space().rules().len());
        let new = self.provide(grant, claims, &forms, leaving)?;
        Ok(Exchange { old, new })
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
        self.new.ids
    }

    /// Their filters, and what they accept.
    #[must_use]
    pub const fn claims(&self) -> &[Claim; 2] {
        &self.new.claims
    }

    /// The grant that all three are made under.
    #[must_use]
    pub const fn grant(&self) -> GrantId {
        self.new.grant
    }

    /// The grant's depth.
    #[must_use]
    pub const fn depth(&self) -> u32 {
        self.new.depth
    }

    /// The old one goes, the two are bindings. Cannot fail.
    pub fn commit(self) -> [BindingId; 2] {
        self.new.keep(Some(self.old))
    }
}
