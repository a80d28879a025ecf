//! Where `unsafe` may stand, how long files may be, and what each file opens with.

use std::path::{Path, PathBuf};

use crate::{files, none, text};

/// The places that may say `unsafe`: the design's list.
const UNSAFE_HOMES: &[&str] = &[
    "machine/",
    "runtime/src/native/",
    "libos/src/sys/",
    // Foreign peers are called through their C interfaces.
    "benches/",
    // Links neither library on purpose, so it brings its own three instructions of start-up.
    "examples/src/bin/bare/sys.rs",
];

/// Crates whose root forbids `unsafe` outright.
const FORBIDDING: &[&str] = &["abi", "ebpf", "flow", "verifier", "dpf", "kernel"];

/// Code lines of a file, tests apart.
const FILE_LINES_MAX: usize = 500;

const COLUMNS_MAX: usize = 100;

fn is_test(path: &Path) -> bool {
    let p = path.to_string_lossy();
    p.contains("tests/") || p.ends_with("tests.rs") || p.starts_with("fuzz/")
}

/// The line without its comment and string contents: enough to find a keyword.
fn code(line: &str) -> String {
    let mut out = String::new();
    let mut quoted = false;
    let mut previous = ' ';
    for (i, c) in line.char_indices() {
        if !quoted && line[i..].starts_with("//") {
            break;
        }
        if c == '"' && previous != '\\' && previous != '\'' {
            quoted = !quoted;
        } else if !quoted {
            out.push(c);
        }
        previous = c;
    }
    out
}

fn says_unsafe(line: &str) -> bool {
    let code = code(line);
    code.match_indices("unsafe").any(|(at, word)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !part(before) && !part(after)
    })
}

#[test]
fn unsafe_has_an_address() {
    let mut findings = Vec::new();
    for path in files(".rs") {
        let name = path.to_string_lossy().into_owned();
        if UNSAFE_HOMES.iter().any(|home| name.starts_with(home)) {
            continue;
        }
        for (number, line) in text(&path).lines().enumerate() {
            if says_unsafe(line) {
                findings.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    none("unsafe outside the places that the design names", &findings);
}

#[test]
fn the_unsafe_finder_finds() {
    assert!(says_unsafe("    unsafe { call() }"));
    assert!(says_unsafe("pub unsafe trait CodePages {"));
    assert!(says_unsafe("#[unsafe(no_mangle)]"));
    assert!(!says_unsafe("#![forbid(unsafe_code)]"));
    assert!(!says_unsafe("// unsafe { not code }"));
    assert!(!says_unsafe("let s = \"unsafe { text }\";"));
}

#[test]
fn pure_crates_forbid_unsafe() {
    let open: Vec<String> = FORBIDDING
        .iter()
        .filter(|c| !text(&Path::new(c).join("src/lib.rs")).contains("#![forbid(unsafe_code)]"))
        .map(|c| (*c).to_string())
        .collect();
    none("crates without forbid(unsafe_code)", &open);
}

#[test]
fn only_the_checker_vouches_for_generated_code() {
    let findings: Vec<String> = files(".rs")
        .into_iter()
        .filter(|p| !p.starts_with("dpf/src/check") && !p.starts_with("runtime/src/native"))
        .filter(|p| text(p).lines().any(|line| code(line).contains("::vouch(")))
        .map(|p| p.to_string_lossy().into_owned())
        .collect();
    none("Checked::vouch outside dpf/src/check", &findings);
}

#[test]
fn files_stay_within_the_budget() {
    let mut findings = Vec::new();
    for path in files(".rs").into_iter().filter(|p| !is_test(p)) {
        let body = text(&path);
        let count = body
            .lines()
            .take_while(|l| !l.trim_start().starts_with("#[cfg(test)]"))
            .filter(|l| !l.trim().is_empty() && !l.trim_start().starts_with("//"))
            .count();
        if count > FILE_LINES_MAX {
            findings.push(format!("{}: {count} code lines", path.display()));
        }
    }
    none("files over 500 code lines", &findings);
}

#[test]
fn lines_stay_within_the_budget() {
    let mut findings = Vec::new();
    for path in files(".rs") {
        for (number, line) in text(&path).lines().enumerate() {
            if line.chars().count() > COLUMNS_MAX {
                findings.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    none("lines over 100 columns", &findings);
}

#[test]
fn files_open_with_a_tagline() {
    let findings: Vec<String> = files(".rs")
        .into_iter()
        .filter(|p| !text(p).starts_with("//! "))
        .map(|p| p.to_string_lossy().into_owned())
        .collect();
    none("files without a module comment", &findings);
}

#[test]
fn nothing_is_left_over() {
    let left = |path: &PathBuf| {
        let name = path.to_string_lossy();
        [".orig", ".rej", ".bak", ".swp", "~"].iter().any(|suffix| name.ends_with(suffix))
    };
    let findings: Vec<String> =
        files("").iter().filter(|p| left(p)).map(|p| p.to_string_lossy().into_owned()).collect();
    none("left-overs of an editor or a patch", &findings);
}
