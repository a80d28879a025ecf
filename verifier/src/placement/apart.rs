//! Does a claim meet a neighbour's.
//!
//! Neighbours are compared one by one, oldest first. The cursor is the registry's sequence number
//! of the last neighbour compared, so that insertions and removals between two steps neither hide
//! a neighbour nor repeat one. This linear scan is what an index by mask shape replaces later; it
//! stays as its oracle.

use alloc::sync::Arc;
use core::task::Poll;

use flow::{Contradiction, Intersection};

use super::{Shared, with_flow_fuel, within};
use crate::claim::Claim;
use crate::fuel::Fuel;
use crate::limits::RECHECK_MAX;
use crate::refusal::{Party, Refusal, RefusalCode, UndecidedReason};
use crate::registry::{GrantId, Registry};

/// Which neighbours a claim must be apart from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Neighbours {
    /// For a binding: the bindings under the grant. Child grants are carved out instead.
    Bindings,
    /// For a derived grant: its siblings, and the bindings made under the parent before it.
    Everyone,
}

/// The proof that a claim meets no neighbour.
#[derive(Debug)]
pub(super) struct Apart {
    grant: GrantId,
    neighbours: Neighbours,
    space: Shared,
    seen: u64,
    current: Option<(Party, Intersection<Shared, Shared>)>,
}

impl Apart {
    pub(super) fn new(grant: GrantId, neighbours: Neighbours, space: &Shared) -> Apart {
        Apart { grant, neighbours, space: Arc::clone(space), seen: 0, current: None }
    }

    /// The sequence number up to which everything is compared.
    pub(super) const fn seen(&self) -> u64 {
        self.seen
    }

    pub(super) fn step(
        &mut self,
        claim: &Claim,
        registry: &Registry,
        fuel: &mut Fuel,
    ) -> Poll<Result<(), Refusal>> {
        loop {
            if self.current.is_none() {
                self.current = self.next(registry);
            }
            let Some((party, proof)) = &mut self.current else {
                return Poll::Ready(Ok(()));
            };
            if fuel.is_empty() {
                return Poll::Pending;
            }
            let party = *party;
            match with_flow_fuel(fuel, |flow_fuel| proof.step(flow_fuel)) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(contradiction)) => {
                    if let Some(refusal) = accuse(registry, claim, party, contradiction) {
                        return Poll::Ready(Err(refusal));
                    }
                }
            }
            self.current = None;
        }
    }

    /// The oldest neighbour not yet compared, and the comparison with it.
    fn next(&mut self, registry: &Registry) -> Option<(Party, Intersection<Shared, Shared>)> {
        let (party, theirs) = next_after(registry, self.grant, self.neighbours, self.seen)?;
        self.seen = registry.born(party)?;
        Some((party, Intersection::new(Arc::clone(&self.space), Arc::clone(theirs.shared_space()))))
    }
}

/// Compares with what came in after `seen`, all at once: at most `RECHECK_MAX` neighbours.
pub(super) fn recheck(
    registry: &Registry,
    grant: GrantId,
    neighbours: Neighbours,
    claim: &Claim,
    mut seen: u64,
) -> Result<(), Refusal> {
    for _ in 0..RECHECK_MAX {
        let Some((party, theirs)) = next_after(registry, grant, neighbours, seen) else {
            return Ok(());
        };
        seen = registry.born(party).ok_or(Refusal::new(RefusalCode::Stale))?;
        if let Err(contradiction) = claim.space().disjoint_from(theirs.space())
            && let Some(refusal) = accuse(registry, claim, party, contradiction)
        {
            return Err(refusal);
        }
    }
    match next_after(registry, grant, neighbours, seen) {
        None => Ok(()),
        Some(_) => Err(Refusal {
            code: RefusalCode::Stale,
            ..Refusal::limit("RECHECK_MAX", RECHECK_MAX as u64)
        }),
    }
}

fn next_after(
    registry: &Registry,
    grant: GrantId,
    neighbours: Neighbours,
    seen: u64,
) -> Option<(Party, &Claim)> {
    let binding = registry.bindings_since(grant, seen).first().map(|&id| Party::Binding(id));
    let child = registry.children_since(grant, seen).first().map(|&id| Party::Grant(id));
    let child = child.filter(|_| neighbours == Neighbours::Everyone);
    let party = match (binding, child) {
        (Some(a), Some(b)) if registry.born(b) < registry.born(a) => b,
        (Some(a), _) => a,
        (None, b) => b?,
    };
    Some((party, claim_of(registry, party)?))
}

fn claim_of(registry: &Registry, party: Party) -> Option<&Claim> {
    match party {
        Party::Binding(id) => registry.binding(id).map(|binding| binding.claim()),
        Party::Grant(id) => registry.grant(id).and_then(|grant| grant.claim()),
    }
}

/// The refusal that follows, unless the neighbour has left meanwhile.
fn accuse(
    registry: &Registry,
    claim: &Claim,
    party: Party,
    contradiction: Contradiction,
) -> Option<Refusal> {
    let theirs = claim_of(registry, party)?;
    let witness = match contradiction {
        Contradiction::Witness(witness) => witness,
        Contradiction::Budget { limit } => return Some(within::budget(limit).against(party)),
    };
    let confirmed = claim.program_accepts(&witness) && theirs.program_accepts(&witness);
    let code = if confirmed {
        RefusalCode::Overlap
    } else {
        RefusalCode::Undecided(UndecidedReason::Unconfirmed)
    };
    Some(Refusal::new(code).against(party).with_witness(witness))
}
