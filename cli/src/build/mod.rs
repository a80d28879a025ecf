//! From sources to something that boots: kernel, symbols, initrd.
//!
//! Read [`image`] from top to bottom: it is the list of steps. Every missing tool is either
//! installed, saying so, or named together with the exact command that installs it.

mod cargo;
pub mod cast;
mod initrd;
mod project;
mod symbols;
pub(crate) mod tools;

use std::path::PathBuf;

use abi::start::Manifest;

use crate::progress::Progress;

pub use cargo::{Artifacts, program as cargo_program, workspace};
pub use initrd::archive;
pub use project::{Project, Wishes};
pub use symbols::table;

/// Target of everything that runs inside the machine.
pub const TARGET: &str = "x86_64-unknown-none";

/// What a machine boots.
#[derive(Clone, Debug)]
pub struct Image {
    /// The kernel's ELF file, with its PVH note.
    pub kernel: PathBuf,
    /// The archive that `init` works through.
    pub initrd: PathBuf,
    /// What the archive's manifest says.
    pub manifest: Manifest,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Something outside the tree is missing and could not be installed.
    #[error("{what} is missing. Run:\n    {command}\nand try again.{detail}")]
    Missing {
        /// What.
        what: String,
        /// The exact command to run.
        command: String,
        /// What came of trying to run it, if that was tried.
        detail: String,
    },
    /// A command could not be started.
    #[error("cannot run `{command}`: {source}")]
    CannotRun {
        /// The command.
        command: String,
        /// Why.
        source: std::io::Error,
    },
    /// `cargo build` said no; its own messages are on standard error.
    #[error("building the kernel and the ring-3 programs failed ({status})")]
    Compile {
        /// Cargo's exit status.
        status: std::process::ExitStatus,
    },
    /// The build went well, but a program is not among its results.
    #[error("the build made no program named `{name}`")]
    NoProgram {
        /// The program.
        name: String,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The kernel file is no ELF file.
    #[error("{}: {reason}", path.display())]
    NotElf {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        reason: String,
    },
    /// A project is none, or not one for us.
    #[error("{}: {reason}", path.display())]
    Project {
        /// Its manifest.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A grant's expression cannot be made into a program.
    #[error("grant `{grant}`: {reason}")]
    Grant {
        /// The grant.
        grant: String,
        /// What the parser or the lowering said.
        reason: String,
    },
}

/// Looks for the Rust target and QEMU, and installs what is missing where that is allowed.
///
/// # Errors
/// [`BuildError::Missing`] with the exact command to run.
pub fn ensure_tools() -> Result<(), BuildError> {
    tools::ensure_target()?;
    tools::ensure_qemu()
}

/// Builds everything that `cargo run` needs.
///
/// # Errors
/// [`BuildError`] names the first step that failed.
pub fn image() -> Result<Image, BuildError> {
    ensure_tools()?;
    let progress = Progress::parts("building kernel and library OSes", 0);
    let artifacts = cargo::build(&progress)?;
    progress.done("done");
    packed(artifacts, "initrd", cast::manifest()?)
}

/// The same for a machine with `netd` and that project's library OS.
///
/// # Errors
/// As [`image`].
pub fn image_of(project: &Project) -> Result<Image, BuildError> {
    ensure_tools()?;
    let progress = Progress::parts("building kernel and library OSes", 0);
    let mut artifacts = cargo::build(&progress)?;
    progress.done("done");
    project.build(&mut artifacts)?;
    packed(artifacts, &format!("{}-initrd", project.name), project.cast()?)
}

fn packed(artifacts: Artifacts, name: &str, manifest: Manifest) -> Result<Image, BuildError> {
    let symbols = symbols::table(&artifacts.kernel)?;
    let initrd = initrd::write(&artifacts, &symbols, name, &manifest)?;
    Ok(Image { kernel: artifacts.kernel, initrd, manifest })
}
