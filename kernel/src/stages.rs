//! What each stage of a packet's way costs, if that is asked for (`latency` on the command line).
//!
//! The packet path is compiled twice: with marks that read the time-stamp counter at the end of
//! each stage, and with marks that are nothing. A reading costs a handful of instructions, which
//! are in the figures.

use abi::record::{Record, Verdict};

use crate::Kernel;
use crate::limits::BATCH_MAX;

/// The stages of a packet that its owner's handler answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// From the interrupt until the card's buffer is ours.
    Driver,
    /// Until its owner is known.
    Classify,
    /// Until the handler has decided.
    Handler,
    /// Until the card has been told of the answer.
    Reply,
}

/// How many.
const STAGES: usize = 4;

/// Somebody to tell about the end of each stage, or nobody.
pub(crate) trait Marks {
    /// A stage has ended.
    fn mark(&mut self, stage: Stage);
    /// A packet's way has.
    fn ended(&mut self, verdict: Verdict);
    /// When the packets were picked up, in cycles.
    fn picked_up(&self) -> Option<u64>;
}

impl Marks for () {
    fn mark(&mut self, _stage: Stage) {}

    fn ended(&mut self, _verdict: Verdict) {}

    fn picked_up(&self) -> Option<u64> {
        None
    }
}

/// The stages of one batch. They mean something if there was one packet in it.
pub(crate) struct Stages {
    picked_up: u64,
    /// The end of each stage, in cycles.
    ends: [u64; STAGES],
    answered: [Option<u64>; BATCH_MAX],
    packets: usize,
}

impl Stages {
    pub(crate) fn new(picked_up: u64) -> Stages {
        Stages { picked_up, ends: [picked_up; STAGES], answered: [None; BATCH_MAX], packets: 0 }
    }

    /// How long each stage took.
    fn spans(&self) -> [u64; STAGES] {
        let mut before = self.picked_up;
        self.ends.map(|end| {
            let span = end.saturating_sub(before);
            before = end;
            span
        })
    }
}

impl Marks for Stages {
    fn mark(&mut self, stage: Stage) {
        if let Some(end) = self.ends.get_mut(stage as usize) {
            *end = machine::time::cycles();
        }
    }

    fn ended(&mut self, verdict: Verdict) {
        if let (Verdict::Answered(binding), Some(slot)) =
            (verdict, self.answered.get_mut(self.packets))
        {
            *slot = Some(binding);
        }
        self.packets += 1;
    }

    fn picked_up(&self) -> Option<u64> {
        Some(self.picked_up)
    }
}

impl Kernel {
    /// Says how long the answers of a batch took, and of one alone by stages.
    pub(crate) fn report_stages(&mut self, stages: &Stages) {
        let [.., sent] = stages.ends;
        for binding in stages.answered.into_iter().flatten() {
            self.emit_latency(binding, true, sent.saturating_sub(stages.picked_up));
        }
        if let ([Some(binding), ..], 1) = (stages.answered, stages.packets) {
            let cycles = stages.spans();
            self.channel.emit(64, || Record::Stages { binding, cycles });
        }
    }

    fn emit_latency(&mut self, binding: u64, in_kernel: bool, cycles: u64) {
        let runnable = self.scheduler.runnable();
        self.channel.emit(32, || Record::Latency { binding, in_kernel, cycles, runnable });
    }

    /// Cycles from the pick-up of a request to the kick of its answer by its owner, which was just
    /// now.
    pub(crate) fn latency(&mut self, binding: u64, picked_up: u64) {
        let cycles = machine::time::cycles().saturating_sub(picked_up);
        if self.options.latency {
            self.emit_latency(binding, false, cycles);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Marks, Stages};
    use abi::record::Verdict;

    #[test]
    fn the_spans_add_up_to_the_whole() {
        let mut stages = Stages::new(100);
        stages.ends = [130, 150, 155, 200];
        assert_eq!(stages.spans(), [30, 20, 5, 45]);
        stages.ended(Verdict::Answered(7));
        assert_eq!((stages.answered[0], stages.packets), (Some(7), 1));
    }
}
