//! Changed verifiers: does anything notice?
//!
//! `cargo mutants` lists the changes; a seed chooses some; the verifier's tests (fuzz bodies
//! included, a second each) run with each of them. Most are built at once ([`super::schema`]); the
//! rest are made one after the other in a copy of the tree. A change that the tests let pass is a
//! survivor and stands in the table, with a reason where `testdata/verifier/survivors.txt` has one.
//!
//! What was judged counts for the sources that were changed, by the commit that made them. When
//! the tests have changed since, the survivors are judged again, and only they.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::campaign::{self, Extent, Random, lock, percent, side_by_side};
use super::schema::Schema;
use super::suite::{Run, Suite};
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

/// Why survivors are no holes, by name.
const REASONS: &str = "testdata/verifier/survivors.txt";

/// One change.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Mutant {
    name: String,
    pub(super) file: String,
    pub(super) diff: String,
    function: Option<Function>,
}

#[derive(Clone, Debug, Deserialize)]
struct Function {
    span: Span,
}

#[derive(Clone, Debug, Deserialize)]
struct Span {
    start: Place,
    end: Place,
}

#[derive(Clone, Debug, Deserialize)]
struct Place {
    line: usize,
}

impl Mutant {
    /// First and last line of its function, from 0.
    pub(super) fn lines(&self) -> Option<(usize, usize)> {
        let Span { start, end } = &self.function.as_ref()?.span;
        Some((start.line.checked_sub(1)?, end.line.checked_sub(1)?))
    }
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
    /// The commits of the tests that judged, the last one last, and survivors of the ones before.
    tests: Vec<String>,
    again: Vec<u64>,
}

impl Done {
    /// With other tests than before nothing is known of what survived those.
    fn judged_by(mut self, tests: String) -> Self {
        if self.tests.last().is_some_and(|last| *last != tests) {
            let all = self.outcomes.len();
            self.outcomes.retain(|(_, outcome)| *outcome != Outcome::Survived);
            self.again.push((all - self.outcomes.len()) as u64);
        }
        if self.tests.last() != Some(&tests) {
            self.tests.push(tests);
        }
        self
    }
}

pub(super) fn run(extent: &Extent) -> Result<(), EvidenceError> {
    let commit = campaign::last("verifier/src");
    let done: Done = campaign::load("mutants", extent.seed, &commit).unwrap_or_default();
    let done = done.judged_by(campaign::last("verifier/tests"));
    let mut mutants = chosen(list(&build::workspace())?, extent.seed);
    let listed = mutants.len() as u64;
    mutants.truncate(extent.programs.unwrap_or(MUTANTS) as usize);
    let judges = Judges {
        extent,
        commit: &commit,
        deadline: extent.deadline(),
        mutants: &mutants,
        done: Mutex::new(Done { listed, ..done }),
    };
    judges.all()?;
    let text = report(&lock(&judges.done), extent.seed, &commit)?;
    println!("{text}");
    println!("{}", attacks::write("mutants.md", &text)?.display());
    Ok(())
}

/// A campaign while it runs.
struct Judges<'a> {
    extent: &'a Extent,
    commit: &'a str,
    deadline: Option<Instant>,
    mutants: &'a [Mutant],
    done: Mutex<Done>,
}

impl Judges<'_> {
    fn all(&self) -> Result<(), EvidenceError> {
        let every = 0..self.mutants.len();
        if every.clone().all(|number| self.knows(number)) {
            return Ok(());
        }
        let tree = Tree::copy("schema", &["verifier/src/"])?;
        let schema = Schema::build(&tree.root, self.mutants)?;
        let alone: Vec<usize> = schema.alone.iter().copied().collect();
        let unviable: Vec<usize> = schema.unviable.iter().copied().collect();
        self.work(&unviable, |_| Ok(()), |(), _| Ok(Outcome::Unviable))?;
        let apart = |number: &usize| !alone.contains(number) && !unviable.contains(number);
        let together: Vec<usize> = every.filter(apart).collect();
        let suite = Suite::new(&tree.root, schema.tests)?;
        self.work(
            &together,
            |_| Ok(()),
            |(), number| {
                let file = self.mutants[number].file.as_str();
                let first =
                    LEDGER.iter().chain(few(file)).copied().filter(|word| *word != "--test");
                Ok(match suite.judge(number, &first.collect::<Vec<_>>())? {
                    Run::Passed => Outcome::Survived,
                    Run::Failed => Outcome::Caught,
                    Run::Hung => Outcome::Hung,
                })
            },
        )?;
        let tree = |job: usize| {
            let tree = Tree::copy(&job.to_string(), &[])?;
            tree.unchanged().map(|time| (tree, time * PATIENCE + LEAST))
        };
        self.work(&alone, tree, |(tree, patience), number| {
            tree.judge(&self.mutants[number], *patience)
        })
    }

    fn knows(&self, number: usize) -> bool {
        let done = lock(&self.done);
        done.outcomes.iter().any(|(name, _)| *name == self.mutants[number].name)
    }

    /// Judges those of these that nobody has judged, several at once; what each judge needs is made
    /// when there is something for it to do.
    fn work<T>(
        &self,
        numbers: &[usize],
        make: impl Fn(usize) -> Result<T, EvidenceError> + Sync,
        judge: impl Fn(&T, usize) -> Result<Outcome, EvidenceError> + Sync,
    ) -> Result<(), EvidenceError> {
        let left: Vec<_> = numbers.iter().copied().filter(|&number| !self.knows(number)).collect();
        let left = Mutex::new(left.into_iter());
        side_by_side(self.extent.jobs, |job| {
            let mut with = None;
            while self.deadline.is_none_or(|deadline| Instant::now() < deadline) {
                let Some(number) = lock(&left).next() else { break };
                let with = match &mut with {
                    Some(with) => with,
                    none => none.insert(make(job)?),
                };
                let (outcome, name) = (judge(with, number)?, &self.mutants[number].name);
                eprintln!("{outcome:?}: {name}");
                let mut done = lock(&self.done);
                done.outcomes.push((name.clone(), outcome));
                campaign::save("mutants", self.extent.seed, self.commit, &*done)?;
            }
            Ok(())
        })
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
    /// Copies what git knows of, as it is now; of these folders only files that are not there.
    fn copy(name: &str, kept: &[&str]) -> Result<Tree, EvidenceError> {
        let from = build::workspace();
        let root = from.join(format!("target/evidence/tree-{name}"));
        let output = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .current_dir(&from)
            .output()?;
        for file in String::from_utf8_lossy(&output.stdout).lines() {
            let (old, new) = (from.join(file), root.join(file));
            let Ok(bytes) = std::fs::read(&old) else { continue };
            if new.exists() && kept.iter().any(|folder| file.starts_with(folder)) {
                continue;
            }
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
pub(super) fn changed(original: &str, diff: &str) -> Option<String> {
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

fn report(done: &Done, seed: u64, commit: &str) -> Result<String, EvidenceError> {
    let count = |wanted| done.outcomes.iter().filter(|(_, it)| *it == wanted).count() as u64;
    let caught = count(Outcome::Caught) + count(Outcome::Hung);
    let viable = caught + count(Outcome::Survived);
    let mut text = String::from("# Mutants of the verifier\n\n");
    let _ = writeln!(
        text,
        "`cargo run --release -- evidence mutants --seed {seed} --programs {}`: a sample of the {} \
         changes that `cargo mutants` lists for `verifier/src` at {commit} (without `fuzzing`, \
         `refusal`, and what only tests use), each held against the verifier's tests at {}, fuzz \
         bodies and domain checks included. *Hung*: the tests took more than four times their \
         processor time and half a minute. *Not viable*: it does not compile. A survivor counts \
         as one whatever reason is given.\n",
        done.outcomes.len(),
        done.listed,
        done.tests.last().map_or("no commit", String::as_str)
    );
    for (tests, many) in done.tests.iter().zip(&done.again) {
        let _ = writeln!(text, "The tests at {tests} let {many} pass; those were judged again.\n");
    }
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
    let reasons = std::fs::read_to_string(build::workspace().join(REASONS))?;
    let reason =
        |name: &str| reasons.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" | "));
    let survivors = || done.outcomes.iter().filter(|(_, it)| *it == Outcome::Survived);
    let same = survivors()
        .filter(|(name, _)| reason(name).is_some_and(|reason| reason.starts_with("equivalent")));
    let same = same.count() as u64;
    if viable > caught {
        let _ = writeln!(
            text,
            "\n{same} of the survivors are equivalent: no program tells them apart. Of the others \
             {} are caught.\n\nSurvivors, and why:\n",
            percent(caught, viable - same)
        );
    }
    for (name, _) in survivors() {
        let _ = writeln!(text, "- `{name}`: {}", reason(name).unwrap_or("not looked into"));
    }
    Ok(text)
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
