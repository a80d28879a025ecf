//! Generated programs against the oracles: no trap, every value in its state, native code the same,
//! `rbpf` the same.
//!
//! The programs are numbered, and judged in parts by processes of their own: native code that goes
//! astray takes one part with it, and is a violation like any other. A campaign has done every
//! program below its count; parts that are ready too early wait.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Mutex;
use std::time::Instant;

use dpf::fuzzing::{Trial, trial};
use ebpf::Kind;
use runtime::native::HostPages;
use serde::{Deserialize, Serialize};

use super::campaign::{self, Extent, Random, grouped, lock};
use super::{fuzz_table, rbpf, targets};
use crate::evidence::EvidenceError;
use crate::progress::Progress;
use crate::{attacks, build};

/// Programs of a call without a limit.
const PROGRAMS: u64 = 20_000;
/// Programs of one process.
const PART: u64 = 5_000;
/// Fewest and most bytes that make a program and its packets.
const BYTES: (u64, u64) = (40, 460);

/// What a campaign has done.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Done {
    pub(super) generated: u64,
    /// By kind, as in [`KINDS`].
    pub(super) kinds: [Count; 3],
    /// Accepted programs that `rbpf` ran as well, and their runs.
    pub(super) rbpf: [u64; 2],
    /// What an oracle saw, and the number of the program.
    pub(super) violations: Vec<(String, u64)>,
    pub(super) processor_seconds: f64,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Count {
    pub(super) generated: u64,
    pub(super) accepted: u64,
    pub(super) runs: u64,
    pub(super) steps: u64,
    pub(super) slots: u64,
    pub(super) deep: u64,
    /// Accesses of accepted programs, and those that are not plain.
    pub(super) accesses: [u64; 2],
}

impl Count {
    pub(super) fn add(&mut self, other: &Count) {
        let Count { generated, accepted, runs, steps, slots, deep, accesses } = *other;
        self.generated += generated;
        self.accepted += accepted;
        self.runs += runs;
        self.steps += steps;
        self.slots += slots;
        self.deep += deep;
        self.accesses.iter_mut().zip(accesses).for_each(|(count, more)| *count += more);
    }
}

impl Done {
    fn add(&mut self, other: Done) {
        self.generated += other.generated;
        self.kinds.iter_mut().zip(&other.kinds).for_each(|(count, more)| count.add(more));
        self.rbpf.iter_mut().zip(other.rbpf).for_each(|(count, more)| *count += more);
        self.violations.extend(other.violations);
        self.processor_seconds += other.processor_seconds;
    }

    /// All kinds together.
    pub(super) fn all(&self) -> Count {
        self.kinds.iter().fold(Count::default(), |mut all, count| {
            all.add(count);
            all
        })
    }

    fn wrong(&mut self, number: u64, text: String) {
        eprintln!("program {number}: {text}");
        self.violations.push((text, number));
    }
}

pub(super) const KINDS: [(&str, Kind); 3] =
    [("memory", Kind::Memory), ("ASH", Kind::Ash), ("filter", Kind::Filter)];

pub(super) fn run(extent: &Extent) -> Result<(), EvidenceError> {
    if let Some(first) = extent.first {
        let part = part(first, extent.programs.unwrap_or(PART), extent.seed)?;
        println!("{}", serde_json::to_string(&part).map_err(std::io::Error::other)?);
        return Ok(());
    }
    let commit = campaign::commit();
    let done: Done = campaign::load("fuzz", extent.seed, &commit).unwrap_or_default();
    let progress = Progress::spinner("generated programs");
    let parts = Parts::new(extent, &commit, done, &progress);
    parts.run()?;
    let done = parts.state.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).done;
    let write = |targets: &targets::Targets| {
        let text = fuzz_table::report(&done, targets, extent.seed, &commit);
        attacks::write("fuzz.md", &text).map(|path| (text, path))
    };
    write(&targets::earlier(extent.seed, &commit))?;
    let targets = targets::run(extent, &commit)?;
    let (text, path) = write(&targets)?;
    println!("{text}\n{}", path.display());
    let theirs: usize = targets.values().map(|target| target.violations.len()).sum();
    match done.violations.len() + theirs {
        0 => Ok(()),
        count => Err(EvidenceError::Failed { count, what: "accepted programs" }),
    }
}

/// A campaign while it runs.
struct Parts<'a> {
    extent: &'a Extent,
    commit: &'a str,
    deadline: Option<Instant>,
    progress: &'a Progress,
    state: Mutex<State>,
}

struct State {
    done: Done,
    /// The first program that nobody has taken.
    next: u64,
    /// Parts before which one is missing, by their first program.
    early: BTreeMap<u64, Done>,
}

impl State {
    /// Counts the parts that follow each other without a gap.
    fn settle(&mut self) {
        while let Some(part) = self.early.remove(&self.done.generated) {
            self.done.add(part);
        }
    }
}

impl<'a> Parts<'a> {
    fn new(extent: &'a Extent, commit: &'a str, done: Done, progress: &'a Progress) -> Self {
        let next = done.generated;
        let state = Mutex::new(State { done, next, early: BTreeMap::new() });
        Self { extent, commit, deadline: extent.deadline(), progress, state }
    }

    fn run(&self) -> Result<(), EvidenceError> {
        campaign::side_by_side(self.extent.jobs, |_| self.work())
    }

    /// Takes parts until there are none.
    fn work(&self) -> Result<(), EvidenceError> {
        while let Some((first, count)) = self.take() {
            let part = self.ask(first, count)?;
            let mut state = lock(&self.state);
            state.early.insert(first, part);
            let at = state.done.generated;
            state.settle();
            if state.done.generated > at {
                campaign::save("fuzz", self.extent.seed, self.commit, &state.done)?;
                self.progress.now(&summary(&state.done));
            }
        }
        Ok(())
    }

    /// The first program of a part, and how many.
    fn take(&self) -> Option<(u64, u64)> {
        let mut state = lock(&self.state);
        let first = state.next;
        if !self.extent.goes_on(first, PROGRAMS, self.deadline) {
            return None;
        }
        let most = self.extent.programs.unwrap_or(u64::MAX).saturating_sub(first);
        state.next += PART.min(most);
        Some((first, PART.min(most)))
    }

    /// A process for a part. One that dies is a violation of all of them.
    fn ask(&self, first: u64, count: u64) -> Result<Done, EvidenceError> {
        let (seed, many) = (self.extent.seed.to_string(), count.to_string());
        let output = Command::new(std::env::current_exe()?)
            .args(["evidence", "fuzz", "--seed", &seed, "--programs", &many])
            .args(["--first", &first.to_string()])
            .stderr(std::process::Stdio::inherit())
            .output()?;
        let said: Option<Done> = serde_json::from_slice(&output.stdout).ok();
        Ok(said.unwrap_or_else(|| {
            let mut part = Done { generated: count, ..Done::default() };
            part.wrong(first, format!("process: {} ({count} programs)", output.status));
            part
        }))
    }
}

fn summary(done: &Done) -> String {
    let (accepted, violations) = (done.all().accepted, done.violations.len());
    format!("{} ({} accepted, {violations} wrong)", grouped(done.generated), grouped(accepted))
}

/// So many programs from the first on, judged in this process.
fn part(first: u64, count: u64, seed: u64) -> Result<Done, EvidenceError> {
    let mut pages = HostPages::default();
    // A clock that stands still can be compared.
    runtime::clock::set(|| 1_000_000_007);
    let mut done = Done::default();
    for number in first..first.saturating_add(count) {
        one(&mut done, number, seed, &mut pages)?;
    }
    done.processor_seconds = campaign::processor_seconds();
    Ok(done)
}

fn one(
    done: &mut Done,
    number: u64,
    seed: u64,
    pages: &mut HostPages,
) -> Result<(), EvidenceError> {
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
    let text = match trial(kind, &bytes, pages) {
        Ok(Trial { accepted, runs, steps, slots, deep, accesses }) => {
            count.accepted += u64::from(accepted);
            count.runs += u64::from(runs);
            count.steps += steps;
            count.slots += slots as u64;
            count.deep += deep as u64;
            let pairs = count.accesses.iter_mut().zip(accesses);
            pairs.for_each(|(count, more)| *count += more as u64);
            match rbpf::trial(&bytes, pages).filter(|_| kind == Kind::Memory) {
                None => None,
                Some(Ok(runs)) => {
                    done.rbpf[0] += 1;
                    done.rbpf[1] += runs;
                    None
                }
                Some(Err(text)) => Some(format!("rbpf: {text}")),
            }
        }
        Err(violation) => Some(violation.to_string()),
    };
    if let Some(text) = text {
        done.wrong(number, text);
        let directory = build::workspace().join("target/evidence/violations");
        std::fs::create_dir_all(&directory)?;
        std::fs::write(directory.join(format!("{seed}-{number}")), &bytes)?;
    }
    Ok(())
}
