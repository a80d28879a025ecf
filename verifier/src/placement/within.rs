//! Is one space inside another: `flow`'s containment with our fuel and our refusals.

use alloc::sync::Arc;
use core::task::Poll;

use flow::{Containment, Contradiction, Space};

use super::apart::unconfirmed;
use super::{Shared, confirm, with_flow_fuel};
use crate::claim::Claim;
use crate::fuel::Fuel;
use crate::refusal::{Part, Refusal, RefusalCode};

/// The proof that a space is inside a grant's.
#[derive(Debug)]
pub(super) struct Within {
    inner: Shared,
    outer: Shared,
    proof: Containment<Shared, Shared>,
}

impl Within {
    pub(super) fn new(inner: &Shared, outer: &Shared) -> Within {
        let proof = Containment::new(Arc::clone(inner), Arc::clone(outer));
        Within { inner: Arc::clone(inner), outer: Arc::clone(outer), proof }
    }

    /// `claim` is the program that the inner space is the claim of, if there is one.
    pub(super) fn step(
        &mut self,
        claim: Option<&Claim>,
        part: Part,
        fuel: &mut Fuel,
    ) -> Poll<Result<(), Refusal>> {
        if fuel.is_empty() {
            return Poll::Pending;
        }
        let verdict = with_flow_fuel(fuel, |flow_fuel| self.proof.step(flow_fuel));
        verdict.map_err(|contradiction| self.refusal(claim, contradiction).about(part))
    }

    fn refusal(&self, claim: Option<&Claim>, contradiction: Contradiction) -> Refusal {
        let witness = match contradiction {
            Contradiction::Witness(witness) => witness,
            Contradiction::Budget { limit } => return budget(limit),
        };
        let accepted = |frame: &[u8]| match claim {
            Some(claim) => claim.program_accepts(frame),
            None => self.inner.contains(frame),
        };
        match confirm::find(&witness, |frame| accepted(frame) && !self.outer.contains(frame)) {
            Some(frame) => Refusal::new(RefusalCode::OutsideGrant).with_witness(frame),
            None => unconfirmed(claim.and_then(Claim::doubt)).with_witness(witness),
        }
    }
}

/// A limit of `flow`, with its value where it is one that a proof can meet.
pub(crate) fn budget(limit: &'static str) -> Refusal {
    let value = flow::limits::value(limit).unwrap_or(0);
    Refusal::limit(limit, value)
}

/// Whether a space from outside keeps to the limits within which proofs can be finished.
pub(crate) fn admissible(space: &Space) -> Result<(), Refusal> {
    space.check().map_err(|flow::FlowError::Budget { limit }| budget(limit))
}
