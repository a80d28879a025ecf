//! The same program in uBPF's compiler, in a process of its own.
//!
//! No distribution has uBPF as a package. `SLUICE_UBPF` names a checkout of
//! `https://github.com/iovisor/ubpf`; its sources are built here with the machine's own compiler
//! together with `benches/foreign/ubpf.c`, which says how it is talked to. Without retpolines, and
//! without tests of bounds: programs come proven.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::rbpf::widened;

/// The variable that names the checkout.
const CHECKOUT: &str = "SLUICE_UBPF";

/// One process with at most one program.
#[derive(Debug)]
pub struct Ubpf {
    child: Child,
    talk: RefCell<(ChildStdin, BufReader<ChildStdout>)>,
}

/// uBPF, built.
#[derive(Debug)]
pub struct Built {
    program: PathBuf,
    _folder: tempfile::TempDir,
}

impl Built {
    /// Builds it.
    ///
    /// # Errors
    /// What is missing, in words.
    pub fn new() -> Result<Built, String> {
        let checkout = std::env::var_os(CHECKOUT)
            .ok_or_else(|| format!("{CHECKOUT} names no checkout of github.com/iovisor/ubpf"))?;
        let machine = Path::new(&checkout).join("vm");
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let config = "#pragma once\n#define UBPF_DISABLE_RETPOLINES\n";
        let written = std::fs::write(folder.path().join("ubpf_config.h"), config);
        written.map_err(|error| error.to_string())?;
        let program = folder.path().join("ubpf");
        let sources = std::fs::read_dir(&machine).map_err(|error| error.to_string())?;
        let sources = sources.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with("ubpf_") && name.ends_with(".c")
        });
        let harness = concat!(env!("CARGO_MANIFEST_DIR"), "/foreign/ubpf.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-march=native", "-D_GNU_SOURCE", "-w", "-I"]).arg(folder.path());
        compiler.arg("-I").arg(machine.join("inc")).arg("-I").arg(&machine).arg(harness);
        compiler.args(sources).arg("-o").arg(&program).arg("-lm");
        match compiler.output() {
            Ok(output) if output.status.success() => Ok(Built { program, _folder: folder }),
            Ok(_) => Err("cc does not build uBPF".to_owned()),
            Err(error) => Err(format!("cc: {error}")),
        }
    }

    /// Loads and compiles a packet program that was proven safe; `None` if uBPF refuses it.
    #[must_use]
    pub fn load(&self, bytecode: &[u8]) -> Option<Ubpf> {
        let mut command = Command::new(&self.program);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.spawn().ok()?;
        let talk = (child.stdin.take()?, BufReader::new(child.stdout.take()?));
        let loaded = Ubpf { child, talk: RefCell::new(talk) };
        let greeted = loaded.answer("").filter(|text| text == "ready");
        let answer = greeted
            .and_then(|_| loaded.answer(&format!("load {}\n", hexadecimal(&widened(bytecode)))));
        answer.filter(|text| text == "ok").map(|_| loaded)
    }
}

impl Ubpf {
    /// Runs the program on a frame: its result, and the frame afterwards.
    #[must_use]
    pub fn run(&self, frame: &[u8]) -> Option<(u64, Vec<u8>)> {
        let answer = self.answer(&format!("run {}\n", hexadecimal(frame)))?;
        let (result, after) = answer.split_once(' ')?;
        let pairs = after.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
        let bytes = pairs.map(|pair| u8::from_str_radix(pair?, 16).ok());
        Some((result.parse().ok()?, bytes.collect::<Option<_>>()?))
    }

    /// Nanoseconds of one call on the frame of the last [`Ubpf::run`], over so many.
    #[must_use]
    pub fn turn(&self, calls: u64) -> f64 {
        let answer = self.answer(&format!("turn {calls}\n"));
        answer.and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
    }

    fn answer(&self, line: &str) -> Option<String> {
        let (to, from) = &mut *self.talk.borrow_mut();
        to.write_all(line.as_bytes()).and_then(|()| to.flush()).ok()?;
        let mut text = String::new();
        from.read_line(&mut text).ok()?;
        Some(text.trim_end().to_owned())
    }
}

impl Drop for Ubpf {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _never_fails = write!(text, "{byte:02x}");
        text
    })
}
