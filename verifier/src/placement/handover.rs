//! One binding becomes two: together exactly what it was, and nothing twice.
//!
//! For whoever hands a part of its flow to somebody else: the old filter's claim is proven to be
//! the disjoint union of the two new ones. Nobody else needs to be asked then, because the frames
//! are those that were already apart from everybody; and the exchange is one step of the registry,
//! so that no frame is without an owner, or has two, in between.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Poll;

use flow::{Containment, Contradiction, Intersection, Space};

use super::{Shared, current, with_flow_fuel, within};
use crate::claim::Claim;
use crate::fuel::{Fuel, Step};
use crate::index::Form;
use crate::refusal::{Party, Refusal, RefusalCode};
use crate::registry::{BindingId, GrantId, Registry};

/// Proves two claims to be exactly one binding's.
#[derive(Debug)]
pub struct Handover {
    registry: u64,
    old: BindingId,
    grant: GrantId,
    claims: Option<[Claim; 2]>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// No frame is in both.
    Apart(Intersection<Shared, Shared>),
    /// Every frame of either is in the old one.
    Inside(Containment<Arc<Space>, Shared>),
    /// Every frame of the old one is in either.
    Whole(Containment<Shared, Arc<Space>>),
}

/// Two claims that may take a binding's place: made by [`Handover`] only.
#[derive(Debug)]
pub struct HandedOver {
    registry: u64,
    old: BindingId,
    grant: GrantId,
    claims: [Claim; 2],
    forms: [Vec<Form>; 2],
}

impl Handover {
    /// Starts the proof that `claims` together are exactly what the binding `old` claims.
    ///
    /// # Errors
    /// [`RefusalCode::Stale`] if the handle names no binding; [`RefusalCode::Undecided`] if one of
    /// the three claims is not exact.
    pub fn new(
        registry: &Registry,
        old: BindingId,
        claims: [Claim; 2],
    ) -> Result<Handover, Refusal> {
        let binding = registry.binding(old).ok_or(Refusal::new(RefusalCode::Stale))?;
        for claim in claims.iter().chain([binding.claim()]) {
            if let Some(doubt) = claim.doubt() {
                return Err(doubt.refusal());
            }
        }
        let [first, second] = claims.each_ref().map(|claim| Arc::clone(claim.shared_space()));
        Ok(Handover {
            registry: registry.identity(),
            old,
            grant: binding.grant(),
            claims: Some(claims),
            stage: Stage::Apart(Intersection::new(first, second)),
        })
    }

    /// Works until the fuel is spent or the answer is there.
    ///
    /// The answer's errors: [`RefusalCode::Overlap`] with a frame that is in both or that is in the
    /// old claim and in neither (then nobody is named), [`RefusalCode::OutsideGrant`] with a frame
    /// that is in one and not in the old claim, [`RefusalCode::Limit`], [`RefusalCode::Stale`], and
    /// [`RefusalCode::Finished`] after the first answer.
    pub fn step(&mut self, registry: &Registry, fuel: &mut Fuel) -> Step<HandedOver> {
        let Some(claims) = &self.claims else {
            return Poll::Ready(Err(Refusal::new(RefusalCode::Finished)));
        };
        let verdict = loop {
            let Some(old) = registry.binding(self.old) else {
                break Err(Refusal::new(RefusalCode::Stale));
            };
            if let Err(refusal) = current(registry, self.registry, self.grant) {
                break Err(refusal);
            }
            if fuel.is_empty() {
                return Poll::Pending;
            }
            let verdict = with_flow_fuel(fuel, |flow_fuel| match &mut self.stage {
                Stage::Apart(proof) => proof.step(flow_fuel),
                Stage::Inside(proof) => proof.step(flow_fuel),
                Stage::Whole(proof) => proof.step(flow_fuel),
            });
            let Poll::Ready(verdict) = verdict else { return Poll::Pending };
            if let Err(contradiction) = verdict {
                break Err(refusal(&self.stage, self.old, contradiction));
            }
            let [first, second] = claims;
            let both = || Arc::new(first.space().union(second.space()));
            let whole = || Arc::clone(old.claim().shared_space());
            self.stage = match self.stage {
                Stage::Apart(_) => Stage::Inside(Containment::new(both(), whole())),
                Stage::Inside(_) => Stage::Whole(Containment::new(whole(), both())),
                Stage::Whole(_) => break Ok(()),
            };
        };
        let claims = self.claims.take();
        Poll::Ready(verdict.and_then(|()| {
            let claims = claims.ok_or(Refusal::new(RefusalCode::Finished))?;
            let forms =
                claims.each_ref().map(|claim| claim.space().rules().iter().map(Form::of).collect());
            let (registry, old, grant) = (self.registry, self.old, self.grant);
            Ok(HandedOver { registry, old, grant, claims, forms })
        }))
    }
}

fn refusal(stage: &Stage, old: BindingId, contradiction: Contradiction) -> Refusal {
    let witness = match contradiction {
        Contradiction::Witness(witness) => witness,
        Contradiction::Budget { limit } => return within::budget(limit),
    };
    let code = match stage {
        Stage::Apart(_) | Stage::Whole(_) => RefusalCode::Overlap,
        Stage::Inside(_) => RefusalCode::OutsideGrant,
    };
    let refusal = Refusal::new(code).with_witness(witness);
    // What is left over stays with the old binding: it is whom the frame belongs to.
    if matches!(stage, Stage::Whole(_)) { refusal.against(Party::Binding(old)) } else { refusal }
}

impl HandedOver {
    /// The binding that goes.
    #[must_use]
    pub const fn old(&self) -> BindingId {
        self.old
    }

    /// The claims that take its place.
    #[must_use]
    pub const fn claims(&self) -> &[Claim; 2] {
        &self.claims
    }

    /// Whether the binding and its grant are still there, in the same registry.
    pub(crate) fn recheck(&self, registry: &Registry) -> Result<(), Refusal> {
        current(registry, self.registry, self.grant)?;
        match registry.binding(self.old) {
            Some(_) => Ok(()),
            None => Err(Refusal::new(RefusalCode::Stale)),
        }
    }

    pub(crate) fn into_parts(self) -> (BindingId, GrantId, [Claim; 2], [Vec<Form>; 2]) {
        (self.old, self.grant, self.claims, self.forms)
    }
}
