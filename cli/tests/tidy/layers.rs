//! Dependencies point one way, and a bare `cargo run` has one meaning.

use std::path::Path;

use crate::{files, none, text};

/// Each room and the rooms that it may use (the table in ARCHITECTURE.md).
const ROOMS: &[(&str, &[&str])] = &[
    ("abi", &[]),
    ("ebpf", &[]),
    ("flow", &["ebpf"]),
    ("runtime", &["ebpf"]),
    ("verifier", &["ebpf", "flow"]),
    ("dpf", &["ebpf", "flow", "verifier", "runtime"]),
    ("machine", &["abi", "runtime"]),
    ("kernel", &["abi", "ebpf", "flow", "runtime", "verifier", "dpf", "machine"]),
    ("kernel/image", &["kernel", "machine"]),
    ("machine/selftest", &["machine", "runtime"]),
    ("libos", &["abi", "ebpf"]),
    ("libos/init", &["libos", "abi", "ebpf"]),
    ("libos-net", &["libos", "flow", "abi", "ebpf"]),
    ("libos-net/netd", &["libos-net", "libos", "flow", "abi", "ebpf"]),
    ("examples", &["libos-net", "libos", "flow", "abi", "ebpf"]),
    // Host only: may look into everything that is pure.
    ("cli", &["abi", "ebpf", "flow", "runtime", "verifier", "dpf"]),
    ("benches", &["abi", "ebpf", "flow", "runtime", "verifier", "dpf"]),
    ("benches/linux-guest", &[]),
    ("benches/count-instructions", &[]),
];

/// Cargo features that may exist; a feature is a second program to test.
const FEATURES: &[&str] = &["ebpf/text", "ebpf/object", "libos/object", "runtime/std"];

/// The rooms named in a manifest's `[dependencies]`.
fn uses(manifest: &str) -> Vec<String> {
    let mut section = "";
    let mut used = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section == "[dependencies]" || section == "[build-dependencies]" {
            let name = line.split([' ', '.', '=']).next().unwrap_or_default();
            if ROOMS.iter().any(|(room, _)| *room == name) {
                used.push(name.to_string());
            }
        }
    }
    used
}

#[test]
fn dependencies_point_one_way() {
    let mut findings = Vec::new();
    for manifest in files("Cargo.toml") {
        let room = manifest.parent().unwrap_or(Path::new("")).to_string_lossy().into_owned();
        if room.is_empty() || room == "fuzz" {
            continue;
        }
        let Some((_, allowed)) = ROOMS.iter().find(|(r, _)| *r == room) else {
            findings.push(format!("{room} is not a room of the design"));
            continue;
        };
        for used in uses(&text(&manifest)) {
            if !allowed.contains(&used.as_str()) {
                findings.push(format!("{room} may not depend on {used}"));
            }
        }
    }
    none("layers", &findings);
}

#[test]
fn only_the_host_tool_has_a_binary_among_the_default_members() {
    let workspace = text(Path::new("Cargo.toml"));
    let (_, members) = workspace.split_once("default-members = [").expect("default-members");
    let (members, _) = members.split_once(']').expect("a closed list");
    let members: Vec<&str> = members.split('"').skip(1).step_by(2).collect();
    assert!(members.contains(&"cli"));
    let with_binary: Vec<&str> = members
        .into_iter()
        .filter(|m| {
            let manifest = text(&Path::new(m).join("Cargo.toml"));
            manifest.contains("[[bin]]")
                || crate::root().join(m).join("src/main.rs").exists()
                || crate::root().join(m).join("src/bin").exists()
        })
        .collect();
    assert_eq!(with_binary, ["cli"]);
}

#[test]
fn features_are_few() {
    let mut findings = Vec::new();
    for manifest in files("Cargo.toml") {
        let room = manifest.parent().unwrap_or(Path::new("")).to_string_lossy().into_owned();
        let body = text(&manifest);
        let Some((_, features)) = body.split_once("[features]") else { continue };
        for line in features.lines().take_while(|l| !l.starts_with('[')) {
            let name = line.split([' ', '=']).next().unwrap_or_default();
            let full = format!("{room}/{name}");
            if !name.is_empty()
                && !name.starts_with('#')
                && name != "default"
                && !FEATURES.contains(&full.as_str())
            {
                findings.push(full);
            }
        }
    }
    none("features", &findings);
}
