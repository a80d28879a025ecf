//! `cargo build` for everything that runs inside the machine.
//!
//! The kernel has a profile of its own, in which it is optimised as one unit: a packet's way leads
//! through five crates. The ring-3 programs come out of a second call, so that what they share is
//! compiled once. The paths of the results are read from cargo's own messages: no guess about
//! target directories.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::{BuildError, TARGET};
use crate::progress::Progress;

/// Package and binary of the kernel.
const KERNEL: (&str, &str) = ("sluice-image", "sluice-kernel");
/// Packages of the ring-3 programs.
const PROGRAMS: [&str; 3] = ["sluice-init", "sluice-netd", "sluice-examples"];

/// What the build made.
#[derive(Clone, Debug, Default)]
pub struct Artifacts {
    /// The kernel.
    pub kernel: PathBuf,
    /// Ring-3 programs by name, in order of name.
    pub programs: Vec<(String, PathBuf)>,
}

impl Artifacts {
    /// The file of that program.
    ///
    /// # Errors
    /// [`BuildError::NoProgram`].
    pub fn program(&self, name: &str) -> Result<&Path, BuildError> {
        let found = self.programs.iter().find(|(n, _)| n == name);
        found
            .map(|(_, path)| path.as_path())
            .ok_or_else(|| BuildError::NoProgram { name: name.to_owned() })
    }
}

/// The directory with the workspace's `Cargo.toml`: where this tool was built from.
pub fn workspace() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// Cargo, in this tree, with the tree's own flags.
pub(super) fn command() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Flags for the host (coverage, sanitizers) would displace the tree's own for the bare target.
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    command.current_dir(workspace()).stdin(Stdio::null());
    command
}

/// The part of cargo's messages that matters here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    executable: Option<PathBuf>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    #[serde(default)]
    crate_types: Vec<String>,
}

impl Message {
    /// The program or the plugin that came to be, if one did.
    fn result(&self) -> Option<PathBuf> {
        let plugin = self.target.iter().any(|it| it.crate_types.iter().any(|it| it == "cdylib"));
        let library = || self.filenames.first().filter(|_| plugin);
        self.executable.as_ref().or_else(library).cloned()
    }
}

/// Runs the build; cargo's diagnostics go to standard error as they come.
///
/// # Errors
/// [`BuildError::CannotRun`], [`BuildError::Compile`], or [`BuildError::NoProgram`] when the kernel
/// is not among the results.
pub(super) fn build(progress: &Progress) -> Result<Artifacts, BuildError> {
    let kernel =
        run(&[KERNEL.0], TARGET, &Way { profile: "kernel", flags: None }, progress)?.kernel;
    if kernel.as_os_str().is_empty() {
        return Err(BuildError::NoProgram { name: KERNEL.1.to_owned() });
    }
    let programs = run(&PROGRAMS, TARGET, &Way { profile: "release", flags: None }, progress)?;
    Ok(Artifacts { kernel, ..programs })
}

/// Builds one program or plugin of one package for a target, with compiler flags of its own.
///
/// # Errors
/// [`BuildError::CannotRun`], [`BuildError::Compile`], [`BuildError::NoProgram`].
pub fn program(
    package: &str,
    name: &str,
    target: &str,
    flags: &str,
) -> Result<PathBuf, BuildError> {
    let progress = Progress::spinner(&format!("building {name}"));
    let way = Way { profile: "release", flags: Some(flags) };
    let artifacts = run(&[package], target, &way, &progress)?;
    progress.done("done");
    artifacts.program(name).map(Path::to_owned)
}

/// How something is built.
struct Way<'a> {
    /// A profile of the workspace's.
    profile: &'a str,
    /// Compiler flags in the place of the tree's own.
    flags: Option<&'a str>,
}

fn run(
    packages: &[&str],
    target: &str,
    way: &Way<'_>,
    progress: &Progress,
) -> Result<Artifacts, BuildError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let cannot_run =
        |source| BuildError::CannotRun { command: cargo.to_string_lossy().into_owned(), source };
    let mut command = Command::new(&cargo);
    command.args(["build", "--profile", way.profile, "--quiet", "--target", target]);
    for package in packages {
        command.args(["-p", package]);
    }
    command.args(["--message-format", "json-render-diagnostics"]);
    // Flags for the host (coverage, sanitizers) would displace the tree's own for the bare target.
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    if let Some(flags) = way.flags {
        command.env("RUSTFLAGS", flags);
    }
    command.current_dir(workspace()).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(cannot_run)?;
    let mut artifacts = Artifacts::default();
    if let Some(output) = child.stdout.take() {
        collect(BufReader::new(output), progress, &mut artifacts);
    }
    let status = child.wait().map_err(cannot_run)?;
    if !status.success() {
        return Err(BuildError::Compile { status });
    }
    artifacts.programs.sort();
    Ok(artifacts)
}

pub(super) fn collect(messages: impl BufRead, progress: &Progress, artifacts: &mut Artifacts) {
    for line in messages.lines().map_while(Result::ok) {
        let Ok(message) = serde_json::from_str::<Message>(&line) else { continue };
        if message.reason != "compiler-artifact" {
            continue;
        }
        let result = message.result();
        let name = message.target.map(|target| target.name).unwrap_or_default();
        progress.part(&name);
        match result {
            Some(path) if name == KERNEL.1 => artifacts.kernel = path,
            Some(path) => artifacts.programs.push((name, path)),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Artifacts, collect, workspace};
    use crate::progress::Progress;

    #[test]
    fn executables_are_read_from_cargos_messages() {
        let text = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"abi"},"executable":null}"#,
            "\nnot json\n",
            r#"{"reason":"compiler-artifact","target":{"name":"init"},"executable":"/t/init"}"#,
            "\n",
            concat!(
                r#"{"reason":"compiler-artifact","target":{"name":"sluice-kernel"},"#,
                r#""executable":"/t/k"}"#
            ),
            "\n",
            concat!(
                r#"{"reason":"compiler-artifact","target":{"name":"p","crate_types":["cdylib"]},"#,
                r#""filenames":["/t/p.so"],"executable":null}"#
            ),
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
            "\n",
        );
        let mut artifacts = Artifacts::default();
        collect(text.as_bytes(), &Progress::spinner("test"), &mut artifacts);
        assert_eq!(artifacts.kernel.to_str(), Some("/t/k"));
        assert_eq!(artifacts.program("init").unwrap().to_str(), Some("/t/init"));
        assert_eq!(artifacts.program("p").unwrap().to_str(), Some("/t/p.so"));
        assert!(artifacts.program("abi").is_err());
    }

    #[test]
    fn the_workspace_is_where_this_was_built() {
        assert!(workspace().join("abi/Cargo.toml").is_file());
    }
}
