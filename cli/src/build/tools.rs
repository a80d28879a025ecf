//! What must be installed before anything can be built or booted.
//!
//! Each `ensure_*` looks, installs where that is allowed (saying so), looks again, and otherwise
//! hands back the exact command to run.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{BuildError, TARGET};
use crate::machine;

/// Packages for Debian and its kin.
const QEMU_PACKAGE: &str = "qemu-system-x86";

/// The bare-metal target's core library is there.
///
/// # Errors
/// [`BuildError::Missing`] with the `rustup` command, [`BuildError::CannotRun`] without a compiler.
pub(super) fn ensure_target() -> Result<(), BuildError> {
    if target_installed()? {
        return Ok(());
    }
    let command = format!("rustup target add {TARGET}");
    eprintln!("The Rust target {TARGET} is not installed; running `{command}`.");
    let outcome = Command::new("rustup").args(["target", "add", TARGET]).status();
    let detail = match outcome {
        Ok(status) if status.success() && target_installed()? => return Ok(()),
        Ok(status) => format!("\n(it was tried just now: {status})"),
        Err(error) => format!("\n(it was tried just now: {error})"),
    };
    Err(BuildError::Missing { what: format!("the Rust target {TARGET}"), command, detail })
}

fn target_installed() -> Result<bool, BuildError> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(&rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(super::workspace())
        .stderr(Stdio::null())
        .output()
        .map_err(|source| BuildError::CannotRun {
            command: rustc.to_string_lossy().into_owned(),
            source,
        })?;
    let directory = String::from_utf8_lossy(&output.stdout);
    Ok(output.status.success() && Path::new(directory.trim()).is_dir())
}

/// QEMU can be run.
///
/// # Errors
/// [`BuildError::Missing`] with the `apt-get` command.
pub(super) fn ensure_qemu() -> Result<(), BuildError> {
    let qemu = machine::qemu_program();
    if runs(&qemu) {
        return Ok(());
    }
    let install = ["install", "-y", "--no-install-recommends", QEMU_PACKAGE];
    let command = format!("apt-get {}", install.join(" "));
    let what = format!("QEMU (`{}`)", qemu.display());
    if !rustix::process::geteuid().is_root() || !runs(Path::new("apt-get")) {
        let command = format!("sudo {command}");
        return Err(BuildError::Missing { what, command, detail: String::new() });
    }
    if lists_are_empty(Path::new("/var/lib/apt/lists")) {
        eprintln!("QEMU is not installed; running `apt-get update`.");
        run_apt(&["update"]);
    }
    eprintln!("QEMU is not installed; running `{command}`.");
    let installed = run_apt(&install);
    if installed && runs(&qemu) {
        return Ok(());
    }
    let detail = "\n(it was tried just now and did not help)".to_owned();
    Err(BuildError::Missing { what, command, detail })
}

/// Runs `apt-get`, asking nothing; whether it went well.
pub(crate) fn run_apt(arguments: &[&str]) -> bool {
    let status =
        Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").status();
    status.is_ok_and(|status| status.success())
}

/// Whether the program is there and starts.
pub(crate) fn runs(program: &Path) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// No package list has ever been fetched: only directories and the lock are there.
pub(crate) fn lists_are_empty(directory: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(directory) else { return true };
    !entries
        .flatten()
        .any(|entry| entry.path().is_file() && entry.file_name().to_string_lossy() != "lock")
}

#[cfg(test)]
mod tests {
    use super::lists_are_empty;

    #[test]
    fn a_lock_and_directories_are_no_lists() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("lock"), "").unwrap();
        std::fs::create_dir(directory.path().join("partial")).unwrap();
        assert!(lists_are_empty(directory.path()));
        std::fs::write(directory.path().join("deb_Packages"), "").unwrap();
        assert!(!lists_are_empty(directory.path()));
        assert!(lists_are_empty(&directory.path().join("absent")));
    }
}
