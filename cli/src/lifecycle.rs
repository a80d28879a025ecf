//! Lives that end: `init` makes and kills environments, and the books are as they were.
//!
//! One half are programs that loop, killed at once. The other half are in the middle of a call
//! nearly all the time (a proof, a creation, a wait), and are killed after a part of a few
//! milliseconds that is another one each time.

use abi::books::Books;

use crate::limits;
use crate::machine::{Machine, MachineError};
use crate::progress::Progress;

/// One kind of life.
#[derive(Clone, Copy, Debug)]
pub struct Lives {
    /// The program.
    pub program: &'static str,
    /// How many.
    pub lives: u64,
    /// How many for one command.
    pub batch: u64,
    /// Longest life in microseconds; 0: killed at once.
    pub micros: u64,
}

/// What `sluice evidence lifecycle` does. Of the second row four in ten end within a call.
pub const ALL: [Lives; 2] = [
    Lives { program: "spin", lives: 10_000, batch: 100, micros: 0 },
    Lives { program: "caller", lives: 2_500, batch: 25, micros: limits::CALLER_MICROS },
];

/// The books before and after.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Before the first life.
    pub before: Books,
    /// After the last.
    pub after: Books,
    /// Whether the kernel's audit found nothing.
    pub audited: bool,
    /// How many were ended while a proof of theirs was being worked on.
    pub proving: u64,
    /// How many while they waited in a call.
    pub waiting: u64,
}

impl Outcome {
    /// Whether nothing was left behind.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let held = |it: &Books| (it.frames, it.environments, it.grants, it.bindings);
        self.audited && held(&self.before) == held(&self.after)
    }

    /// The two, side by side.
    #[must_use]
    pub fn lines(&self) -> [String; 2] {
        [("before", &self.before), ("after", &self.after)].map(|(name, it)| {
            let f = it.frames;
            format!(
                "{name:7} frames: {} free, {} owned, {} kernel; {} environments, {} grants, \
                 {} bindings",
                f.free, f.owned, f.kernel, it.environments, it.grants, it.bindings
            )
        })
    }
}

/// Lives them. What comes to be once and stays, as a table that grew, comes to be before.
///
/// # Errors
/// [`MachineError`].
pub fn run(machine: &Machine, all: &[Lives]) -> Result<Outcome, MachineError> {
    let progress = Progress::spinner("creating and killing");
    for Lives { program, micros, .. } in all {
        machine.command(&format!("cycle {program} 2 {micros}"))?;
    }
    let before = machine.books()?;
    let (mut proving, mut waiting) = (0, 0);
    for Lives { program, lives, batch, micros } in all {
        for done in (0..*lives).step_by(*batch as usize) {
            let count = (lives - done).min(*batch);
            let answer = machine.command(&format!("cycle {program} {count} {micros}"))?;
            let ended: u64 = answer.parse().unwrap_or_default();
            proving += ended >> 16 & 0xffff;
            waiting += ended >> 32 & 0xffff;
            progress.now(&format!("{program}: {} of {lives}", done + count));
        }
    }
    let after = machine.books()?;
    let audited = machine.audit()?.is_none();
    progress.done("done");
    Ok(Outcome { before, after, audited, proving, waiting })
}
