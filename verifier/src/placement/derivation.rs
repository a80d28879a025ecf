//! A child grant: inside its parent in both directions, apart from its siblings.
//!
//! The child's receive space is carved out of the parent's: from then on frames in it never reach
//! a binding of the parent. It must not meet a binding that the parent's holders have made already;
//! those have the older right.
//!
//! Unless that binding's holder asks for it: a grant may be *carved* from a binding, a connection
//! from its listener. Then the child must be inside what the binding claims, which nobody else's
//! claim meets, and apart from what was carved from it before.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Poll;

use flow::Space;

use super::apart::{self, Apart, Neighbours};
use super::within::{Within, admissible};
use super::{advance, current};
use crate::claim::Claim;
use crate::fuel::{Fuel, Step};
use crate::index::Form;
use crate::refusal::{Part, Refusal, RefusalCode};
use crate::registry::{BindingId, GrantId, Registry};

/// What a derived grant may send.
#[derive(Clone, Debug)]
pub enum Transmit {
    /// What a filter accepts.
    Claim(Claim),
    /// A space that the kernel computed itself: the mirror of the receive space.
    Space(Space),
}

/// Proves that a grant may be derived.
#[derive(Debug)]
pub struct Derivation {
    registry: u64,
    parent: GrantId,
    from: Option<BindingId>,
    receive: Option<Claim>,
    within: Option<Within>,
    apart: Apart,
    transmit: Arc<Space>,
    transmit_claim: Option<Claim>,
    transmit_within: Option<Within>,
}

/// A grant that may be adopted: made by [`Derivation`] only.
#[derive(Debug)]
pub struct PlacedGrant {
    registry: u64,
    parent: GrantId,
    from: Option<BindingId>,
    receive: Claim,
    transmit: Arc<Space>,
    forms: Vec<Form>,
    seen: u64,
}

impl Derivation {
    /// Starts the proof that a grant of `receive` and `transmit` may be derived from `parent`.
    ///
    /// # Errors
    /// [`RefusalCode::Stale`] if the handle names no grant; [`RefusalCode::Limit`] if a computed
    /// transmit space is beyond `flow`'s limits; [`RefusalCode::Undecided`] if a claim is not
    /// exact.
    pub fn new(
        registry: &Registry,
        parent: GrantId,
        receive: Claim,
        transmit: Transmit,
    ) -> Result<Derivation, Refusal> {
        let holder = registry.grant(parent).ok_or(Refusal::new(RefusalCode::Stale))?;
        let outer = Arc::clone(holder.shared_receive());
        Derivation::inside(registry, (parent, None), &outer, (receive, transmit))
    }

    /// Starts the proof that a grant of `receive` and `transmit` may be carved from a binding, as
    /// a child of the binding's grant: from then on the binding receives what is left.
    ///
    /// # Errors
    /// As for [`Derivation::new`]; [`RefusalCode::Stale`] if the handle names no binding.
    pub fn carve(
        registry: &Registry,
        from: BindingId,
        receive: Claim,
        transmit: Transmit,
    ) -> Result<Derivation, Refusal> {
        let binding = registry.binding(from).ok_or(Refusal::new(RefusalCode::Stale))?;
        let outer = Arc::clone(binding.claim().shared_space());
        let parent = binding.grant();
        Derivation::inside(registry, (parent, Some(from)), &outer, (receive, transmit))
    }

    fn inside(
        registry: &Registry,
        (parent, from): (GrantId, Option<BindingId>),
        outer: &Arc<Space>,
        (receive, transmit): (Claim, Transmit),
    ) -> Result<Derivation, Refusal> {
        let holder = registry.grant(parent).ok_or(Refusal::new(RefusalCode::Stale))?;
        // A grant is a space: whoever holds it must know which, and nobody runs a program to tell.
        exact(&receive)?;
        if let Transmit::Claim(claim) = &transmit {
            exact(claim).map_err(|refusal| refusal.about(Part::Transmit))?;
        }
        let (transmit, transmit_claim) = match transmit {
            Transmit::Claim(claim) => (Arc::clone(claim.shared_space()), Some(claim)),
            Transmit::Space(space) => {
                admissible(&space).map_err(|refusal| refusal.about(Part::Transmit))?;
                (Arc::new(space), None)
            }
        };
        Ok(Derivation {
            registry: registry.identity(),
            parent,
            from,
            within: Some(Within::new(receive.shared_space(), outer)),
            apart: Apart::new(parent, neighbours(from), receive.shared_space()),
            receive: Some(receive),
            transmit_within: Some(Within::new(&transmit, holder.shared_transmit())),
            transmit,
            transmit_claim,
        })
    }

    /// Works until the fuel is spent or the answer is there; errors as for
    /// [`crate::Placement::step`], with the part of the request that is at fault.
    pub fn step(&mut self, registry: &Registry, fuel: &mut Fuel) -> Step<PlacedGrant> {
        let verdict = match self.advance(registry, fuel) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(verdict) => verdict,
        };
        let receive = self.receive.take();
        Poll::Ready(verdict.and_then(|()| {
            Ok(PlacedGrant {
                registry: self.registry,
                parent: self.parent,
                from: self.from,
                receive: receive.ok_or(Refusal::new(RefusalCode::Finished))?,
                transmit: Arc::clone(&self.transmit),
                forms: self.apart.take_forms(),
                seen: self.apart.seen(),
            })
        }))
    }

    /// Transmit first: the comparison with neighbours must be the last thing that is done.
    fn advance(&mut self, registry: &Registry, fuel: &mut Fuel) -> Poll<Result<(), Refusal>> {
        let Some(receive) = &self.receive else {
            return Poll::Ready(Err(Refusal::new(RefusalCode::Finished)));
        };
        let there = current(registry, self.registry, self.parent);
        if let Err(refusal) = there.and_then(|()| still_bound(registry, self.from)) {
            return Poll::Ready(Err(refusal));
        }
        if let Some(proof) = &mut self.transmit_within {
            match proof.step(self.transmit_claim.as_ref(), Part::Transmit, fuel) {
                Poll::Ready(Ok(())) => self.transmit_within = None,
                other => return other,
            }
        }
        advance(receive, &mut self.within, &mut self.apart, registry, fuel)
    }
}

impl PlacedGrant {
    /// The grant that it is derived from.
    #[must_use]
    pub const fn parent(&self) -> GrantId {
        self.parent
    }

    /// The receive space with its program.
    #[must_use]
    pub const fn receive(&self) -> &Claim {
        &self.receive
    }

    /// The transmit space.
    #[must_use]
    pub fn transmit(&self) -> &Space {
        &self.transmit
    }

    /// Compares with what came in since the last step.
    pub(crate) fn recheck(&self, registry: &Registry) -> Result<(), Refusal> {
        current(registry, self.registry, self.parent)?;
        still_bound(registry, self.from)?;
        apart::recheck(registry, self.parent, neighbours(self.from), &self.receive, self.seen)
    }

    pub(crate) fn into_parts(self) -> (GrantId, Claim, Arc<Space>, Vec<Form>) {
        (self.parent, self.receive, self.transmit, self.forms)
    }
}

/// Whom the child must be apart from. What is inside a binding's claim is apart from all other
/// bindings already.
fn neighbours(from: Option<BindingId>) -> Neighbours {
    if from.is_some() { Neighbours::Children } else { Neighbours::Everyone }
}

/// What the child is carved from is still there.
fn still_bound(registry: &Registry, from: Option<BindingId>) -> Result<(), Refusal> {
    match from {
        Some(id) if registry.binding(id).is_none() => Err(Refusal::new(RefusalCode::Stale)),
        _ => Ok(()),
    }
}

fn exact(claim: &Claim) -> Result<(), Refusal> {
    match claim.doubt() {
        None => Ok(()),
        Some(doubt) => Err(doubt.refusal()),
    }
}
