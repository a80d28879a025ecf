//! Generated programs against the oracles: no trap, every value in its state, native code the same.

use std::fmt::Write as _;

use dpf::fuzzing::{Trial, trial};
use ebpf::Kind;
use runtime::native::HostPages;
use serde::{Deserialize, Serialize};

use super::campaign::{self, Extent, Random, grouped, percent};
use crate::evidence::EvidenceError;
use crate::progress::Progress;
use crate::{attacks, build};

/// Programs of a call without a limit.
const PROGRAMS: u64 = 20_000;
/// Programs between two times that the campaign is saved.
const BATCH: u64 = 500;
/// Fewest and most bytes that make a program and its packets.
const BYTES: (u64, u64) = (40, 460);

/// What a campaign has done.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Done {
    generated: u64,
    /// By kind: memory, ASH, filter.
    kinds: [Count; 3],
    /// What an oracle saw, and the number of the program.
    violations: Vec<(String, u64)>,
    processor_seconds: f64,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Count {
    generated: u64,
    accepted: u64,
    runs: u64,
    steps: u64,
    slots: u64,
    deep: u64,
}

const KINDS: [(&str, Kind); 3] =
    [("memory", Kind::Memory), ("ASH", Kind::Ash), ("filter", Kind::Filter)];

pub(super) fn run(extent: &Extent) -> Result<(), EvidenceError> {
    let (commit, deadline) = (campaign::commit(), extent.deadline());
    let mut done: Done = campaign::load("fuzz", extent.seed, &commit).unwrap_or_default();
    let mut pages = HostPages::default();
    // A clock that stands still can be compared.
    runtime::clock::set(|| 1_000_000_007);
    let progress = Progress::spinner("generated programs");
    let (mut before, earlier) = (campaign::processor_seconds(), done.generated);
    while extent.goes_on(done.generated, PROGRAMS, deadline) {
        one(&mut done, extent.seed, &mut pages)?;
        if done.generated.is_multiple_of(BATCH) {
            let now = campaign::processor_seconds();
            done.processor_seconds += now - before;
            before = now;
            campaign::save("fuzz", extent.seed, &commit, &done)?;
            progress.now(&summary(&done));
        }
    }
    done.processor_seconds += campaign::processor_seconds() - before;
    campaign::save("fuzz", extent.seed, &commit, &done)?;
    progress.done(&format!("{} now", grouped(done.generated - earlier)));
    let text = report(&done, extent.seed, &commit);
    println!("{text}");
    println!("{}", attacks::write("fuzz.md", &text)?.display());
    match done.violations.len() {
        0 => Ok(()),
        count => Err(EvidenceError::Failed { count, what: "accepted programs" }),
    }
}

fn one(done: &mut Done, seed: u64, pages: &mut HostPages) -> Result<(), EvidenceError> {
    let number = done.generated;
    let mut random = Random::new(seed, number);
    let at = match random.below(8) {
        0 | 1 => 0,
        7 => 2,
        _ => 1,
    };
    let (_, kind) = KINDS[at];
    let length = BYTES.0 + random.below(BYTES.1 - BYTES.0);
    let bytes = random.bytes(length as usize);
    done.generated += 1;
    let count = &mut done.kinds[at];
    count.generated += 1;
    match trial(kind, &bytes, pages) {
        Ok(Trial { accepted, runs, steps, slots, deep }) => {
            count.accepted += u64::from(accepted);
            count.runs += u64::from(runs);
            count.steps += steps;
            count.slots += slots as u64;
            count.deep += deep as u64;
        }
        Err(violation) => {
            eprintln!("program {number}: {violation}");
            done.violations.push((format!("{}: {}", violation.oracle, violation.text), number));
            let directory = build::workspace().join("target/evidence/violations");
            std::fs::create_dir_all(&directory)?;
            std::fs::write(directory.join(format!("{seed}-{number}")), &bytes)?;
        }
    }
    Ok(())
}

fn sum(done: &Done, part: impl Fn(&Count) -> u64) -> u64 {
    done.kinds.iter().map(part).sum()
}

fn summary(done: &Done) -> String {
    let accepted = sum(done, |count| count.accepted);
    let violations = done.violations.len();
    format!("{} ({} accepted, {violations} wrong)", grouped(done.generated), grouped(accepted))
}

fn report(done: &Done, seed: u64, commit: &str) -> String {
    let mut text = String::from("# Generated programs against the oracles\n\n");
    let _ = writeln!(
        text,
        "`cargo run --release -- evidence fuzz --seed {seed} --programs N` at {commit}; {:.1} \
        processor \
         minutes.\n",
        done.processor_seconds / 60.0
    );
    text.push_str(
        "Each accepted program ran on up to four packets in the reference interpreter (every \
        access \
         checked, at most the proven worst case of instructions), with every register held \
         against the proof's \
         states before each instruction, and natively, with result, packet and map contents \
         compared. *Deep* instructions \
         are calls, atomics, backward jumps, and accesses through moved pointers and map \
         values.\n\n",
    );
    text.push_str(
        "| kind | generated | accepted | share | runs | instructions run | deep instructions |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for ((name, _), count) in KINDS.iter().zip(&done.kinds) {
        row(&mut text, name, count);
    }
    let all = Count {
        generated: done.generated,
        accepted: sum(done, |count| count.accepted),
        runs: sum(done, |count| count.runs),
        steps: sum(done, |count| count.steps),
        slots: sum(done, |count| count.slots),
        deep: sum(done, |count| count.deep),
    };
    row(&mut text, "all", &all);
    let _ = writeln!(text, "\nViolations: {}.", done.violations.len());
    for (what, number) in &done.violations {
        let line = what.lines().next().unwrap_or_default();
        let _ = writeln!(text, "- program {number}: {line}");
    }
    text
}

fn row(text: &mut String, name: &str, count: &Count) {
    let Count { generated, accepted, runs, steps, slots, deep } = *count;
    let cells = [generated, accepted].map(grouped).join(" | ");
    let rest = [runs, steps].map(grouped).join(" | ");
    let (share, deep) = (percent(accepted, generated), percent(deep, slots));
    let _ = writeln!(text, "| {name} | {cells} | {share} | {rest} | {deep} |");
}
