//! `sluice new NAME`: a library OS of one's own, with its ASH, that runs as it is.
//!
//! What is made is a Cargo project and a workspace of its own, so that it may lie anywhere; it
//! names the crates of this tree by path. A bare name goes to `apps/` in this tree, where relative
//! paths serve and version control does not look; a path goes where it leads. Nothing that exists
//! is overwritten.

use std::path::{Path, PathBuf};

use crate::build::workspace;

/// Where bare names go, in the workspace.
const APPS: &str = "apps";
/// Ports of new services: from here on, the first that no other project in the same folder has.
const FIRST_PORT: u16 = 7100;
/// Names that the machine uses itself, and one that Cargo keeps.
const TAKEN: [&str; 6] = ["init", "netd", "root", "control", "self", "test"];

/// The files of a project: where each goes, and its text.
const FILES: [(&str, &str); 5] = [
    ("Cargo.toml", include_str!("template/manifest.toml")),
    ("src/main.rs", include_str!("template/main.rs")),
    ("src/ash.s", include_str!("template/ash.s")),
    ("README.md", include_str!("template/readme.md")),
    (".gitignore", "/target\n"),
];

/// Why there is no new project.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// The name can be no library OS's.
    #[error(
        "`{name}` can be no name: lower-case letters, digits and hyphens, a letter first, at most \
         {} bytes, and none of {}", abi::limits::NAME_BYTES_MAX, TAKEN.join(", ")
    )]
    Name {
        /// The name.
        name: String,
    },
    /// Something is there already.
    #[error("{} exists already; nothing was changed", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// A file could not be written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// The project's folder.
    pub folder: PathBuf,
    /// Its name.
    pub name: String,
    /// Its UDP port.
    pub port: u16,
}

/// The folder that a name or a path on the command line means.
pub fn folder(what: &str) -> PathBuf {
    if what.contains('/') { PathBuf::from(what) } else { workspace().join(APPS).join(what) }
}

/// Makes a project; with a port, for that one.
///
/// # Errors
/// [`NewError`].
pub fn new(what: &str, port: Option<u16>) -> Result<Made, NewError> {
    let folder = folder(what);
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if !is_name(&name) {
        return Err(NewError::Name { name });
    }
    if folder.exists() {
        return Err(NewError::Exists { path: folder });
    }
    let port = port.unwrap_or_else(|| free_port(folder.parent().unwrap_or(&folder)));
    let words = [
        ("@NAME@", name.clone()),
        ("@PORT@", port.to_string()),
        ("@SLUICE@", tree_from(&folder)),
        ("@PATH@", what.to_owned()),
    ];
    for (file, text) in FILES {
        let text =
            words.iter().fold(text.to_owned(), |text, (word, value)| text.replace(word, value));
        write(&folder.join(file), text.as_bytes())?;
    }
    // The versions that this tree was tested with.
    let lock = workspace().join("Cargo.lock");
    let versions = std::fs::read(&lock).map_err(|source| NewError::File { path: lock, source })?;
    write(&folder.join("Cargo.lock"), &versions)?;
    Ok(Made { folder, name, port })
}

fn write(path: &Path, text: &[u8]) -> Result<(), NewError> {
    let directory = path.parent().unwrap_or(path);
    std::fs::create_dir_all(directory)
        .and_then(|()| std::fs::write(path, text))
        .map_err(|source| NewError::File { path: path.to_owned(), source })
}

fn is_name(name: &str) -> bool {
    let letter = name.starts_with(|c: char| c.is_ascii_lowercase());
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = name.len() <= abi::limits::NAME_BYTES_MAX && !name.ends_with('-');
    letter && fits && name.chars().all(plain) && !TAKEN.contains(&name)
}

/// This tree as a project's manifest names it: relative where the project lies within.
fn tree_from(folder: &Path) -> String {
    let tree = workspace();
    match folder.strip_prefix(&tree) {
        Ok(within) => vec![".."; within.components().count()].join("/"),
        Err(_) => tree.display().to_string(),
    }
}

/// The first port from [`FIRST_PORT`] on that no project beside has.
fn free_port(beside: &Path) -> u16 {
    let entries = std::fs::read_dir(beside).into_iter().flatten().flatten();
    let taken: Vec<u16> = entries
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("Cargo.toml")).ok())
        .flat_map(|text| text.lines().flat_map(ports).collect::<Vec<u16>>())
        .collect();
    (FIRST_PORT..u16::MAX).find(|port| !taken.contains(port)).unwrap_or(FIRST_PORT)
}

/// The ports in a line `udp = [1, 2]`.
fn ports(line: &str) -> Vec<u16> {
    let Some(list) = line.trim().strip_prefix("udp") else { return Vec::new() };
    list.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::{FIRST_PORT, NewError, folder, is_name, new, tree_from};
    use crate::build::workspace;

    #[test]
    fn names_are_checked() {
        for good in ["hello", "a", "dns-2"] {
            assert!(is_name(good), "{good}");
        }
        let long = "a".repeat(33);
        for bad in ["", "Hello", "2a", "a b", "a-", "../x", "netd", "init", "größe", &long] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_project_is_whole_and_nothing_is_overwritten() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("hello");
        let what = path.display().to_string();
        let made = new(&what, None).unwrap();
        assert_eq!((made.name.as_str(), made.port), ("hello", FIRST_PORT));
        for file in ["Cargo.toml", "Cargo.lock", "src/main.rs", "src/ash.s", "README.md"] {
            let text = std::fs::read_to_string(path.join(file)).unwrap();
            assert!(!text.contains("@NAME@") && !text.contains("@PORT@"), "{file}");
            assert!(!text.contains("@SLUICE@") && !text.contains("@PATH@"), "{file}");
        }
        assert!(matches!(new(&what, None), Err(NewError::Exists { .. })));
        let other = new(&place.path().join("other").display().to_string(), None).unwrap();
        assert_eq!(other.port, FIRST_PORT + 1);
        let third = new(&place.path().join("third").display().to_string(), Some(9000)).unwrap();
        assert_eq!(third.port, 9000);
        let wrong = new(&place.path().join("Wrong").display().to_string(), None);
        assert!(matches!(wrong, Err(NewError::Name { .. })));
    }

    #[test]
    fn the_handler_of_the_template_is_an_ash() {
        let text = include_str!("template/ash.s");
        ebpf::asm::program(ebpf::Kind::Ash, text).unwrap();
    }

    #[test]
    fn a_bare_name_lies_in_the_tree() {
        assert_eq!(folder("hello"), workspace().join("apps/hello"));
        assert_eq!(tree_from(&folder("hello")), "../..");
        assert_eq!(folder("./hello").display().to_string(), "./hello");
    }
}
