//! What the documents say exists, and what no file may say.

use std::path::Path;

use crate::{files, none, root, text};

/// Words that tie the tree to one machine or one registry.
fn foreign_words() -> Vec<String> {
    // Assembled here, or this file would find itself.
    [["/wo", "rk/"], ["/ho", "me/"], ["index.", "crates"], ["static.rust", "-lang"]]
        .iter()
        .map(|parts| parts.concat())
        .collect()
}

#[test]
fn no_machine_paths_or_registry_hosts() {
    let mut findings = Vec::new();
    for suffix in [".rs", ".md", ".toml", ".txt", ".s", "run"] {
        for path in files(suffix) {
            let body = text(&path);
            for word in foreign_words().iter().filter(|w| body.contains(w.as_str())) {
                findings.push(format!("{}: {word}", path.display()));
            }
        }
    }
    none("machine paths or registry hosts", &findings);
}

#[test]
fn files_named_in_the_documents_exist() {
    let mut findings = Vec::new();
    for document in ["README.md", "ARCHITECTURE.md", "docs/soundness.md", "docs/style.md"] {
        for word in text(Path::new(document)).split('`').skip(1).step_by(2) {
            let path = word.split("::").next().unwrap_or_default();
            let looks_like_a_file =
                path.contains('/') && path.ends_with(".rs") && !path.contains([' ', '*', '<', '{']);
            if looks_like_a_file && !root().join(path).exists() {
                findings.push(format!("{document} names {path}"));
            }
        }
    }
    none("files that documents name and the tree has not", &findings);
}

#[test]
fn the_documents_exist() {
    let wanted = [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "docs/soundness.md",
        "docs/abi.md",
        "docs/style.md",
        ".ci/run",
        "Cargo.lock",
    ];
    let missing: Vec<String> =
        wanted.iter().filter(|f| !root().join(f).exists()).map(|f| (*f).to_string()).collect();
    none("missing documents", &missing);
}
