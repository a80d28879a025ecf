//! The proof of disjointness without an index: everybody is asked.
//!
//! The oracle that the index is held against, and what it is measured against. Never used to admit
//! anybody: it makes no [`super::Placed`].

use super::apart::accuse;
use crate::claim::Claim;
use crate::refusal::{Party, Refusal, RefusalCode};
use crate::registry::{GrantId, Registry};

/// Whether a claim meets a binding under `grant`: each is compared, oldest first.
///
/// # Errors
/// As for [`super::Placement::step`]; the oldest binding that the claim meets is named.
pub fn bindings(registry: &Registry, grant: GrantId, claim: &Claim) -> Result<(), Refusal> {
    registry.grant(grant).ok_or(Refusal::new(RefusalCode::Stale))?;
    for id in registry.bindings_under(grant) {
        let Some(binding) = registry.binding(id) else { continue };
        compare(registry, claim, (Party::Binding(id), binding.claim()))?;
    }
    Ok(())
}

/// Whether a claim meets a binding under `grant` or a grant derived from it.
///
/// # Errors
/// As for [`bindings`].
pub fn everyone(registry: &Registry, grant: GrantId, claim: &Claim) -> Result<(), Refusal> {
    bindings(registry, grant, claim)?;
    let children = registry.grant(grant).map_or(&[][..], |grant| grant.children());
    for &id in children {
        if let Some(theirs) = registry.grant(id).and_then(|grant| grant.claim()) {
            compare(registry, claim, (Party::Grant(id), theirs))?;
        }
    }
    Ok(())
}

fn compare(
    registry: &Registry,
    claim: &Claim,
    (party, theirs): (Party, &Claim),
) -> Result<(), Refusal> {
    match claim.space().disjoint_from(theirs.space()) {
        Ok(()) => Ok(()),
        Err(contradiction) => match accuse(registry, claim, party, contradiction) {
            Some(refusal) => Err(refusal),
            None => Ok(()),
        },
    }
}
