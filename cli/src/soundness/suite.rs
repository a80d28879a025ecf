//! Test binaries with one of their changes chosen, in turn, until one of them fails.
//!
//! A run may take so many times the processor time that it takes unchanged; the clock on the wall
//! says nothing on a machine that others use. A change that eats memory ends at a limit.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::schema::CHOICE;
use super::targets::processor;
use crate::evidence::EvidenceError;

/// A run may take so many times the processor time of an unchanged one, and this many seconds.
const PATIENCE: f64 = 4.0;
const LEAST: f64 = 30.0;
/// Address space of a test, in KiB.
const MEMORY: &str = "8388608";
const POLL: Duration = Duration::from_millis(20);

/// The tests of a build, the quickest first.
pub(super) struct Suite {
    folder: PathBuf,
    tests: Vec<Test>,
}

struct Test {
    name: String,
    path: PathBuf,
    /// Processor seconds of the unchanged test.
    takes: f64,
}

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Run {
    /// Nothing was noticed.
    Passed,
    /// A test failed.
    Failed,
    /// It did not end.
    Hung,
}

impl Suite {
    /// Runs everything unchanged.
    ///
    /// # Errors
    /// It does not pass.
    pub(super) fn new(root: &Path, tests: Vec<(String, PathBuf)>) -> Result<Self, EvidenceError> {
        let folder = root.join("verifier");
        let mut suite = Self { folder, tests: Vec::new() };
        for (name, path) in tests {
            let (run, takes) = suite.run(&path, None, f64::INFINITY)?;
            eprintln!("{name}: {takes:.1} s");
            if run != Run::Passed {
                return Err(EvidenceError::Failed { count: 1, what: "unchanged tests" });
            }
            suite.tests.push(Test { name, path, takes });
        }
        suite.tests.sort_by(|a, b| a.takes.total_cmp(&b.takes));
        Ok(suite)
    }

    /// Runs the tests with a change, those named `first` before the others.
    pub(super) fn judge(&self, number: usize, first: &[&str]) -> Result<Run, EvidenceError> {
        let rank = |test: &&Test| first.iter().position(|name| *name == test.name);
        let mut tests: Vec<&Test> = self.tests.iter().collect();
        tests.sort_by_key(|test| rank(test).unwrap_or(first.len()));
        for test in tests {
            let patience = test.takes * PATIENCE + LEAST;
            let (run, _) = self.run(&test.path, Some(number), patience)?;
            if run != Run::Passed {
                return Ok(run);
            }
        }
        Ok(Run::Passed)
    }

    /// One run, and its processor seconds.
    fn run(
        &self,
        test: &Path,
        number: Option<usize>,
        patience: f64,
    ) -> Result<(Run, f64), EvidenceError> {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -v $0; exec \"$1\"", MEMORY]).arg(test);
        command.current_dir(&self.folder).process_group(0);
        number.map(|number| command.env(CHOICE, number.to_string()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let mut spent = 0.0;
        loop {
            if let Some(status) = child.try_wait()? {
                let run = if status.success() { Run::Passed } else { Run::Failed };
                return Ok((run, spent));
            }
            spent = so_far(&child).unwrap_or(spent);
            if spent > patience {
                // The whole group: a solver may run for the test.
                let _ = Command::new("kill").args(["-9", &format!("-{}", child.id())]).status();
                child.wait()?;
                return Ok((Run::Hung, spent));
            }
            std::thread::sleep(POLL);
        }
    }
}

fn so_far(child: &Child) -> Option<f64> {
    processor(&std::fs::read_to_string(format!("/proc/{}/stat", child.id())).ok()?)
}
