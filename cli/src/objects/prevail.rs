//! What PREVAIL says of the same programs, where somebody has it.
//!
//! The command is named by the environment variable `PREVAIL`; without it the column is left out by
//! name. PREVAIL reads the object itself, so its verdict covers its reader as well. Times are of
//! the processor, as its process spent it; a process that only lists the programs of the same
//! object says how much of that is no proof.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions};

use crate::limits::POLL;

/// How long one program may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The command.
#[derive(Clone, Debug)]
pub struct Prevail {
    command: PathBuf,
}

/// What it said of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it passed; `None` if there was no answer in time, or no such program for it.
    pub passed: Option<bool>,
    /// Processor time of the process.
    pub time: Duration,
    /// Of a process that reads the same object and proves nothing.
    pub reading: Duration,
}

impl Prevail {
    /// The command that the environment names, if it does.
    pub fn here() -> Option<Self> {
        Some(Self { command: std::env::var_os("PREVAIL")?.into() })
    }

    /// Its verdict on a program. It calls a function without a type by its section's name.
    pub fn judge(&self, file: &Path, section: &str, program: &str) -> Verdict {
        let (passed, time) = self.ask(file, &[section, program]);
        let (passed, time) = match passed {
            None if time < PATIENCE => self.ask(file, &[section, section]),
            _ => (passed, time),
        };
        Verdict { passed, time, reading: self.ask(file, &["-l"]).1 }
    }

    /// Its verdict on a program that stands in a file for it alone, without times.
    pub fn accepts(&self, file: &Path, section: &str, program: &str) -> Option<bool> {
        self.ask(file, &[section, program]).0
    }

    fn ask(&self, file: &Path, rest: &[&str]) -> (Option<bool>, Duration) {
        let child = Command::new(&self.command)
            .arg(file)
            .args(rest)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = child else { return (None, Duration::ZERO) };
        let Some(time) = ended(&child) else {
            let _ = child.kill();
            let _ = child.wait();
            return (None, PATIENCE);
        };
        let text = child.stdout.take().and_then(|out| std::io::read_to_string(out).ok());
        let _ = child.wait();
        let passed = text.and_then(|text| match (text.contains("PASS"), text.contains("FAIL")) {
            (true, false) => Some(true),
            (false, true) => Some(false),
            _ => None,
        });
        (passed, time)
    }
}

/// The processor time of a process when it has ended, before it is gone; none if it does not end.
/// Its answer is short enough for the pipe.
fn ended(child: &Child) -> Option<Duration> {
    let (start, path) = (Instant::now(), format!("/proc/{}/schedstat", child.id()));
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw)?;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    while rustix::process::waitid(WaitId::Pid(id), options).ok()?.is_none() {
        if start.elapsed() >= PATIENCE {
            return None;
        }
        std::thread::sleep(POLL / 20);
    }
    let text = std::fs::read_to_string(path).ok()?;
    Some(Duration::from_nanos(text.split_whitespace().next()?.parse().ok()?))
}
