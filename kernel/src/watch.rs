//! How long nobody looked at the card: the longest stretch of a proof, if that is asked for.
//!
//! Interrupts are off in the kernel, so a packet that comes waits until the kernel looks at the
//! card, waits for it, or lets ring 3 run. With `latency` on the command line the longest time
//! between two of these is kept, from the call that starts a proof to its answer.

use abi::record::{PROOF_STAGES, Record};
use machine::time::cycles;

use crate::Kernel;
use crate::environment::EnvironmentId;

/// The watch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Watch {
    /// When the card was last looked at, in cycles.
    looked: u64,
    longest: u64,
}

impl Kernel {
    /// The card is looked at, or can interrupt from here on.
    #[inline]
    pub(crate) fn looks(&mut self) {
        if self.options.latency {
            let now = cycles();
            let watch = &mut self.watch;
            watch.longest = watch.longest.max(now.saturating_sub(watch.looked));
            watch.looked = now;
        }
    }

    /// The kernel has just been entered.
    #[inline]
    pub(crate) fn entered(&mut self) {
        if self.options.latency {
            self.watch.looked = cycles();
        }
    }

    /// A proof begins in this stretch.
    pub(crate) fn watch_proof(&mut self) {
        self.watch.longest = 0;
    }

    /// A proof is over, and answered: says what its stages and its longest stretch were.
    pub(crate) fn watched_proof(
        &mut self,
        id: EnvironmentId,
        (steps, step): (u32, u64),
        stages: [(u32, u64); PROOF_STAGES.len()],
    ) {
        if self.options.latency {
            self.looks();
            let (environment, longest) = (id.0, self.watch.longest);
            self.channel.emit(160, || Record::Proof { environment, steps, step, longest, stages });
        }
    }
}
