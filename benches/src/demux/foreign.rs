//! Contestants in C: libpcap's interpreter and DPDK's libraries.
//!
//! Their sources are in `benches/foreign/`, built here with the machine's own compiler against the
//! distribution's packages; who lacks a package is named with what is missing. Each is a process of
//! its own that reads the workload from a file, checks its answers, and then takes a turn whenever
//! it is told to, timed by its own processor time (`workload.h` describes the conversation).

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::workload::{Variant, Workload};

/// One program in C, and what it takes to build it.
#[derive(Clone, Copy, Debug)]
struct Source {
    name: &'static str,
    /// As `pkg-config` knows it.
    library: &'static str,
    /// The distribution's package, to be named where it is missing.
    package: &'static str,
    /// More filters would take it minutes.
    most: usize,
}

const SOURCES: [Source; 2] = [
    Source { name: "pcap", library: "libpcap", package: "libpcap-dev", most: 1_000 },
    Source { name: "dpdk", library: "libdpdk", package: "libdpdk-dev", most: 100_000 },
];

/// A process that takes turns.
#[derive(Debug)]
pub struct Foreign {
    /// Its rows' names.
    pub rows: Vec<&'static str>,
    child: Child,
    talk: RefCell<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Foreign {
    /// All that this machine can build and run on a workload; why others cannot is added to
    /// `skipped`.
    #[must_use]
    pub fn all(workload: &Workload, skipped: &mut Vec<String>) -> Vec<Foreign> {
        if !matches!(workload.variant, Variant::Udp | Variant::Tcp5) {
            return Vec::new();
        }
        let wanted = SOURCES.iter().filter(|source| workload.keys.len() <= source.most);
        let start = |source: &Source| {
            let program = source.build()?;
            start(&program, workload).map_err(|error| format!("{}: {error}", source.name))
        };
        let tried = wanted.map(start);
        tried.filter_map(|tried| tried.map_err(|why| skipped.push(why)).ok()).collect()
    }

    /// One turn: nanoseconds per frame.
    #[must_use]
    pub fn turn(&self, row: usize) -> f64 {
        let mut talk = self.talk.borrow_mut();
        let (to, from) = &mut *talk;
        let told = writeln!(to, "{row}").and_then(|()| to.flush());
        told.ok().and_then(|()| said(from)).and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // It ends by itself when nobody talks to it any more; this is for one that does not listen.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Source {
    /// Builds the program: where it is, or what is missing.
    fn build(&self) -> Result<PathBuf, String> {
        let Source { name, library, package, .. } = self;
        let flags = output(Command::new("pkg-config").args(["--cflags", "--libs", library]));
        let flags = flags.ok_or_else(|| format!("{name}: package {package} is not installed"))?;
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/foreign");
        let target =
            std::env::temp_dir().join(format!("sluice-demux-{name}-{}", std::process::id()));
        if target.exists() {
            return Ok(target);
        }
        let mut compiler = Command::new("cc");
        compiler.args(["-O3", "-march=native"]).arg(format!("{folder}/{name}.c"));
        compiler.arg("-o").arg(&target).args(flags.split_whitespace());
        output(&mut compiler).map(|_| target).ok_or_else(|| format!("{name}: cc does not build it"))
    }
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

fn start(program: &PathBuf, workload: &Workload) -> Result<Foreign, String> {
    let mut file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    file.write_all(&as_bytes(workload)).map_err(|error| error.to_string())?;
    let mut child = Command::new(program)
        .arg(file.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
        return Err("no pipes".to_owned());
    };
    let mut from = BufReader::new(from);
    let greeting = said(&mut from).unwrap_or_else(|| "it ended without a word".to_owned());
    let Some(names) = greeting.strip_prefix("ready ") else {
        let _status = child.wait();
        return Err(greeting);
    };
    // A few names, for the life of the bench.
    let rows = names.split('|').map(|name| &*name.to_owned().leak()).collect();
    Ok(Foreign { rows, child, talk: RefCell::new((to, from)) })
}

/// The next line that is meant for us.
fn said(from: &mut BufReader<ChildStdout>) -> Option<String> {
    let mut lines = from.lines().map_while(Result::ok);
    lines.find_map(|line| line.strip_prefix("sluice: ").map(str::to_owned))
}

/// The file that `workload.h` reads.
fn as_bytes(workload: &Workload) -> Vec<u8> {
    let udp = u32::from(workload.variant == Variant::Udp);
    let head = [udp, workload.keys.len() as u32, workload.frames.len() as u32, 0];
    let mut bytes: Vec<u8> = head.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.extend(workload.keys.iter().flat_map(|key| key.to_le_bytes()));
    bytes.extend(workload.frames.iter().flatten());
    bytes.extend(workload.owners.iter().flat_map(|owner| owner.to_le_bytes()));
    bytes
}
