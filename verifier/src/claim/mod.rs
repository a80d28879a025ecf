//! Which frames a filter accepts, extracted from its instructions.
//!
//! Placeholder of the module's documentation.

use alloc::sync::Arc;

use flow::Space;

use crate::fuel::{Fuel, Step};
use crate::refusal::Refusal;
use crate::safety::Verified;

/// Extracts what a filter accepts.
#[derive(Debug)]
pub struct ClaimProof {
    verified: Option<Verified>,
}

/// A filter and exactly the frames that it accepts: made by [`ClaimProof`] only.
#[derive(Clone, Debug)]
pub struct Claim {
    verified: Verified,
    space: Arc<Space>,
}

impl ClaimProof {
    /// Starts the extraction for a verified filter.
    #[must_use]
    pub fn new(verified: Verified) -> ClaimProof {
        ClaimProof { verified: Some(verified) }
    }

    /// Works until the fuel is spent or the answer is there.
    pub fn step(&mut self, _fuel: &mut Fuel) -> Step<Claim> {
        let _unfinished = &self.verified;
        core::task::Poll::Ready(Err(Refusal::new(crate::refusal::RefusalCode::Finished)))
    }
}

impl Claim {
    /// The filter.
    #[must_use]
    pub const fn verified(&self) -> &Verified {
        &self.verified
    }

    /// The frames it accepts.
    #[must_use]
    pub fn space(&self) -> &Space {
        &self.space
    }

    pub(crate) fn shared_space(&self) -> &Arc<Space> {
        &self.space
    }

    /// What the filter itself says of a frame; `false` where it would trap, which a verified
    /// filter does not.
    pub(crate) fn program_accepts(&self, frame: &[u8]) -> bool {
        ebpf::interp::accepts(self.verified.program(), frame).unwrap_or(false)
    }
}
