//! Lives that end: `init` makes and kills environments, and the books are as they were.
//!
//! One half are programs that loop, killed at once. The other half are in the middle of a call
//! nearly all the time (a proof, a creation, a wait), and are killed after a part of a few
//! milliseconds that is another one each time.

use std::fmt::Write;

use abi::books::Books;

use crate::attacks::commit;
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

/// The report: what lived, and the books before and after.
#[must_use]
pub fn report(outcome: &Outcome, all: &[Lives], board: &str) -> String {
    let mut text = String::from("# Lives that end\n\n");
    // Writing to a string never fails.
    let _ = writeln!(
        text,
        "Made by `cargo run -- evidence lifecycle` on {board}, commit {}. `init` creates an \
         environment, starts it and kills it, one after the other.\n\n| program | lives | killed \
         after |\n|---|---|---|",
        commit()
    );
    for Lives { program, lives, micros, .. } in all {
        let after = match micros {
            0 => "its start".to_owned(),
            most => format!("a part of {most} microseconds, another one each time"),
        };
        let _ = writeln!(text, "| `{program}` | {lives} | {after} |");
    }
    let Outcome { proving, waiting, audited, .. } = outcome;
    let _ = writeln!(
        text,
        "\nIn the middle of a call ended {}: {proving} while a proof of theirs was being worked \
         on, {waiting} while they waited.\n\n| | before | after |\n|---|---|---|",
        proving + waiting
    );
    for (name, value) in [
        ("frames free", (|it| it.frames.free) as fn(&Books) -> u64),
        ("frames owned", |it| it.frames.owned),
        ("frames of the kernel", |it| it.frames.kernel),
        ("environments", |it| it.environments.into()),
        ("grants", |it| it.grants.into()),
        ("bindings", |it| it.bindings.into()),
    ] {
        let (before, after) = (value(&outcome.before), value(&outcome.after));
        let _ = writeln!(text, "| {name} | {before} | {after} |");
    }
    let audit = if *audited { "found nothing" } else { "**found something**" };
    let verdict = if outcome.is_clean() { "as they were" } else { "**not as they were**" };
    let _ = writeln!(text, "\nThe books are {verdict}; the kernel's audit {audit}.");
    text
}

#[cfg(test)]
mod tests {
    use super::{ALL, Outcome, report};
    use abi::books::Books;

    #[test]
    fn a_leak_is_said_in_the_report() {
        let before = Books::default();
        let clean = Outcome { before, after: before, audited: true, proving: 7, waiting: 5 };
        let text = report(&clean, &ALL, "q35");
        assert!(
            text.contains("ended 12: 7 while") && text.contains("| `spin` | 10000 | its start")
        );
        assert!(text.contains("as they were; the kernel's audit found nothing"), "{text}");
        let mut after = before;
        after.grants += 1;
        let text = report(&Outcome { after, audited: false, ..clean }, &ALL, "q35");
        assert!(text.contains("**not as they were**") && text.contains("**found something**"));
        assert!(text.contains("| grants | 0 | 1 |"), "{text}");
    }
}
