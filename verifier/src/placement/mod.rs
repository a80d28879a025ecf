//! Is the claim inside its grant, and apart from every neighbour.
//!
//! Both proofs go through [`apart`]'s and `flow`'s resumable comparisons; what came in while the
//! proof waited is compared before the proof answers.
//! The registry may change between two steps: a neighbour that left is skipped, a grant that left
//! makes the proof [`RefusalCode::Stale`].
//!
//! Before anybody is accused, the witness is run through the original programs. A witness that
//! they do not accept would mean that an extracted claim is wrong, and then nothing is claimed:
//! [`UndecidedReason::Unconfirmed`].
//!
//! [`UndecidedReason::Unconfirmed`]: crate::refusal::UndecidedReason::Unconfirmed

mod apart;
mod confirm;
mod derivation;
mod handover;
pub mod scan;
mod within;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Poll;

pub use derivation::{Derivation, PlacedGrant, Transmit};
pub use handover::{HandedOver, Handover};

use crate::claim::Claim;
use crate::fuel::{Fuel, Step};
use crate::index::{Form, Work};
use crate::refusal::{Part, Refusal, RefusalCode};
use crate::registry::{GrantId, Registry};
use apart::{Apart, Neighbours};
use within::Within;

pub(crate) use within::{admissible, budget};

/// Proves a claim to be inside its grant and apart from all bindings under it.
#[derive(Debug)]
pub struct Placement {
    registry: u64,
    grant: GrantId,
    claim: Option<Claim>,
    within: Option<Within>,
    apart: Apart,
}

/// A claim that may be owned: made by [`Placement`] only.
#[derive(Debug)]
pub struct Placed {
    registry: u64,
    grant: GrantId,
    claim: Claim,
    /// How the index will know its rules.
    forms: Vec<Form>,
    /// The registry's sequence up to which all neighbours are compared.
    seen: u64,
}

impl Placement {
    /// Starts the proof that `claim` may be bound under `grant`.
    ///
    /// # Errors
    /// [`RefusalCode::Stale`] if the handle names no grant.
    pub fn bind(registry: &Registry, grant: GrantId, claim: Claim) -> Result<Placement, Refusal> {
        let holder = registry.grant(grant).ok_or(Refusal::new(RefusalCode::Stale))?;
        let within = Within::new(claim.shared_space(), holder.shared_receive());
        let apart = Apart::new(grant, Neighbours::Bindings, claim.shared_space());
        let registry = registry.identity();
        Ok(Placement { registry, grant, claim: Some(claim), within: Some(within), apart })
    }

    /// Works until the fuel is spent or the answer is there.
    ///
    /// The answer's errors: [`RefusalCode::OutsideGrant`] and [`RefusalCode::Overlap`] with a
    /// witness, [`RefusalCode::Limit`], [`RefusalCode::Stale`], and
    /// [`RefusalCode::Finished`] after the first answer.
    pub fn step(&mut self, registry: &Registry, fuel: &mut Fuel) -> Step<Placed> {
        let Some(claim) = &self.claim else {
            return Poll::Ready(Err(Refusal::new(RefusalCode::Finished)));
        };
        let verdict = match current(registry, self.registry, self.grant) {
            Err(refusal) => Poll::Ready(Err(refusal)),
            Ok(()) => advance(claim, &mut self.within, &mut self.apart, registry, fuel),
        };
        match verdict {
            Poll::Pending => Poll::Pending,
            Poll::Ready(verdict) => Poll::Ready(self.finish(verdict)),
        }
    }

    fn finish(&mut self, verdict: Result<(), Refusal>) -> Result<Placed, Refusal> {
        let claim = self.claim.take().ok_or(Refusal::new(RefusalCode::Finished))?;
        verdict?;
        let (forms, seen) = (self.apart.take_forms(), self.apart.seen());
        Ok(Placed { registry: self.registry, grant: self.grant, claim, forms, seen })
    }

    /// What the look-ups among the neighbours did so far.
    #[must_use]
    pub fn work(&self) -> Work {
        self.apart.work()
    }
}

impl Placed {
    /// The binding that is all of a grant, by the grant's own filter: without a proof, since a
    /// claim is inside itself and nobody is there to be apart from.
    ///
    /// # Errors
    /// [`RefusalCode::Stale`] if the handle names no derived grant, or one under which something
    /// stands already.
    pub fn all_of(registry: &Registry, grant: GrantId) -> Result<Placed, Refusal> {
        let stale = Refusal::new(RefusalCode::Stale);
        let holder = registry.grant(grant).ok_or(stale.clone())?;
        if holder.bindings() > 0 || !holder.children().is_empty() {
            return Err(stale);
        }
        let claim = holder.claim().ok_or(stale)?.clone();
        let forms = claim.space().rules().iter().map(Form::of).collect();
        let (registry, seen) = (registry.identity(), registry.sequence());
        Ok(Placed { registry, grant, claim, forms, seen })
    }

    /// The claim that was placed.
    #[must_use]
    pub const fn claim(&self) -> &Claim {
        &self.claim
    }

    /// The grant it was placed under.
    #[must_use]
    pub const fn grant(&self) -> GrantId {
        self.grant
    }

    /// Compares with what came in since the last step.
    pub(crate) fn recheck(&self, registry: &Registry) -> Result<(), Refusal> {
        current(registry, self.registry, self.grant)?;
        apart::recheck(registry, self.grant, Neighbours::Bindings, &self.claim, self.seen)
    }

    pub(crate) fn into_parts(self) -> (Claim, GrantId, Vec<Form>) {
        (self.claim, self.grant, self.forms)
    }
}

/// The registry is the one the proof began with and still has the grant.
fn current(registry: &Registry, identity: u64, grant: GrantId) -> Result<(), Refusal> {
    let same = registry.identity() == identity && registry.grant(grant).is_some();
    if same { Ok(()) } else { Err(Refusal::new(RefusalCode::Stale)) }
}

/// Inside first, then apart.
fn advance(
    claim: &Claim,
    within: &mut Option<Within>,
    apart: &mut Apart,
    registry: &Registry,
    fuel: &mut Fuel,
) -> Poll<Result<(), Refusal>> {
    if let Some(proof) = within {
        match proof.step(Some(claim), Part::Receive, fuel) {
            Poll::Ready(Ok(())) => *within = None,
            other => return other,
        }
    }
    apart.step(claim, registry, fuel)
}

/// Runs `flow`'s fuel on ours.
pub(crate) fn with_flow_fuel<T>(fuel: &mut Fuel, run: impl FnOnce(&mut u64) -> T) -> T {
    /// One unit of `flow`'s is an operation on a pair of rules: some thousand instructions.
    const RATE: u32 = 32;
    // At least one, so that any fuel makes progress.
    let given = u64::from((fuel.0 / RATE).max(1));
    let mut left = given;
    let result = run(&mut left);
    let used = u32::try_from(given - left).unwrap_or(u32::MAX);
    fuel.spend(used.saturating_mul(RATE).max(1));
    result
}

/// Both spaces shared, so that a comparison outlives changes of the registry.
type Shared = Arc<flow::Space>;
