//! The libFuzzer targets of `fuzz/`, each for as many processor minutes as are asked for.
//!
//! A target runs in rounds, as its own process under `cargo +nightly fuzz run`, with the corpus
//! that earlier rounds left and what lies in the tree for it; a campaign goes on with the round
//! that was missing. A round that does not end well is a violation, with libFuzzer's last words.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use rustix::process::{Pid, WaitId, WaitIdOptions};
use serde::{Deserialize, Serialize};

use super::campaign::{self, Extent, lock};
use crate::build::{self, BuildError};
use crate::evidence::EvidenceError;
use crate::progress::Progress;

/// Seconds of a round at most.
const ROUND: f64 = 120.0;
/// Ticks of `/proc/PID/stat` in a second: the kernel's `USER_HZ` on x86-64.
const TICKS: f64 = 100.0;
/// Inputs that lie in the tree, beside `fuzz/seeds/TARGET`.
const SEEDS: [(&str, &str); 4] = [
    ("assemble", "testdata/ebpf"),
    ("assemble", "testdata/verifier/bugs"),
    ("expression", "testdata/flow"),
    ("object", "testdata/objects"),
];

/// What came of all targets, by name.
pub(super) type Targets = BTreeMap<String, Target>;

/// What came of one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Target {
    pub(super) inputs: u64,
    pub(super) processor_seconds: f64,
    /// libFuzzer's word for each round that went wrong.
    pub(super) violations: Vec<String>,
}

/// What earlier calls did at this commit.
pub(super) fn earlier(seed: u64, commit: &str) -> Targets {
    campaign::load("targets", seed, commit).unwrap_or_default()
}

/// Runs the targets until each has had `extent.each` minutes, those of earlier calls included.
pub(super) fn run(extent: &Extent, commit: &str) -> Result<Targets, EvidenceError> {
    let Some(minutes) = extent.each else { return Ok(earlier(extent.seed, commit)) };
    build_all()?;
    let deadline = extent.deadline();
    let done = Mutex::new(earlier(extent.seed, commit));
    // A target has one process at a time: whoever takes it keeps it.
    let left = Mutex::new(names()?);
    let progress = Progress::spinner("libFuzzer targets");
    campaign::side_by_side(extent.jobs, |_| {
        while let Some(name) = take(&left) {
            progress.now(&name);
            loop {
                let spent = lock(&done).get(&name).map_or(0.0, |target| target.processor_seconds);
                let seconds = (minutes * 60.0 - spent).min(ROUND);
                let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
                if seconds < 1.0 || late {
                    break;
                }
                let round = round(&name, seconds.ceil() as u64)?;
                let mut all = lock(&done);
                let wrong = !round.violations.is_empty();
                all.entry(name.clone()).or_default().add(round);
                campaign::save("targets", extent.seed, commit, &*all)?;
                // The same input would end the next round as well.
                if wrong {
                    break;
                }
            }
        }
        Ok(())
    })?;
    progress.done("done");
    Ok(done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

impl Target {
    fn add(&mut self, round: Target) {
        self.inputs += round.inputs;
        self.processor_seconds += round.processor_seconds;
        self.violations.extend(round.violations);
    }
}

fn take(left: &Mutex<Vec<String>>) -> Option<String> {
    lock(left).pop()
}

/// The targets, the last in the alphabet first.
fn names() -> Result<Vec<String>, EvidenceError> {
    let mut names = Vec::new();
    for file in std::fs::read_dir(build::workspace().join("fuzz/fuzz_targets"))? {
        let path = file?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// `cargo +nightly fuzz`, whatever toolchain this process was started by.
fn cargo_fuzz(verb: &str) -> Command {
    let mut command = Command::new("cargo");
    command.args(["+nightly", "fuzz", verb]).current_dir(build::workspace());
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").stdin(Stdio::null());
    command
}

fn build_all() -> Result<(), EvidenceError> {
    match cargo_fuzz("build").status()?.success() {
        true => Ok(()),
        false => Err(EvidenceError::Build(BuildError::Missing {
            what: "cargo-fuzz, or what it needs,".to_owned(),
            command: "rustup toolchain install nightly && cargo install --locked cargo-fuzz"
                .to_owned(),
            detail: String::new(),
        })),
    }
}

/// So many seconds of a target.
fn round(name: &str, seconds: u64) -> Result<Target, EvidenceError> {
    let root = build::workspace();
    let corpus = root.join("fuzz/corpus").join(name);
    std::fs::create_dir_all(&corpus)?;
    let given = SEEDS.iter().filter(|(target, _)| *target == name).map(|(_, path)| root.join(path));
    let seeds = given.chain([root.join("fuzz/seeds").join(name)]).filter(|path| path.is_dir());
    let log = log(name)?;
    let mut child = cargo_fuzz("run")
        .arg(name)
        .arg(&corpus)
        .args(seeds)
        .args(["--", &format!("-max_total_time={seconds}")])
        .stdout(Stdio::null())
        .stderr(File::create(&log)?)
        .spawn()?;
    let processor_seconds = ended(&child).unwrap_or(0.0);
    let well = child.wait()?.success();
    let text = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
    let mut violations = Vec::new();
    if !well {
        violations.push(last_words(&text).to_owned());
    }
    Ok(Target { inputs: inputs(&text), processor_seconds, violations })
}

fn log(name: &str) -> Result<PathBuf, EvidenceError> {
    let directory = build::workspace().join("target/evidence");
    std::fs::create_dir_all(&directory)?;
    Ok(directory.join(format!("target-{name}.log")))
}

/// Waits for a process: what it and its children had of the processor, in seconds.
fn ended(child: &Child) -> Option<f64> {
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw)?;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    rustix::process::waitid(WaitId::Pid(id), options).ok()?;
    processor(&std::fs::read_to_string(format!("/proc/{}/stat", child.id())).ok()?)
}

/// Fields 14 to 17 of proc(5)'s `stat`: user and system time, own and of children waited for. The
/// second field is a name that may hold anything.
pub(super) fn processor(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let ticks = rest.split_whitespace().skip(11).take(4).map(str::parse::<f64>);
    Some(ticks.collect::<Result<Vec<_>, _>>().ok()?.iter().sum::<f64>() / TICKS)
}

/// How many inputs ran, by libFuzzer's own count.
fn inputs(text: &str) -> u64 {
    let done = text.lines().rev().find_map(|line| line.strip_prefix("Done "));
    let words = done.or_else(|| text.lines().rev().find_map(|line| line.strip_prefix('#')));
    let number = words.and_then(|words| words.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// What a target panicked with, or libFuzzer's summary.
fn last_words(text: &str) -> &str {
    let after = |mark| text.split_once(mark).and_then(|(_, rest)| rest.lines().nth(1));
    let summary =
        || text.lines().find(|line| line.starts_with("SUMMARY") || line.contains("ERROR"));
    after("panicked at").or_else(summary).unwrap_or("it did not end well")
}

#[cfg(test)]
mod tests {
    use super::{inputs, last_words, names, processor};

    #[test]
    fn what_a_round_left_is_read() {
        let stat = "77 (a ) b) Z 1 77 77 0 -1 4 1 2 3 4 150 50 700 100 20 0 1 0";
        assert_eq!(processor(stat), Some(10.0));
        assert_eq!(inputs("#5 NEW\nDone 41873 runs in 21 second(s)\n"), 41_873);
        assert_eq!(inputs("#17\tpulse cov: 3\nthread panicked"), 17);
        assert_eq!(inputs(""), 0);
        let text = "x\nthread '<unnamed>' panicked at src/a.rs:1:2:\nstate: r3 is wrong\nmore";
        assert_eq!(last_words(text), "state: r3 is wrong");
        assert_eq!(
            last_words("==1== ERROR: libFuzzer: out-of-memory"),
            "==1== ERROR: libFuzzer: out-of-memory"
        );
        assert_eq!(last_words(""), "it did not end well");
    }

    #[test]
    fn the_targets_are_the_files() {
        let names = names().unwrap();
        assert!(names.iter().any(|name| name == "sound") && names.len() > 15, "{names:?}");
    }
}
