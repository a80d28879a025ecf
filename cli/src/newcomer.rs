//! `sluice evidence newcomer`: the way from a fresh clone to a service of one's own that answers,
//! timed step by step.
//!
//! The commands are those of the README and of `docs/guide.md`. They run in a clone of this tree,
//! in a directory of its own with nothing built in it; only what cargo and the system's packages
//! have fetched before is there already, and the report says so.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Error};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::attacks::commit;
use crate::build::workspace;
use crate::limits;

/// What the whole way may take.
const TARGET: Duration = Duration::from_secs(15 * 60);
/// The service's name, and how the line begins that says where it is reached.
const NAME: &str = "hello";
const REACHED: &str = "UDP port 7100 of hello is ";

/// A step, and how long it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The command, as a person types it.
    pub command: String,
    /// From its start to its end, or to the answer.
    pub took: Duration,
}

/// Goes the whole way.
///
/// # Errors
/// What a command said that failed.
pub fn run(progress: impl Fn(&str)) -> Result<Vec<Step>, Error> {
    let place = tempfile::Builder::new().prefix("sluice-newcomer-").tempdir()?;
    let clone = place.path().join("sluice");
    let mut steps = Vec::new();
    let mut step = |words: &[&str], within: &Path| -> Result<(), Error> {
        let command = words.join(" ");
        progress(&command);
        let begin = Instant::now();
        let output = command_in(words, within).stdin(Stdio::null()).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Error::other(format!("{command}: {}\n{said}", output.status)));
        }
        steps.push(Step { command, took: begin.elapsed() });
        Ok(())
    };
    let from = workspace();
    let tree = from.to_string_lossy();
    step(&["git", "clone", "--quiet", &tree, "sluice"], place.path())?;
    step(&["cargo", "run", "--", "demo"], &clone)?;
    step(&["cargo", "run", "--", "new", NAME], &clone)?;
    let begin = Instant::now();
    progress("cargo run -- run hello");
    answered(&clone)?;
    steps.push(Step {
        command: "cargo run -- run hello, and its answer".to_owned(),
        took: begin.elapsed(),
    });
    if let Some(first) = steps.first_mut() {
        first.command = "git clone ... sluice; cd sluice".to_owned();
    }
    Ok(steps)
}

/// Runs the service until it has answered, by its ASH and in ring 3, and ends it as Ctrl-C does.
fn answered(clone: &Path) -> Result<(), Error> {
    let mut command = command_in(&["cargo", "run", "--", "run", NAME], clone);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let outcome = asked(&mut child);
    // It has cargo in front of it, and passes the signal on.
    if let Some(process) = rustix::process::Pid::from_raw(child.id().cast_signed()) {
        let _ = rustix::process::kill_process(process, rustix::process::Signal::INT);
    }
    let _ = child.wait();
    outcome
}

fn asked(child: &mut Child) -> Result<(), Error> {
    let output = child.stdout.take().ok_or_else(|| Error::other("no output"))?;
    let mut address = None;
    for line in BufReader::new(output).lines() {
        let line = line?;
        if let Some((_, at)) = line.split_once(REACHED) {
            address = Some(at.trim().to_owned());
        }
        if line.contains("is answered by the ASH") {
            break;
        }
    }
    let address = address.ok_or_else(|| Error::other("no port was named"))?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(&address)?;
    socket.set_read_timeout(Some(limits::REPLY))?;
    for (question, wanted) in [("ping", "pong"), ("hello", "hello heard hello")] {
        socket.send(question.as_bytes())?;
        let mut bytes = [0; 512];
        let count = socket.recv(&mut bytes)?;
        if &bytes[..count] != wanted.as_bytes() {
            let got = String::from_utf8_lossy(&bytes[..count]).into_owned();
            return Err(Error::other(format!("`{question}` was answered by `{got}`")));
        }
    }
    Ok(())
}

/// As in a shell of its own: what this build was told is not passed on.
fn command_in(words: &[&str], within: &Path) -> Command {
    let mut command = Command::new(words.first().copied().unwrap_or_default());
    command.args(words.get(1..).unwrap_or_default()).current_dir(within);
    for (name, _) in std::env::vars_os() {
        let told = name.to_string_lossy();
        if told.starts_with("CARGO_") && told != "CARGO_HOME" || told.starts_with("GIT_") {
            command.env_remove(&name);
        }
    }
    command.env_remove("RUSTFLAGS");
    command
}

/// `docs/evidence/newcomer.md`.
#[must_use]
pub fn report(steps: &[Step], load: &str) -> String {
    let all: Duration = steps.iter().map(|step| step.took).sum();
    let mut text = String::from("# From a fresh clone to a service of one's own\n\n");
    // Writing to a string never fails.
    let _ = writeln!(
        text,
        "Made by `cargo run -- evidence newcomer`, commit {}, on {} processors{load}. Nothing was \
         built before; crates and\npackages had been fetched.\n\n| command | seconds |\n|---|---:|",
        commit(),
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    );
    for step in steps {
        let _ = writeln!(text, "| `{}` | {} |", step.command, step.took.as_secs());
    }
    let verdict = if all <= TARGET { "met" } else { "**missed**" };
    let _ = writeln!(text, "| all of it | {} |\n\nTarget: 15 minutes, {verdict}.", all.as_secs());
    text
}

/// How busy the host is, if it says so.
pub fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split_whitespace().next().map(str::to_owned);
    first.map(|load| format!(" with a load of {load} when it began")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Step, report};
    use std::time::Duration;

    #[test]
    fn the_sum_decides() {
        let step = |command: &str, seconds| Step {
            command: command.to_owned(),
            took: Duration::from_secs(seconds),
        };
        let text = report(&[step("a", 400), step("b", 500)], "");
        assert!(text.contains("| `a` | 400 |") && text.contains("| all of it | 900 |"));
        assert!(text.contains("minutes, met."));
        assert!(report(&[step("a", 901)], "").contains("**missed**"));
    }
}
