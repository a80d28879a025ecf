//! A library OS that lies outside this tree's own programs: what it asks for, and how it is built.
//!
//! Its manifest says so under `[package.metadata.sluice]`; cargo reads it for us. It is built with
//! this tree's toolchain and flags, into the same target directory, so that what all programs share
//! is compiled once. In its machine are `init`, `netd` and itself; its grant holds its ports.

use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use abi::start::{EnvironmentSpec, GrantSpec, Manifest};
use serde::Deserialize;

use super::cargo::{self, Artifacts};
use super::{BuildError, TARGET, cast};
use crate::progress::Progress;
use crate::wire::frames::GUEST_IP;

/// Who answers ARP and ping on every machine.
const NETD: &str = "netd";

/// A project as its manifest describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// The package's name, also its program's, its grant's and its environment's.
    pub name: String,
    /// Its `Cargo.toml`.
    pub manifest: PathBuf,
    /// What it asks for.
    pub wishes: Wishes,
}

/// `[package.metadata.sluice]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wishes {
    /// UDP ports that its grant holds and the host forwards.
    pub udp: Vec<u16>,
    /// TCP ports, likewise.
    pub tcp: Vec<u16>,
    /// Pages of memory; 0 is taken as 3,072.
    pub frames: u32,
    /// Positions of the vector of slices; 0 is taken as 1.
    pub slices: u32,
    /// Words that it is started with.
    pub arguments: String,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    #[serde(default)]
    metadata: Option<Sections>,
}

#[derive(Default, Deserialize)]
struct Sections {
    sluice: Option<Wishes>,
}

impl Project {
    /// Asks cargo what the project in that folder is.
    ///
    /// # Errors
    /// [`BuildError::Project`] says what is wrong with it.
    pub fn read(folder: &Path) -> Result<Project, BuildError> {
        let manifest = folder.join("Cargo.toml");
        let wrong = |reason: String| BuildError::Project { path: manifest.clone(), reason };
        let manifest = std::path::absolute(&manifest).map_err(|error| wrong(error.to_string()))?;
        if !manifest.is_file() {
            let reason = "there is no such project; `cargo run -- new NAME` makes one".to_owned();
            return Err(wrong(reason));
        }
        let output = cargo::command()
            .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
            .arg(&manifest)
            .output()
            .map_err(|error| wrong(error.to_string()))?;
        if !output.status.success() {
            return Err(wrong(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        let (name, wishes) = described(&output.stdout).map_err(wrong)?;
        Ok(Project { name, manifest, wishes })
    }

    /// Builds its program, beside those that were built already.
    ///
    /// # Errors
    /// As the tree's own build.
    pub(super) fn build(&self, artifacts: &mut Artifacts) -> Result<(), BuildError> {
        let progress = Progress::parts(&format!("building {}", self.name), 0);
        let mut command = cargo::command();
        command.args(["build", "--release", "--quiet", "--target", TARGET, "--manifest-path"]);
        command.arg(&self.manifest);
        // TARGET_DIRECTORY / x86_64-unknown-none / PROFILE / sluice-kernel
        if let Some(directory) = artifacts.kernel.ancestors().nth(3) {
            command.arg("--target-dir").arg(directory);
        }
        command.args(["--message-format", "json-render-diagnostics"]).stdout(Stdio::piped());
        let cannot_run = |source| BuildError::CannotRun { command: "cargo build".into(), source };
        let mut child = command.spawn().map_err(cannot_run)?;
        if let Some(output) = child.stdout.take() {
            cargo::collect(BufReader::new(output), &progress, artifacts);
        }
        let status = child.wait().map_err(cannot_run)?;
        if !status.success() {
            return Err(BuildError::Compile { status });
        }
        artifacts.program(&self.name)?;
        progress.done("done");
        Ok(())
    }

    /// A machine with `netd` and this.
    ///
    /// # Errors
    /// [`BuildError::Grant`], [`BuildError::Project`] when its name is `netd`'s.
    pub fn cast(&self) -> Result<Manifest, BuildError> {
        let mut manifest = cast::manifest()?;
        manifest.environments.retain(|it| it.name == NETD);
        manifest.grants.retain(|it| it.name == NETD);
        if self.name == NETD {
            let reason = format!("`{NETD}` is the name of another library OS");
            return Err(BuildError::Project { path: self.manifest.clone(), reason });
        }
        let expression = self.expression();
        let grants = if expression.is_empty() { vec![] } else { vec![self.name.clone()] };
        if !expression.is_empty() {
            let failed = |reason| BuildError::Grant { grant: self.name.clone(), reason };
            let receive = cast::filter(&expression).map_err(failed)?;
            let name = self.name.clone();
            manifest.grants.push(GrantSpec { name, receive, expression, ..GrantSpec::default() });
        }
        manifest.environments.push(EnvironmentSpec {
            name: self.name.clone(),
            program: format!("bin/{}", self.name),
            frames: if self.wishes.frames == 0 { 3072 } else { self.wishes.frames },
            arguments: self.wishes.arguments.clone(),
            grants,
            at_boot: true,
            slices: self.wishes.slices,
            ..EnvironmentSpec::default()
        });
        Ok(manifest)
    }

    /// The flow space of its ports; empty without any.
    fn expression(&self) -> String {
        let [a, b, c, d] = GUEST_IP;
        let protocol = |name: &str, ports: &[u16]| {
            let tests: Vec<String> = ports.iter().map(|port| format!("dst port {port}")).collect();
            let any = tests.join(" or ");
            (!ports.is_empty()).then(|| format!("{name} and dst host {a}.{b}.{c}.{d} and ({any})"))
        };
        let both = [protocol("udp", &self.wishes.udp), protocol("tcp", &self.wishes.tcp)];
        match both {
            [Some(udp), Some(tcp)] => format!("({udp}) or ({tcp})"),
            [udp, tcp] => udp.or(tcp).unwrap_or_default(),
        }
    }
}

/// Name and wishes of the one package in what cargo says.
fn described(json: &[u8]) -> Result<(String, Wishes), String> {
    let metadata: Metadata = serde_json::from_slice(json)
        .map_err(|error| format!("[package.metadata.sluice]: {error}"))?;
    let [package] = <[Package; 1]>::try_from(metadata.packages)
        .map_err(|all| format!("one package was expected, {} are there", all.len()))?;
    let wishes = package.metadata.unwrap_or_default().sluice;
    let wishes = wishes.ok_or("it has no [package.metadata.sluice]: is it a library OS?")?;
    Ok((package.name, wishes))
}

#[cfg(test)]
mod tests {
    use super::{Project, Wishes, described};
    use crate::build::BuildError;

    fn project(udp: &[u16], tcp: &[u16]) -> Project {
        let wishes = Wishes { udp: udp.to_vec(), tcp: tcp.to_vec(), ..Wishes::default() };
        Project { name: "hello".to_owned(), manifest: "Cargo.toml".into(), wishes }
    }

    #[test]
    fn cargos_words_are_read() {
        let json = br#"{"packages":[{"name":"hello","metadata":{"sluice":{"udp":[7100],
            "frames":9}}}],"version":1}"#;
        let (name, wishes) = described(json).unwrap();
        assert_eq!(
            (name.as_str(), wishes.udp.as_slice(), wishes.frames),
            ("hello", &[7100][..], 9)
        );
        for (bad, why) in [
            (r#"{"packages":[]}"#, "0 are there"),
            (r#"{"packages":[{"name":"x"}]}"#, "is it a library OS"),
            (r#"{"packages":[{"name":"x","metadata":{"sluice":{"upd":[1]}}}]}"#, "upd"),
            (r#"{"packages":[{"name":"x","metadata":{"sluice":{"udp":[65536]}}}]}"#, "65536"),
            ("not json", "expected"),
        ] {
            let error = described(bad.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn its_machine_holds_netd_and_itself() {
        let manifest = project(&[7100, 7101], &[8080]).cast().unwrap();
        let names: Vec<&str> = manifest.environments.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(names, ["netd", "hello"]);
        let grant = &manifest.grants[1];
        let frame = crate::wire::frames::udp(4000, 7101, b"x");
        let program = ebpf::decode(&grant.receive, ebpf::Kind::Filter, 4096).unwrap();
        assert!(ebpf::interp::accepts(&program, &frame).unwrap(), "{}", grant.expression);
        assert!(grant.expression.contains("tcp") && grant.expression.contains("8080"));
        let none = project(&[], &[]).cast().unwrap();
        assert_eq!((none.grants.len(), none.environments[1].grants.len()), (1, 0));
        let mut same = project(&[1], &[]);
        same.name = "netd".to_owned();
        assert!(matches!(same.cast(), Err(BuildError::Project { .. })));
    }

    #[test]
    fn what_is_no_project_is_said() {
        let place = tempfile::tempdir().unwrap();
        let error = Project::read(place.path()).unwrap_err().to_string();
        assert!(error.contains("cargo run -- new"), "{error}");
        std::fs::write(place.path().join("Cargo.toml"), "[nonsense").unwrap();
        assert!(matches!(Project::read(place.path()), Err(BuildError::Project { .. })));
    }
}
