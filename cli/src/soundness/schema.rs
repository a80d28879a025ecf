//! All changes in one build: a copy of the tree in which the environment chooses one.
//!
//! Each changed function becomes a choice between its bodies (Untch, Offutt, Harrold: *Mutation
//! analysis using mutant schemata*, ISSTA 1993), so that judging a change takes a run of the tests
//! and no build. Functions stop being `const` for it, but for those that constants need. A body
//! that the compiler refuses is no mutant. What does not work like this (constants, functions in
//! functions, bodies of an `impl Trait` of their own) is named, and is built alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::mutants::{Mutant, changed};
use crate::build;
use crate::evidence::EvidenceError;

/// Names the change that a test binary makes.
pub(super) const CHOICE: &str = "SLUICE_MUTANT";
/// Builds that may fail because of some bodies before all are given up.
const ROUNDS: usize = 16;
/// What is added to the crate.
const CHOOSER: &str = r#"
extern crate std;

/// Whether this is the chosen change.
#[doc(hidden)]
pub fn mutant(number: usize) -> bool {
    static CHOSEN: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    let read = || std::env::var("SLUICE_MUTANT").ok().and_then(|text| text.parse().ok());
    *CHOSEN.get_or_init(|| read().unwrap_or(usize::MAX)) == number
}
"#;

/// The build.
pub(super) struct Schema {
    /// Test binaries, by the name of their target.
    pub(super) tests: Vec<(String, PathBuf)>,
    /// Changes that it does not have, by position.
    pub(super) alone: BTreeSet<usize>,
    /// Changes that do not compile.
    pub(super) unviable: BTreeSet<usize>,
}

/// What is left out of a build, and what stays `const`.
#[derive(Default)]
struct Without {
    alone: BTreeSet<usize>,
    unviable: BTreeSet<usize>,
    consts: BTreeSet<String>,
}

/// A file's text with all bodies: which lines are whose.
struct Woven {
    text: String,
    bodies: Vec<(std::ops::RangeInclusive<usize>, usize)>,
}

impl Schema {
    /// Weaves all changes into the tree at `root` and builds its tests.
    pub(super) fn build(root: &Path, mutants: &[Mutant]) -> Result<Schema, EvidenceError> {
        // The copy's own are woven already, if an earlier call was here.
        let originals = sources(&build::workspace())?;
        let mut without = Without::default();
        for _ in 0..ROUNDS {
            let woven = weave_all(&originals, mutants, &mut without);
            for (file, woven) in &woven {
                write_changed(&root.join(file), &woven.text)?;
            }
            let (errors, tests) = compile(root)?;
            if errors.is_empty() && !tests.is_empty() {
                let Without { alone, unviable, .. } = without;
                return Ok(Schema { tests, alone, unviable });
            }
            let before = without.count();
            errors.iter().for_each(|error| without.learn(error, &woven));
            let after = without.count();
            let [alone, unviable, consts] = after;
            eprintln!(
                "{} errors: {unviable} changes do not compile, {alone} are built alone, {consts} \
                 functions stay const",
                errors.len()
            );
            if before == after {
                break;
            }
        }
        Err(EvidenceError::Failed { count: mutants.len(), what: "changes in one build" })
    }
}

impl Without {
    fn count(&self) -> [usize; 3] {
        [self.alone.len(), self.unviable.len(), self.consts.len()]
    }

    /// Blames an error on a body, or on a function that must stay const.
    fn learn(&mut self, error: &Message, woven: &BTreeMap<String, Woven>) {
        let mut blamed = BTreeSet::new();
        for span in error.spans.iter().filter(|span| span.is_primary) {
            let file = woven.get(&span.file_name);
            let bodies = file.into_iter().flat_map(|file| &file.bodies);
            let hit = bodies.filter(|(lines, _)| lines.contains(&span.line_start));
            blamed.extend(hit.map(|(_, number)| *number));
        }
        if error.message.contains("cannot call non-const") {
            let name = error.message.split('`').nth(1).unwrap_or_default();
            let last = name.rsplit("::").find(|part| !part.starts_with('<'));
            self.consts.extend(last.map(str::to_owned));
        } else {
            self.unviable.extend(blamed);
        }
    }
}

/// The crate's sources, by their path in the tree.
fn sources(root: &Path) -> Result<BTreeMap<String, String>, EvidenceError> {
    let mut files = BTreeMap::new();
    let mut folders = vec!["verifier/src".to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if path.ends_with(".rs") {
                files.insert(path, std::fs::read_to_string(entry.path())?);
            }
        }
    }
    Ok(files)
}

fn weave_all(
    originals: &BTreeMap<String, String>,
    mutants: &[Mutant],
    without: &mut Without,
) -> BTreeMap<String, Woven> {
    let mut all = BTreeMap::new();
    for (file, original) in originals {
        let theirs = mutants.iter().enumerate().filter(|(_, mutant)| mutant.file == *file);
        let mut woven = weave(original, theirs.collect(), without);
        woven.text = without_const(&woven.text, &without.consts);
        if file == "verifier/src/lib.rs" {
            woven.text += CHOOSER;
        }
        all.insert(file.clone(), woven);
    }
    all
}

/// A file with all bodies of its changed functions.
fn weave(original: &str, theirs: Vec<(usize, &Mutant)>, without: &mut Without) -> Woven {
    let lines: Vec<&str> = original.lines().collect();
    let mut functions: BTreeMap<(usize, usize), Vec<(usize, &Mutant)>> = BTreeMap::new();
    for (number, mutant) in theirs {
        if without.unviable.contains(&number) {
            continue;
        }
        match mutant.lines() {
            Some(at) if !without.alone.contains(&number) => {
                functions.entry(at).or_default().push((number, mutant));
            }
            _ => {
                without.alone.insert(number);
            }
        }
    }
    let mut woven = Woven { text: String::new(), bodies: Vec::new() };
    let mut next = 0;
    for ((start, end), mutants) in functions {
        let text = lines[start..=end].join("\n");
        let stays = |name: &String| text.contains(&format!("const fn {name}"));
        let fits = start >= next && !text.contains("-> impl ");
        let (Some(open), false) =
            (body(&lines, start, end), without.consts.iter().any(stays) || !fits)
        else {
            without.alone.extend(mutants.iter().map(|(number, _)| *number));
            continue;
        };
        woven.lines(&lines[next..open.0]);
        woven.text += &lines[open.0][..=open.1];
        for (number, mutant) in mutants {
            let text = changed(original, &mutant.diff);
            let text = text.as_deref().map(|text| text.lines().collect::<Vec<_>>());
            let Some(theirs) = text else { continue };
            let last = end + theirs.len() - lines.len();
            let first = woven.text.lines().count();
            woven.text += &format!(" if crate::mutant({number}) ");
            woven.text += &block(&theirs[open.0..=last], open.1);
            woven.bodies.push((first..=woven.text.lines().count(), number));
            woven.text += " else";
        }
        woven.text += " ";
        woven.text += &block(&lines[open.0..=end], open.1);
        woven.text += " }\n";
        next = end + 1;
    }
    woven.lines(&lines[next.min(lines.len())..]);
    woven
}

impl Woven {
    fn lines(&mut self, lines: &[&str]) {
        for line in lines {
            self.text += line;
            self.text.push('\n');
        }
    }
}

/// From an opening brace to the last closing one.
fn block(lines: &[&str], column: usize) -> String {
    let text = lines.join("\n");
    let text = text.get(column..).unwrap_or_default();
    text.rfind('}').map_or_else(String::new, |end| text[..=end].to_owned())
}

/// Line and column of a function's opening brace: the first one outside of parentheses, behind
/// comments and attributes.
fn body(lines: &[&str], start: usize, end: usize) -> Option<(usize, usize)> {
    let mut depth = 0_usize;
    for (number, line) in lines.iter().enumerate().take(end + 1).skip(start) {
        if ["//", "#["].iter().any(|mark| line.trim_start().starts_with(mark)) {
            continue;
        }
        for (column, letter) in line.char_indices() {
            match letter {
                '(' | '[' => depth += 1,
                ')' | ']' => depth = depth.checked_sub(1)?,
                '{' if depth == 0 => return Some((number, column)),
                _ => {}
            }
        }
    }
    None
}

/// Takes `const` from every function but those named.
fn without_const(text: &str, stay: &BTreeSet<String>) -> String {
    let mut out = String::new();
    for (at, part) in text.split("const fn ").enumerate() {
        if at > 0 {
            let name: String =
                part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            out += if stay.contains(&name) { "const fn " } else { "fn " };
        }
        out += part;
    }
    out
}

fn write_changed(path: &Path, text: &str) -> Result<(), EvidenceError> {
    if std::fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    Ok(std::fs::write(path, text)?)
}

/// One line of cargo's JSON.
#[derive(Deserialize)]
struct Line {
    message: Option<Message>,
    target: Option<TargetOf>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct TargetOf {
    name: String,
}

#[derive(Deserialize)]
struct Message {
    level: String,
    message: String,
    spans: Vec<Span>,
}

#[derive(Deserialize)]
struct Span {
    file_name: String,
    line_start: usize,
    is_primary: bool,
}

/// The binaries of tests, by name.
type Tests = Vec<(String, PathBuf)>;

/// Builds the tests: what the compiler says against it, or the binaries.
fn compile(root: &Path) -> Result<(Vec<Message>, Tests), EvidenceError> {
    let output = Command::new("cargo")
        .args(["test", "-p", "sluice-verifier", "--lib", "--tests", "--no-run"])
        .args(["--message-format=json", "--no-fail-fast"])
        .env("CARGO_TARGET_DIR", root.join("target"))
        .env("CARGO_PROFILE_TEST_DEBUG", "0")
        .env("RUSTFLAGS", "-A warnings --cap-lints warn")
        .current_dir(root)
        .stderr(Stdio::null())
        .output()?;
    let (mut errors, mut tests) = (Vec::new(), Vec::new());
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(line) = serde_json::from_str::<Line>(line) else { continue };
        errors.extend(line.message.filter(|message| message.level == "error"));
        tests.extend(line.target.zip(line.executable).map(|(target, path)| (target.name, path)));
    }
    Ok((errors, tests))
}

#[cfg(test)]
mod tests {
    use super::{Without, weave, without_const};
    use crate::soundness::mutants::Mutant;

    const FILE: &str =
        "/// Twice {.\n#[must_use]\nfn twice(a: [u8; 2]) -> u8 {\n    a[0] * 2\n}\n\nfn g() {}\n";

    fn mutant(from: usize, to: usize, diff: &str) -> Mutant {
        let text = format!(
            r#"{{"name": "n", "file": "f", "diff": {diff:?}, "function": {{"span":
            {{"start": {{"line": {from}}}, "end": {{"line": {to}}}}}}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_function_becomes_a_choice_between_its_bodies() {
        let diff = "--- f\n+++ r\n@@ -3,3 +3,3 @@\n fn twice(a: [u8; 2]) -> u8 {\n-    a[0] * 2\n\
                    +    a[0] + 2\n }\n";
        let mutants = [mutant(1, 5, diff), mutant(1, 5, diff)];
        let mut without = Without::default();
        let woven = weave(FILE, mutants.iter().enumerate().collect(), &mut without);
        let text = "/// Twice {.\n#[must_use]\nfn twice(a: [u8; 2]) -> u8 { if crate::mutant(0) {\n\
                    \x20   a[0] + 2\n} else if crate::mutant(1) {\n    a[0] + 2\n} else {\n\
                    \x20   a[0] * 2\n} }\n\nfn g() {}\n";
        assert_eq!(woven.text, text);
        assert_eq!(woven.bodies, [(3..=5, 0), (5..=7, 1)]);
        assert!(without.alone.is_empty());
    }

    #[test]
    fn what_constants_need_stays_const() {
        let stay = std::collections::BTreeSet::from(["a".to_owned()]);
        let text = without_const("const fn a() {}\npub const fn b() {}", &stay);
        assert_eq!(text, "const fn a() {}\npub fn b() {}");
    }
}
