//! Every object below a folder, every program of them: our verdict, Linux's, PREVAIL's.
//!
//! A program is taken for an XDP program if its section says so, or if its section says nothing and
//! its file's name does (older objects put their programs into sections called `prog` or `2/1`).
//! What is of another type is counted and left alone.

use std::path::{Path, PathBuf};

use ebpf::Kind;
use ebpf::object::{Object, ObjectError, ObjectProgram, kind_of};

use super::linux::{self, Linux};
use super::prevail::{self, Prevail};
use super::{ObjectsError, Outcome, Row, read, row};

/// Folders below each other, at most.
const DEPTH_MAX: usize = 16;
/// Objects of one corpus, at most.
const FILES_MAX: usize = 20_000;

/// Loads of a program that Linux accepts.
const LOADS: u32 = 5;

/// How section names of other types of program begin (libbpf's table).
const OTHERS: [&str; 30] = [
    "action",
    "cgroup",
    "classifier",
    "fentry",
    "fexit",
    "flow_dissector",
    "fmod_ret",
    "freplace",
    "iter",
    "kprobe",
    "kretprobe",
    "ksyscall",
    "kretsyscall",
    "lirc",
    "lsm",
    "lwt",
    "netfilter",
    "perf_event",
    "raw_tp",
    "raw_tracepoint",
    "sk_",
    "sockops",
    "socket",
    "struct_ops",
    "syscall",
    "tc",
    "tp",
    "tracepoint",
    "uprobe",
    "uretprobe",
];

/// A program of the corpus with everybody's verdict.
#[derive(Debug)]
pub struct Judged {
    /// The folder below the corpus that the object is from.
    pub origin: String,
    /// Our row; its file is relative to the corpus.
    pub row: Row,
    /// Linux's verdict, or why there is none.
    pub linux: Result<linux::Verdict, String>,
    /// PREVAIL's verdict, if it was there.
    pub prevail: Option<prevail::Verdict>,
}

/// A corpus, judged.
#[derive(Debug, Default)]
pub struct Corpus {
    /// The XDP programs, by origin and file.
    pub programs: Vec<Judged>,
    /// Files that are objects for BPF and cannot be read, with the reason.
    pub unreadable: Vec<(PathBuf, ObjectError)>,
    /// Objects that were read.
    pub objects: usize,
    /// Programs of other types.
    pub others: usize,
}

/// What may be asked beside ourselves.
#[derive(Debug)]
pub struct Peers {
    /// The host's kernel, or why not.
    pub linux: Result<Linux, String>,
    /// PREVAIL, if the environment names it.
    pub prevail: Option<Prevail>,
}

impl Corpus {
    /// Judges every object below `root`.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn judge(
        root: &Path,
        peers: &mut Peers,
        progress: &dyn Fn(&str),
    ) -> Result<Self, ObjectsError> {
        let mut corpus = Self::default();
        for path in files(root)? {
            let below = path.strip_prefix(root).unwrap_or(&path).to_owned();
            progress(&below.to_string_lossy());
            let named =
                below.file_name().is_some_and(|name| name.to_string_lossy().contains("xdp"));
            match read(&path, &|section| purpose(section, named)) {
                Ok(object) => corpus.object(&path, &below, &object, peers),
                Err(ObjectsError::Object { source: ObjectError::NotBpf { .. }, .. }) => {}
                Err(ObjectsError::Object { source, .. }) => corpus.unreadable.push((below, source)),
                Err(error) => return Err(error),
            }
        }
        Ok(corpus)
    }

    fn object(&mut self, path: &Path, below: &Path, object: &Object, peers: &mut Peers) {
        self.objects += 1;
        let origin = below.parent().unwrap_or(Path::new("")).to_string_lossy().into_owned();
        for program in object.programs() {
            if matches!(program.program(), Err(ObjectError::ProgramType { .. })) {
                self.others += 1;
                continue;
            }
            let linux = match (&mut peers.linux, program.program()) {
                (_, Err(_)) => Err("not linked".to_owned()),
                (Ok(linux), Ok(_)) => best(linux, object, program),
                (Err(reason), Ok(_)) => Err(reason.clone()),
            };
            let (origin, row) = (origin.clone(), row(below, program));
            let mut judged = Judged { origin, row, linux, prevail: None };
            // What calls what is not here is in no figure of PREVAIL's.
            if let Some(peer) = peers.prevail.as_ref().filter(|_| judged.is_inside()) {
                judged.prevail = Some(peer.judge(path, program.section(), program.name()));
            }
            self.programs.push(judged);
        }
    }
}

impl Judged {
    /// Whether the program uses only what exists here: it links, and calls nothing unknown.
    pub fn is_inside(&self) -> bool {
        match &self.row.outcome {
            Outcome::NotLinked { .. } => false,
            Outcome::Accepted { .. } => true,
            Outcome::Refused { refusal, .. } => {
                !["unknown-helper", "kernel-function", "redirect"].contains(&refusal.code.as_str())
            }
        }
    }

    /// Linux's verdict, if there is one.
    pub fn linux_accepts(&self) -> Option<bool> {
        self.linux.as_ref().ok().map(|verdict| verdict.accepted)
    }
}

/// Linux's verdict; of a program that it accepts with the shortest time of a few, as ours is.
fn best(
    linux: &mut Linux,
    object: &Object,
    program: &ObjectProgram,
) -> Result<linux::Verdict, String> {
    let mut best = linux.judge(object, program)?;
    for _ in 1..if best.accepted { LOADS } else { 1 } {
        let verdict = linux.judge(object, program)?;
        best.micros = best.micros.zip(verdict.micros).map(|(best, micros)| best.min(micros));
    }
    Ok(best)
}

/// What a program is for, by its section, then by its file.
fn purpose(section: &str, named: bool) -> Option<Kind> {
    match kind_of(section) {
        Some(Kind::Ash) => Some(Kind::Ash),
        _ if OTHERS.iter().any(|other| section.starts_with(other)) => None,
        _ => named.then_some(Kind::Ash),
    }
}

/// Every file below a folder that begins as an ELF file, in order.
fn files(root: &Path) -> Result<Vec<PathBuf>, ObjectsError> {
    let mut found = Vec::new();
    let mut folders = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let failed = |source| ObjectsError::File { path: folder.clone(), source };
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
            if kind.is_dir() && depth < DEPTH_MAX {
                folders.push((path, depth + 1));
            } else if kind.is_file() && found.len() < FILES_MAX && super::is_object(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
