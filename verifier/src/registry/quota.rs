//! How many rules one tenant may have: counted per subtree of grants, like the engine's shapes.
//!
//! A child of the root and everything under it share one quota ([`RULES_PER_GRANT`]): every rule
//! costs the proof index and the engine's tables memory, whoever pays for the binding. What the
//! root itself binds and derives is exempt, because whoever holds the root decides over everything.
//!
//! [`RULES_PER_GRANT`]: crate::limits::RULES_PER_GRANT

use super::{GrantId, Registry};
use crate::refusal::Refusal;

impl Registry {
    /// Rules that the bindings and grants of a grant's subtree have, of those that count: the
    /// subtree is that of the root's child which the grant is, or is under. None for the root.
    #[must_use]
    pub fn rules_under(&self, grant: GrantId) -> Option<usize> {
        let top = self.grant(grant)?.top?;
        self.grant(top).map(|top| top.rules)
    }

    /// Whether the subtree may have so many rules more, if so many go at the same time.
    ///
    /// # Errors
    /// [`crate::RefusalCode::Limit`].
    pub(super) fn rules_left(
        &self,
        grant: GrantId,
        more: usize,
        less: usize,
    ) -> Result<(), Refusal> {
        let most = self.limits.rules;
        match self.rules_under(grant) {
            Some(rules) if rules.saturating_sub(less) + more > most => {
                Err(Refusal::limit("RULES_PER_GRANT", most as u64))
            }
            _ => Ok(()),
        }
    }

    /// So many rules came in under a grant.
    pub(super) fn charge_rules(&mut self, grant: GrantId, more: usize) {
        let top = self.grant(grant).and_then(|grant| grant.top);
        if let Some(top) = top.and_then(|top| self.grants.get_mut(top.0)) {
            top.rules += more;
        }
    }

    /// So many rules of a subtree left; nothing if the subtree itself did.
    pub(super) fn refund_rules(&mut self, top: Option<GrantId>, less: usize) {
        if let Some(top) = top.and_then(|top| self.grants.get_mut(top.0)) {
            top.rules = top.rules.saturating_sub(less);
        }
    }
}
