//! Changed verifiers: does anything notice?
//!
//! `cargo mutants` lists the changes; a seed chooses some; each is made in a copy of the tree,
//! where the verifier's tests (fuzz bodies included, a second each) run. A change that they let
//! pass is a survivor, and stands in the table until a test or a reason deals with it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::campaign::{self, Extent, Random, lock, percent, side_by_side};
use crate::attacks;
use crate::build::{self, BuildError};
use crate::evidence::EvidenceError;

/// Mutants of a call without a limit.
const MUTANTS: u64 = 300;
/// A test run may take so many times as long as that of the unchanged tree, and a little more.
const PATIENCE: u32 = 4;
const LEAST: Duration = Duration::from_secs(60);
/// The test that notices most, then those nearest to what is changed, then all of them.
const LEDGER: [&str; 2] = ["--test", "ledger"];
const SAFETY: [&str; 6] = ["--test", "bugs", "--test", "safety", "--test", "loops"];
const CLAIM: [&str; 4] = ["--test", "claims", "--test", "disjoint"];
const OWNERS: [&str; 6] = ["--test", "registry", "--test", "attacks", "--test", "index"];
const ALL: [&str; 2] = ["--lib", "--tests"];
/// Sources whose changes say nothing: what only tests and messages use.
const LEFT_OUT: [&str; 4] =
    ["verifier/src/fuzzing/", "verifier/src/refusal/", "safety/audit.rs", "safety/domains.rs"];

/// One change.
#[derive(Clone, Debug, Deserialize)]
struct Mutant {
    name: String,
    file: String,
    diff: String,
}

/// What came of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Outcome {
    /// A test failed.
    Caught,
    /// The tests did not come to an end.
    Hung,
    /// It does not compile: no mutant at all.
    Unviable,
    /// Nothing noticed.
    Survived,
}

/// What a campaign has done.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Done {
    listed: u64,
    outcomes: Vec<(String, Outcome)>,
}

pub(super) fn run(extent: &Extent) -> Result<(), EvidenceError> {
    let commit = campaign::commit();
    let done: Done = campaign::load("mutants", extent.seed, &commit).unwrap_or_default();
    let trees = (0..extent.jobs.max(1)).map(Tree::copy).collect::<Result<Vec<_>, _>>()?;
    let mutants = chosen(list(&build::workspace())?, extent.seed);
    let judges = Judges {
        extent,
        commit: &commit,
        deadline: extent.deadline(),
        earlier: done.outcomes.len(),
        left: mutants.iter().filter(|mutant| !done.knows(mutant)).collect(),
        state: Mutex::new((0, Done { listed: mutants.len() as u64, ..done })),
    };
    side_by_side(trees.len(), |job| trees.get(job).map_or(Ok(()), |tree| judges.work(tree)))?;
    let text = report(&lock(&judges.state).1, extent.seed, &commit);
    println!("{text}");
    println!("{}", attacks::write("mutants.md", &text)?.display());
    Ok(())
}

impl Done {
    fn knows(&self, mutant: &Mutant) -> bool {
        self.outcomes.iter().any(|(name, _)| *name == mutant.name)
    }
}

/// A campaign while it runs.
struct Judges<'a> {
    extent: &'a Extent,
    commit: &'a str,
    deadline: Option<Instant>,
    /// Mutants of earlier calls.
    earlier: usize,
    left: Vec<&'a Mutant>,
    /// How many of `left` are taken, and what came of all.
    state: Mutex<(usize, Done)>,
}

impl Judges<'_> {
    /// Judges mutants until there are none.
    fn work(&self, tree: &Tree) -> Result<(), EvidenceError> {
        let patience = tree.unchanged()? * PATIENCE + LEAST;
        while let Some(mutant) = self.take() {
            let outcome = tree.judge(mutant, patience)?;
            eprintln!("{outcome:?}: {}", mutant.name);
            let mut state = lock(&self.state);
            state.1.outcomes.push((mutant.name.clone(), outcome));
            campaign::save("mutants", self.extent.seed, self.commit, &state.1)?;
        }
        Ok(())
    }

    fn take(&self) -> Option<&Mutant> {
        let (taken, _) = &mut *lock(&self.state);
        if !self.extent.goes_on((self.earlier + *taken) as u64, MUTANTS, self.deadline) {
            return None;
        }
        let mutant = self.left.get(*taken)?;
        *taken += 1;
        Some(mutant)
    }
}

/// All changes that `cargo mutants` can make to the verifier.
fn list(root: &Path) -> Result<Vec<Mutant>, EvidenceError> {
    let output = Command::new("cargo")
        .args(["mutants", "--list", "--json", "--diff", "-p", "sluice-verifier"])
        .current_dir(root)
        .stderr(Stdio::null())
        .output()?;
    if !output.status.success() {
        return Err(EvidenceError::Build(BuildError::Missing {
            what: "cargo-mutants".to_owned(),
            command: "cargo install --locked cargo-mutants".to_owned(),
            detail: String::new(),
        }));
    }
    let all: Vec<Mutant> = serde_json::from_slice(&output.stdout).map_err(std::io::Error::other)?;
    let counts = |mutant: &Mutant| !LEFT_OUT.iter().any(|part| mutant.file.contains(part));
    Ok(all.into_iter().filter(counts).collect())
}

/// The changes in an order that the seed chooses.
fn chosen(mut mutants: Vec<Mutant>, seed: u64) -> Vec<Mutant> {
    let mut random = Random::new(seed, 0x3074);
    for at in (1..mutants.len()).rev() {
        mutants.swap(at, random.below(at as u64 + 1) as usize);
    }
    mutants
}

/// A copy of the tree to change.
struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Copies what git knows of, as it is now, for one of several judges.
    fn copy(job: usize) -> Result<Tree, EvidenceError> {
        let from = build::workspace();
        let root = from.join(format!("target/evidence/tree-{job}").trim_end_matches("-0"));
        let output = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .current_dir(&from)
            .output()?;
        for file in String::from_utf8_lossy(&output.stdout).lines() {
            let (old, new) = (from.join(file), root.join(file));
            let Ok(bytes) = std::fs::read(&old) else { continue };
            // What has not changed keeps its time, so that it is not built again.
            if std::fs::read(&new).is_ok_and(|there| there == bytes) {
                continue;
            }
            if let Some(directory) = new.parent() {
                std::fs::create_dir_all(directory)?;
            }
            std::fs::write(new, bytes)?;
        }
        Ok(Tree { root })
    }

    /// How long the tests of the unchanged tree take.
    fn unchanged(&self) -> Result<Duration, EvidenceError> {
        self.test(None, &ALL, &["--no-run"])?;
        let start = Instant::now();
        match self.test(None, &ALL, &[])? {
            Some(true) => Ok(start.elapsed()),
            _ => Err(EvidenceError::Failed { count: 1, what: "unchanged trees' tests" }),
        }
    }

    /// Runs the verifier's tests: whether they pass, or `None` after too long.
    fn test(
        &self,
        patience: Option<Duration>,
        which: &[&str],
        more: &[&str],
    ) -> Result<Option<bool>, EvidenceError> {
        let mut child = Command::new("cargo")
            .args(["test", "--quiet", "-p", "sluice-verifier"])
            .args(which)
            .args(more)
            .env("CARGO_TARGET_DIR", self.root.join("target"))
            .env("CARGO_PROFILE_TEST_DEBUG", "0")
            .current_dir(&self.root)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let start = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(status.success()));
            }
            if patience.is_some_and(|patience| start.elapsed() > patience) {
                end(&mut child);
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn judge(&self, mutant: &Mutant, patience: Duration) -> Result<Outcome, EvidenceError> {
        let path = self.root.join(&mutant.file);
        let original = std::fs::read_to_string(&path)?;
        let Some(changed) = changed(&original, &mutant.diff) else {
            return Ok(Outcome::Unviable);
        };
        std::fs::write(&path, changed)?;
        let outcome = self.noticed(&mutant.file, patience);
        std::fs::write(&path, original)?;
        outcome
    }

    /// The tests that are quick first.
    fn noticed(&self, file: &str, patience: Duration) -> Result<Outcome, EvidenceError> {
        for which in [&LEDGER[..], few(file), &ALL[..]] {
            if self.test(None, which, &["--no-run"])? != Some(true) {
                return Ok(Outcome::Unviable);
            }
            match self.test(Some(patience), which, &[])? {
                Some(true) => {}
                Some(false) => return Ok(Outcome::Caught),
                None => return Ok(Outcome::Hung),
            }
        }
        Ok(Outcome::Survived)
    }
}

/// The tests that are asked first about a file.
fn few(file: &str) -> &'static [&'static str] {
    match file {
        _ if file.contains("/claim/") => &CLAIM,
        _ if file.contains("/safety/") => &SAFETY,
        _ => &OWNERS,
    }
}

/// Ends cargo and the test that it runs.
fn end(child: &mut std::process::Child) {
    let tests = format!("/proc/{0}/task/{0}/children", child.id());
    for id in std::fs::read_to_string(tests).unwrap_or_default().split_whitespace() {
        let _ = Command::new("kill").args(["-9", id]).status();
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// A text with a unified diff of one hunk applied.
fn changed(original: &str, diff: &str) -> Option<String> {
    let (_, hunk) = diff.split_once("\n@@ -")?;
    let (header, body) = hunk.split_once('\n')?;
    let start: usize = header.split([',', ' ']).next()?.parse().ok()?;
    let mut lines = original.lines();
    let mut out: Vec<&str> = lines.by_ref().take(start.checked_sub(1)?).collect();
    for line in body.lines() {
        let (mark, rest) = line.split_at_checked(1).unwrap_or((" ", ""));
        match mark {
            "+" => out.push(rest),
            "-" => {
                (lines.next()? == rest).then_some(())?;
            }
            _ => {
                let kept = lines.next()?;
                (kept == rest).then_some(())?;
                out.push(kept);
            }
        }
    }
    out.extend(lines);
    Some(out.join("\n") + "\n")
}

fn report(done: &Done, seed: u64, commit: &str) -> String {
    let count = |wanted| done.outcomes.iter().filter(|(_, it)| *it == wanted).count() as u64;
    let caught = count(Outcome::Caught) + count(Outcome::Hung);
    let viable = caught + count(Outcome::Survived);
    let mut text = String::from("# Mutants of the verifier\n\n");
    let _ = writeln!(
        text,
        "`cargo run --release -- evidence mutants --seed {seed} --programs {}` at {commit}: a \
        sample of \
         the {} changes that `cargo mutants` lists for `verifier/src` (without `fuzzing`, \
         `refusal`, and what only \
         tests use), each built and held against the verifier's tests, fuzz bodies and domain \
         checks \
         included.\n",
        done.outcomes.len(),
        done.listed
    );
    text.push_str(
        "| tried | caught by a test | hung | not viable | survived | caught of viable |\n",
    );
    text.push_str("|---|---|---|---|---|---|\n");
    let _ = writeln!(
        text,
        "| {} | {} | {} | {} | {} | {} |",
        done.outcomes.len(),
        count(Outcome::Caught),
        count(Outcome::Hung),
        count(Outcome::Unviable),
        count(Outcome::Survived),
        percent(caught, viable)
    );
    if count(Outcome::Survived) > 0 {
        text.push_str("\nSurvivors:\n\n");
    }
    for (name, _) in done.outcomes.iter().filter(|(_, it)| *it == Outcome::Survived) {
        let _ = writeln!(text, "- `{name}`");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::changed;

    #[test]
    fn a_diff_is_applied_where_it_belongs_or_not_at_all() {
        let original = "a\nb\nc\nd\n";
        let diff = "--- f\n+++ replace\n@@ -2,2 +2,2 @@\n b\n-c\n+x\n";
        assert_eq!(changed(original, diff).as_deref(), Some("a\nb\nx\nd\n"));
        assert_eq!(changed("a\nq\nc\nd\n", diff), None);
        assert_eq!(changed(original, "no diff"), None);
    }
}
