//! What PREVAIL says of the same programs, where somebody has it.
//!
//! The command is named by the environment variable `PREVAIL`; without it the column is left out by
//! name. PREVAIL reads the object itself, so its verdict covers its reader as well.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

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
    /// How long the process took.
    pub time: Duration,
}

impl Prevail {
    /// The command that the environment names, if it does.
    pub fn here() -> Option<Self> {
        Some(Self { command: std::env::var_os("PREVAIL")?.into() })
    }

    /// Its verdict on a program. It calls a function without a type by its section's name.
    pub fn judge(&self, file: &Path, section: &str, program: &str) -> Verdict {
        let verdict = self.ask(file, section, program);
        if verdict.passed.is_some() || verdict.time >= PATIENCE {
            return verdict;
        }
        self.ask(file, section, section)
    }

    fn ask(&self, file: &Path, section: &str, program: &str) -> Verdict {
        let start = Instant::now();
        let child = Command::new(&self.command)
            .args([file.as_os_str(), section.as_ref(), program.as_ref()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = child else { return Verdict { passed: None, time: start.elapsed() } };
        loop {
            match child.try_wait() {
                Ok(Some(_)) => break,
                Ok(None) if start.elapsed() < PATIENCE => std::thread::sleep(POLL / 5),
                _ => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Verdict { passed: None, time: start.elapsed() };
                }
            }
        }
        let time = start.elapsed();
        let text = child.stdout.and_then(|out| std::io::read_to_string(out).ok());
        let passed = text.and_then(|text| match (text.contains("PASS"), text.contains("FAIL")) {
            (true, false) => Some(true),
            (false, true) => Some(false),
            _ => None,
        });
        Verdict { passed, time }
    }
}
