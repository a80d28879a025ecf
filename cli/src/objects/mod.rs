//! Objects on the host: every program of an ELF file through the proof, one row each.
//!
//! A row says what the kernel would say of the program, without a kernel: accepted, with its worst
//! case; refused, with the whole refusal; or not linked, because the object asks for something that
//! does not exist here. Time is the processor time of the shortest of a few proofs of the same
//! program, memory the most heap that one of them held beyond what was held before it.

pub mod corpus;
pub mod linux;
pub mod prevail;
pub mod table;
#[cfg(test)]
mod tests;
pub mod write;

use std::path::{Path, PathBuf};
use std::task::Poll;
use std::time::Duration;

use ebpf::object::{Object, ObjectProgram, SourceLine, kind_of};
use ebpf::{Kind, Program};
use peak_alloc::PeakAlloc;
use serde::Serialize;
use verifier::{Fuel, Refusal, SafetyProof, Verified};

use crate::progress::Progress;
use crate::{attacks, refusal};

/// Counts what the process holds, so that a proof's memory can be told.
#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Proofs of one program go on until they have taken so long together, or are so many.
const REPEAT: (Duration, u32) = (Duration::from_millis(5), 9);

/// Why an object gives no rows.
#[derive(Debug, thiserror::Error)]
pub enum ObjectsError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no object that can be read.
    #[error("{}: {source}", path.display())]
    Object {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ebpf::object::ObjectError,
    },
}

/// A program of an object, judged.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The file.
    pub file: PathBuf,
    /// The section that the program is in.
    pub section: String,
    /// The program's name.
    pub program: String,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of a program.
#[derive(Debug, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Outcome {
    /// The object asks for something that does not exist here.
    NotLinked {
        /// What.
        message: String,
    },
    /// It was proven safe.
    Accepted {
        /// The most instructions that a run takes.
        worst_case: u64,
        /// What the proof took.
        #[serde(flatten)]
        effort: Effort,
    },
    /// It was not.
    Refused {
        /// Why, with everything that helps.
        refusal: Box<refusal::Explanation>,
        /// The whole refusal as text.
        #[serde(skip)]
        text: String,
        /// What the proof took.
        #[serde(flatten)]
        effort: Effort,
    },
}

/// What a proof took.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Effort {
    /// Length of the program, called functions included, in instructions.
    pub instructions: usize,
    /// Work units, of about a hundred machine instructions at most each.
    pub work: u64,
    /// The shortest time of a few proofs, in nanoseconds.
    pub nanos: u64,
    /// Peak of the heap, in bytes.
    pub bytes: usize,
}

impl Row {
    /// One line for people.
    pub fn line(&self) -> String {
        let Self { file, section, program, outcome } = self;
        let name = format!("{}: {program} ({section})", file.display());
        match outcome {
            Outcome::NotLinked { message } => format!("{name}: not linked: {message}"),
            Outcome::Accepted { worst_case, effort } => {
                format!("{name}: accepted, at most {worst_case} steps; {}", effort.line())
            }
            Outcome::Refused { refusal, effort, .. } => {
                let pc = refusal.instruction.map_or(String::new(), |pc| format!("{pc}: "));
                format!("{name}: refused: {pc}{}; {}", refusal.message, effort.line())
            }
        }
    }

    /// The whole refusal, if it is one.
    pub fn whole(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Refused { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Whether it was proven safe.
    pub const fn is_accepted(&self) -> bool {
        matches!(self.outcome, Outcome::Accepted { .. })
    }
}

impl Effort {
    fn line(&self) -> String {
        let Self { instructions, work, nanos, bytes } = self;
        let micros = *nanos as f64 / 1e3;
        let kib = bytes.div_ceil(1024);
        format!("{instructions} instructions, {work} units, {micros:.1} us, {kib} KiB")
    }
}

/// Judges every object below a folder and writes the table, `docs/evidence/objects.md`. True.
///
/// # Errors
/// A file that cannot be read, or the report that cannot be written.
pub fn evidence(folder: &Path) -> Result<bool, ObjectsError> {
    let progress = Progress::spinner("judging objects");
    let mut peers =
        corpus::Peers { linux: linux::Linux::start(), prevail: prevail::Prevail::here() };
    let corpus = corpus::Corpus::judge(folder, &mut peers, &|file| progress.now(file))?;
    progress.done("done");
    let report = table::report(&corpus, &peers);
    let path = attacks::write("objects.md", &report)
        .map_err(|source| ObjectsError::File { path: "docs/evidence/objects.md".into(), source })?;
    let (all, ours) = table::share(&corpus);
    println!("{ours} of {all} accepted that Linux accepts; {}", path.display());
    Ok(true)
}

/// Whether a file is an object rather than assembly or raw instructions.
pub fn is_object(path: &Path) -> bool {
    let mut magic = [0; 4];
    let read = std::fs::File::open(path)
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut magic));
    read.is_ok() && magic == *b"\x7fELF"
}

/// Judges every program of an object. What a program is for follows from its section, unless it is
/// given.
///
/// # Errors
/// [`ObjectsError`]; what is wrong with one program is in its row.
pub fn judge(path: &Path, kind: Option<Kind>) -> Result<Vec<Row>, ObjectsError> {
    let object = read(path, &|section| kind.or_else(|| kind_of(section)))?;
    Ok(object.programs().iter().map(|program| row(path, program)).collect())
}

/// Reads an object.
///
/// # Errors
/// [`ObjectsError`].
pub fn read(path: &Path, kind: &dyn Fn(&str) -> Option<Kind>) -> Result<Object, ObjectsError> {
    let file = path.to_owned();
    let bytes =
        std::fs::read(path).map_err(|source| ObjectsError::File { path: file.clone(), source })?;
    Object::parse_with(&bytes, kind).map_err(|source| ObjectsError::Object { path: file, source })
}

/// Judges one program of an object.
pub fn row(path: &Path, program: &ObjectProgram) -> Row {
    let outcome = match program.program() {
        Err(error) => Outcome::NotLinked { message: error.to_string() },
        Ok(linked) => proven(linked, &|pc| program.line(pc)),
    };
    Row {
        file: path.to_owned(),
        section: program.section().to_owned(),
        program: program.name().to_owned(),
        outcome,
    }
}

/// Judges a program.
pub fn proven<'a>(program: &Program, line: &dyn Fn(u32) -> Option<SourceLine<'a>>) -> Outcome {
    let (mut answer, mut effort) = once(program);
    let mut spent = Duration::from_nanos(effort.nanos);
    for _ in 1..REPEAT.1 {
        if spent > REPEAT.0 {
            break;
        }
        let again = once(program);
        spent += Duration::from_nanos(again.1.nanos);
        effort.nanos = effort.nanos.min(again.1.nanos);
        answer = again.0;
    }
    match answer {
        Ok(verified) => Outcome::Accepted { worst_case: u64::from(verified.worst_case()), effort },
        Err(refusal) => {
            let source = |pc| line(pc).map(owned);
            let refusal = Box::new(refusal::explain(program, &refusal, &source));
            Outcome::Refused { text: refusal.text(false), refusal, effort }
        }
    }
}

fn owned(line: SourceLine<'_>) -> refusal::SourceLine {
    let SourceLine { file, line, column, text } = line;
    refusal::SourceLine { file: file.to_owned(), line, column, text: text.to_owned() }
}

/// Processor time of this thread: a busy machine does not lengthen it.
fn processor_nanos() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// One proof, and what it took.
fn once(program: &Program) -> (Result<Verified, Refusal>, Effort) {
    let mut proof = SafetyProof::new(program.clone());
    HEAP.reset_peak_usage();
    let (before, start) = (HEAP.current_usage(), processor_nanos());
    let mut work = 0;
    let answer = loop {
        let mut fuel = Fuel::UNLIMITED;
        let step = proof.step(&mut fuel);
        work += u64::from(Fuel::UNLIMITED.0 - fuel.0);
        if let Poll::Ready(answer) = step {
            break answer;
        }
    };
    let nanos = processor_nanos().saturating_sub(start);
    let bytes = HEAP.peak_usage().saturating_sub(before);
    (answer, Effort { instructions: program.len(), work, nanos, bytes })
}
