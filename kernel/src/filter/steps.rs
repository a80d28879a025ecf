//! What the steps of a proof took, by stage.

use abi::record::PROOF_STAGES;

/// What a proof is at; the names are [`PROOF_STAGES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// The call itself: the arena is opened, the programs are copied in.
    CopyIn,
    Decode,
    Safe,
    Claim,
    Place,
    Compile,
    Check,
    /// Sealed, owned, prepared, committed, published.
    Publish,
    /// The arena is given back, the call answered.
    Close,
}

impl At {
    pub(super) fn name(self) -> &'static str {
        PROOF_STAGES.get(self as usize).copied().unwrap_or_default()
    }
}

/// Steps of each stage, and the cycles of the longest of each.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Steps(pub(super) [(u32, u64); PROOF_STAGES.len()]);

impl Steps {
    /// Notes a step that took so many cycles.
    pub(super) fn note(&mut self, at: At, cycles: u64) {
        if let Some((count, longest)) = self.0.get_mut(at as usize) {
            *count = count.saturating_add(1);
            *longest = cycles.max(*longest);
        }
    }

    /// Steps of all stages.
    pub(super) fn count(&self) -> u32 {
        self.0.iter().map(|(count, _)| count).sum()
    }

    /// Cycles of the longest.
    pub(super) fn longest(&self) -> u64 {
        self.0.iter().map(|&(_, cycles)| cycles).max().unwrap_or(0)
    }
}

const _: () = assert!(At::Close as usize + 1 == PROOF_STAGES.len());
