//! Holders: bindings and derived grants, as the engine keeps them.

use alloc::vec::Vec;

use ebpf::interp;
use verifier::{Claim, GrantId, Verified};

use super::Verdict;
use crate::load::NativeProgram;

/// A binding or a grant.
#[derive(Debug)]
pub(super) struct Holder {
    /// What a frame that it wins is answered with; `None` until published.
    pub(super) verdict: Option<Verdict>,
    /// The grant whose quota of shapes it uses.
    pub(super) quota: GrantId,
    /// The entries that it claims.
    pub(super) entries: Vec<usize>,
    /// Shapes (by number) that its rules have.
    pub(super) shapes: Vec<usize>,
    /// The original program, where a key is not the whole rule.
    pub(super) residual: Option<NativeProgram>,
    /// The same program for the interpreter.
    pub(super) verified: Verified,
}

impl Holder {
    pub(super) fn new(claim: &Claim, quota: GrantId) -> Self {
        Self {
            verdict: None,
            quota,
            entries: Vec::new(),
            shapes: Vec::new(),
            residual: None,
            verified: claim.verified().clone(),
        }
    }

    /// What the original program says of a frame, natively.
    pub(super) fn confirms(&self, frame: &[u8]) -> bool {
        self.residual.as_ref().is_some_and(|program| program.accepts(frame))
    }

    /// What the original program says of a frame, interpreted.
    pub(super) fn confirms_interpreted(&self, frame: &[u8]) -> bool {
        interp::accepts(self.verified.program(), frame).unwrap_or(false)
    }
}
