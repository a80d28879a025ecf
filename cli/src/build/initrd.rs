//! The archive that the machine starts from: a plain `ustar`.
//!
//! In this order: `init`, which is the only entry that the kernel reads; `symbols`, which it looks
//! backtraces up in; `manifest`; then one `bin/NAME` per program.

use std::path::{Path, PathBuf};

use abi::start::{MANIFEST, Manifest};

use super::{Artifacts, BuildError};

/// The program that the kernel loads.
const INIT: &str = "init";

/// Writes the archive `NAME.tar` next to the kernel.
///
/// # Errors
/// [`BuildError::File`] for a file that cannot be read or written, [`BuildError::NoProgram`] when
/// the manifest names a program that was not built.
pub(super) fn write(
    artifacts: &Artifacts,
    symbols: &str,
    name: &str,
    manifest: &Manifest,
) -> Result<PathBuf, BuildError> {
    let mut entries = vec![
        (INIT.to_owned(), read(artifacts.program(INIT)?)?),
        ("symbols".to_owned(), symbols.as_bytes().to_vec()),
        (MANIFEST.to_owned(), postcard::to_allocvec(manifest).unwrap_or_default()),
    ];
    let mut names: Vec<&str> = manifest.environments.iter().map(|e| e.program.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    for entry in names {
        let name = entry.strip_prefix("bin/").unwrap_or(entry);
        entries.push((entry.to_owned(), read(artifacts.program(name)?)?));
    }
    let path = artifacts.kernel.with_file_name(format!("{name}.tar"));
    let failed = |source| BuildError::File { path: path.clone(), source };
    let bytes = archive(&entries).map_err(failed)?;
    // Written beside and renamed: a machine that boots at the same time reads the old or the new.
    let fresh = path.with_extension(format!("tar.{}", std::process::id()));
    std::fs::write(&fresh, bytes).map_err(failed)?;
    std::fs::rename(&fresh, &path).map_err(failed)?;
    Ok(path)
}

/// Packs (name, bytes) pairs into a `ustar` archive.
///
/// # Errors
/// A name that does not fit an archive header.
pub fn archive(entries: &[(String, Vec<u8>)]) -> std::io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_entry_type(tar::EntryType::Regular);
        builder.append_data(&mut header, name, bytes.as_slice())?;
    }
    builder.into_inner()
}

fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    std::fs::read(path).map_err(|source| BuildError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::{archive, write};
    use crate::build::{Artifacts, BuildError};
    use abi::start::{EnvironmentSpec, Manifest};

    #[test]
    fn entries_come_in_the_order_that_the_kernel_expects() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, name).unwrap();
            (name.to_owned(), path)
        };
        let artifacts = Artifacts {
            kernel: file("sluice-kernel").1,
            programs: vec![file("init"), file("netd"), file("unused")],
        };
        let environment = EnvironmentSpec {
            name: "netd".to_owned(),
            program: "bin/netd".to_owned(),
            ..EnvironmentSpec::default()
        };
        let mut manifest = Manifest {
            environments: vec![environment.clone(), environment],
            ..Manifest::default()
        };
        let path = write(&artifacts, "1000 main\n", "initrd", &manifest).unwrap();
        let mut archive = tar::Archive::new(std::fs::File::open(path).unwrap());
        let names: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|e| e.unwrap().path().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["init", "symbols", "manifest", "bin/netd"]);

        manifest.environments[0].program = "bin/absent".to_owned();
        let refused = write(&artifacts, "", "initrd", &manifest);
        assert!(matches!(refused, Err(BuildError::NoProgram { name }) if name == "absent"));
    }

    #[test]
    fn the_archive_is_ustar() {
        let bytes = archive(&[("init".to_owned(), vec![1; 700])]).unwrap();
        assert_eq!(&bytes[257..262], b"ustar");
        assert_eq!(bytes.len() % 512, 0);
    }
}
