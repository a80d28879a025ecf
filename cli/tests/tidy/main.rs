//! The house rules that a machine can check.
//!
//! `docs/style.md` names each rule; a rule that is neither here nor a lint is advice.

mod layers;
mod sources;
mod texts;

use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file that is part of the tree (tracked, or new and not ignored), relative to the root.
pub(crate) fn files(suffix: &str) -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .ok()
        .filter(|o| o.status.success())
        .map(|o| String::from_utf8_lossy(&o.stdout).lines().map(PathBuf::from).collect());
    // An unpacked archive has no git: then every file counts.
    let listed: Vec<PathBuf> = listed.unwrap_or_else(|| walk(Path::new("")));
    let mut kept: Vec<PathBuf> = listed
        .into_iter()
        .filter(|p| p.to_string_lossy().ends_with(suffix) && root().join(p).is_file())
        .collect();
    kept.sort();
    assert!(!kept.is_empty(), "no file ends with {suffix}");
    kept
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(root().join(folder)) else { return found };
    for entry in entries.flatten() {
        let path = folder.join(entry.file_name());
        let hidden = ["target", ".git"].iter().any(|n| path.ends_with(n));
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && !hidden => found.extend(walk(&path)),
            Ok(kind) if kind.is_file() => found.push(path),
            _ => {}
        }
    }
    found
}

/// A file's text.
pub(crate) fn text(path: &Path) -> String {
    let bytes = std::fs::read(root().join(path)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Fails with all findings at once.
pub(crate) fn none(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}
