//! The guest's initial file system: one program, the card's modules, one XDP program, and what else
//! a task wants.
//!
//! A `cpio` archive in the "new ASCII" format (`Documentation/driver-api/early-userspace` in the
//! kernel's sources), not compressed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::build::{self, BuildError};

/// A directory's and a program's mode.
const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_755;

/// Something more in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its path, without a slash in front.
    name: String,
    /// What it holds; a directory holds nothing.
    contents: Option<Vec<u8>>,
}

impl Entry {
    /// A program or a file.
    pub(super) fn file(name: &str, contents: Vec<u8>) -> Entry {
        Entry { name: name.to_owned(), contents: Some(contents) }
    }

    /// A directory.
    pub(super) fn directory(name: &str) -> Entry {
        Entry { name: name.to_owned(), contents: None }
    }
}

/// Writes the archive to `path`.
///
/// # Errors
/// [`BuildError::File`] for what cannot be read or written.
pub(super) fn write(
    program: &Path,
    modules: &[PathBuf],
    more: &[Entry],
    path: &Path,
) -> Result<PathBuf, BuildError> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|source| BuildError::File { path: path.to_owned(), source })
    };
    let mut archive = Archive::default();
    ["dev", "proc", "modules"].iter().for_each(|name| archive.add(name, DIRECTORY, &[]));
    archive.add("init", FILE, &read(program)?);
    for (number, module) in modules.iter().enumerate() {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        archive.add(&format!("modules/{number:02}-{name}"), FILE, &read(module)?);
    }
    if !modules.is_empty() {
        archive.add("echo.bpf", FILE, &echo()?);
    }
    more.iter().for_each(|entry| archive.entry(entry));
    std::fs::write(path, archive.finish())
        .map_err(|source| BuildError::File { path: path.to_owned(), source })?;
    Ok(path.to_owned())
}

/// The ASH of the `echo` example, as the kernel there takes it, too.
fn echo() -> Result<Vec<u8>, BuildError> {
    let path = build::workspace().join("examples/ash/echo.s");
    let failed = |source| BuildError::File { path: path.clone(), source };
    let text = std::fs::read_to_string(&path).map_err(failed)?;
    let program = ebpf::asm::program(ebpf::Kind::Ash, &text).map_err(|error| {
        failed(std::io::Error::other(format!("line {}: {:?}", error.line, error.reason)))
    })?;
    Ok(ebpf::encode(&program))
}

#[derive(Debug, Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    directories: BTreeSet<String>,
}

impl Archive {
    /// Adds it, behind the directories that it is in.
    fn entry(&mut self, entry: &Entry) {
        let slashes = entry.name.match_indices('/').map(|(at, _)| at);
        let own = entry.contents.is_none().then_some(entry.name.len());
        for name in slashes.chain(own).filter_map(|at| entry.name.get(..at)) {
            if self.directories.insert(name.to_owned()) {
                self.add(name, DIRECTORY, &[]);
            }
        }
        if let Some(contents) = &entry.contents {
            self.add(&entry.name, FILE, contents);
        }
    }

    fn add(&mut self, name: &str, mode: u32, contents: &[u8]) {
        self.entries += 1;
        let (size, name_size) = (contents.len() as u32, name.len() as u32 + 1);
        // Number, mode, owner, group, links, time, size, four of devices, name, checksum (unused).
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        fields.iter().for_each(|it| self.bytes.extend_from_slice(format!("{it:08x}").as_bytes()));
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(contents);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::{Archive, Entry, FILE, echo, write};

    #[test]
    fn entries_are_padded_and_the_last_one_ends_it() {
        let mut archive = Archive::default();
        archive.add("ab", FILE, b"12345");
        let bytes = archive.finish();
        assert!(bytes.starts_with(b"07070100000001000081ed"));
        // 110 bytes of header, the name with its zero and padding, the contents and padding.
        assert_eq!(&bytes[110..113], b"ab\0");
        assert_eq!(&bytes[116..124], b"12345\0\0\0");
        assert_eq!(&bytes[124..130], b"070701");
        assert!(bytes.windows(11).any(|it| it == b"TRAILER!!!\0"));
        assert_eq!(bytes.len() % 4, 0);
    }

    #[test]
    fn a_file_comes_behind_its_directories_and_each_of_them_once() {
        let mut archive = Archive::default();
        let all =
            [Entry::file("a/b/c", b"x".to_vec()), Entry::directory("a/d"), Entry::directory("a")];
        all.iter().for_each(|entry| archive.entry(entry));
        let text = String::from_utf8_lossy(&archive.bytes).into_owned();
        let at = |name: &str| text.find(&format!("{name}\0")).unwrap();
        assert!(at("a/b") < at("a/b/c") && at("a/b/c") < at("a/d"));
        assert_eq!(archive.entries, 4);
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let absent = directory.path().join("absent");
        let error = write(&absent, &[], &[], &directory.path().join("out")).unwrap_err();
        assert!(error.to_string().contains("absent"));
    }

    #[test]
    fn the_xdp_program_is_the_examples() {
        let bytes = echo().unwrap();
        assert!(bytes.len() > 400 && bytes.len().is_multiple_of(8));
        // `exit` ends it.
        assert_eq!(bytes[bytes.len() - 8], 0x95);
    }
}
