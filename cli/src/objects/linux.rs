//! What the host's kernel says of the same programs.
//!
//! The peer is a process of `benches/`, because only that may call `bpf(2)`; it gets the linked
//! instructions, the maps and their contents line by line, and answers with verdicts. It needs
//! root and is left out by name where that is not given.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use ebpf::object::{Object, ObjectProgram};
use serde::Serialize;

use crate::build;

/// The peer, running.
#[derive(Debug)]
pub struct Linux {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

/// What the kernel said of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Whether it took it.
    pub accepted: bool,
    /// Microseconds that its verifier took, by its own log.
    pub micros: Option<u64>,
    /// Instructions that its verifier walked, by its own log.
    pub processed: Option<u64>,
    /// The last line of its log, and the error.
    pub reason: String,
}

impl Linux {
    /// Builds and starts the peer, with all that root may.
    ///
    /// # Errors
    /// Why it cannot be had: no root, no `bpf`, or it does not build.
    pub fn start() -> Result<Self, String> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        Self::with(Command::new(cargo))
    }

    /// The same with `CAP_BPF` and `CAP_NET_ADMIN`, but without `CAP_PERFMON` and `CAP_SYS_ADMIN`:
    /// the kernel then refuses programs that show addresses or read what was on the stack before.
    ///
    /// # Errors
    /// As [`Self::start`]; or there is no `setpriv`.
    pub fn start_guarded() -> Result<Self, String> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new("setpriv");
        command.arg("--bounding-set=-sys_admin,-perfmon").arg(cargo);
        Self::with(command)
    }

    fn with(mut cargo: Command) -> Result<Self, String> {
        let mut child = cargo
            .args(["run", "--quiet", "--release", "-p", "sluice-benches", "--example", "linux"])
            .current_dir(build::workspace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("the peer does not start: {error}"))?;
        let (to, from) = (child.stdin.take(), child.stdout.take());
        let (Some(to), Some(from)) = (to, from) else { return Err("no pipes".to_owned()) };
        let mut linux = Self { child, to, from: BufReader::new(from) };
        // The least program there is: `r0 = 2; exit`.
        let answer = linux.ask("load b7000000020000009500000000000000")?;
        match answer.starts_with("accepted") {
            true => Ok(linux),
            false => Err(format!("bpf(2) is not for this process: {answer}")),
        }
    }

    /// The kernel's verdict on a program of an object.
    ///
    /// # Errors
    /// The peer went away, or could not make the program's maps.
    pub fn judge(&mut self, object: &Object, program: &ObjectProgram) -> Result<Verdict, String> {
        let linked = program.program().map_err(ToString::to_string)?;
        let mut text = String::new();
        for (spec, map) in linked.maps().iter().zip(program.maps()) {
            let initial = object.maps().get(*map).map_or(&[][..], |map| map.initial());
            let (kind, read_only) = (spec.kind.number(), u8::from(spec.read_only));
            let sizes = [spec.key_size, spec.value_size, spec.max_entries];
            let _ = write!(text, "map {kind} {} {} {} {read_only} ", sizes[0], sizes[1], sizes[2]);
            let _ = writeln!(text, "{}", hex(initial));
        }
        let _ = write!(text, "load {}", hex(&ebpf::encode(linked)));
        let answer = self.ask(&text)?;
        verdict(&answer).ok_or(answer)
    }

    /// The kernel's verdict on a program whose maps are empty.
    ///
    /// # Errors
    /// The peer went away, or could not make the program's maps.
    pub fn judge_program(&mut self, program: &ebpf::Program) -> Result<Verdict, String> {
        let mut text = String::new();
        for spec in program.maps() {
            let (kind, read_only) = (spec.kind.number(), u8::from(spec.read_only));
            let sizes = [spec.key_size, spec.value_size, spec.max_entries];
            let _ =
                writeln!(text, "map {kind} {} {} {} {read_only} -", sizes[0], sizes[1], sizes[2]);
        }
        let _ = write!(text, "load {}", hex(&ebpf::encode(program)));
        let answer = self.ask(&text)?;
        verdict(&answer).ok_or(answer)
    }

    /// Runs the program that was accepted last: its result, and the frame afterwards; `None` if the
    /// kernel does not run it on such a frame.
    ///
    /// # Errors
    /// The peer went away.
    pub fn run(&mut self, frame: &[u8]) -> Result<Option<(u32, Vec<u8>)>, String> {
        let answer = self.ask(&format!("run {}", hex(frame)))?;
        let Some((result, after)) = answer.split_once(' ') else { return Ok(None) };
        let digits = after.as_bytes().chunks(2);
        let after = digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        Ok(result.parse().ok().zip(after.collect()))
    }

    fn ask(&mut self, lines: &str) -> Result<String, String> {
        let gone = |error: std::io::Error| format!("the peer went away: {error}");
        writeln!(self.to, "{lines}").map_err(gone)?;
        self.to.flush().map_err(gone)?;
        let mut answer = String::new();
        self.from.read_line(&mut answer).map_err(gone)?;
        Ok(answer.trim_end().to_owned())
    }
}

impl Drop for Linux {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The peer's answer to a `load`; none if it could not try.
fn verdict(answer: &str) -> Option<Verdict> {
    let mut words = answer.splitn(4, ' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let verdict = word();
    if !matches!(verdict.as_str(), "accepted" | "refused") {
        return None;
    }
    let (micros, processed) = (word().parse().ok(), word().parse().ok());
    Some(Verdict { accepted: verdict == "accepted", micros, processed, reason: word() })
}

fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "-".to_owned();
    }
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
