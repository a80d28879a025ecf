//! `sluice check`: what the kernel would make of a filter, without a kernel.
//!
//! An expression is lowered to a program first; a file holds a program, as assembly text or as raw
//! instructions. The program then goes through the same proofs as in the kernel: decode, safe,
//! claim. An ELF object holds several programs, which are linked and proven safe one by one.

use std::path::{Path, PathBuf};
use std::task::Poll;

use ebpf::{Kind, Program};
use verifier::{Claim, ClaimProof, Fuel, Refusal, SafetyProof, Step};

use crate::build::cast;
use crate::objects::{self, ObjectsError, Row};

/// Why there is no claim to show.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text is no expression.
    #[error("`{text}` is no expression: {reason}")]
    Expression {
        /// The text.
        text: String,
        /// What the parser or the lowering said.
        reason: String,
    },
    /// The text is no assembly.
    #[error("{}: {reason}", path.display())]
    Assembly {
        /// The file.
        path: PathBuf,
        /// What the assembler said.
        reason: String,
    },
    /// The bytes are no program.
    #[error("no program: {0}")]
    Malformed(String),
    /// A proof failed.
    #[error("refused: {text}")]
    Refused {
        /// The reason, the instruction, and the witness if there is one.
        text: String,
    },
}

/// How objects are shown.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Shown {
    /// Whole refusals.
    #[arg(short, long)]
    verbose: bool,
    /// Objects: one array of records instead of lines.
    #[arg(long)]
    json: bool,
    /// What all programs of an object are for; otherwise their sections' names say it.
    #[arg(long, value_enum)]
    kind: Option<Purpose>,
}

/// What a program is for, on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Purpose {
    /// Says whether a packet is its owner's.
    Filter,
    /// Handles packets, by XDP's conventions.
    Ash,
    /// Works on a buffer.
    Memory,
}

impl Purpose {
    /// The kind of program.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Filter => Kind::Filter,
            Self::Ash => Kind::Ash,
            Self::Memory => Kind::Memory,
        }
    }
}

/// What a check shows.
#[derive(Debug)]
pub struct Checked {
    /// The program.
    pub program: Program,
    /// Its claim: the frames that it accepts.
    pub claim: Claim,
}

impl Checked {
    /// For people.
    pub fn text(&self) -> String {
        format!(
            "claim: {}\n\n{}",
            flow::expr::describe(self.claim.space()),
            ebpf::disasm::disassemble(&self.program)
        )
    }
}

/// Checks and prints. True if everything was accepted.
///
/// # Errors
/// What is refused as a whole; a refused program of an object is a line of its own.
pub fn run(what: &[String], shown: &Shown) -> Result<bool, Box<dyn std::error::Error>> {
    if !what.iter().all(|path| objects::is_object(Path::new(path))) {
        println!("{}", check(&what.join(" "))?.text());
        return Ok(true);
    }
    let kind = shown.kind.map(Purpose::kind);
    let rows = what.iter().map(|path| objects::judge(Path::new(path), kind));
    let rows: Vec<Row> =
        rows.collect::<Result<Vec<_>, ObjectsError>>()?.into_iter().flatten().collect();
    if shown.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        for row in &rows {
            println!("{}", row.line());
            if let Some(text) = row.whole().filter(|_| shown.verbose) {
                println!("{text}\n");
            }
        }
    }
    Ok(!rows.is_empty() && rows.iter().all(Row::is_accepted))
}

/// Checks a file if there is one of that name, otherwise an expression.
///
/// # Errors
/// [`CheckError`] says which stage refused, and where.
pub fn check(what: &str) -> Result<Checked, CheckError> {
    let path = Path::new(what);
    let bytes = if path.is_file() { read(path)? } else { expression(what)? };
    let limit = ebpf::limits::HOST_SLOTS;
    let program = ebpf::decode(&bytes, Kind::Filter, limit)
        .map_err(|error| CheckError::Malformed(error.to_string()))?;
    let refused = |refusal| refused(&program, &refusal);
    let mut safety = SafetyProof::new(program.clone());
    let verified = finish(|fuel| safety.step(fuel)).map_err(refused)?;
    let mut proof = ClaimProof::new(verified);
    let claim = finish(|fuel| proof.step(fuel)).map_err(refused)?;
    Ok(Checked { program, claim })
}

fn expression(text: &str) -> Result<Vec<u8>, CheckError> {
    cast::filter(text).map_err(|reason| CheckError::Expression { text: text.to_owned(), reason })
}

/// A program's bytes; a file that is text is assembly.
fn read(path: &Path) -> Result<Vec<u8>, CheckError> {
    let bytes =
        std::fs::read(path).map_err(|source| CheckError::File { path: path.to_owned(), source })?;
    let Some(text) = std::str::from_utf8(&bytes).ok().filter(|text| !text.contains('\0')) else {
        return Ok(bytes);
    };
    let wrong = |reason: String| CheckError::Assembly { path: path.to_owned(), reason };
    let insns = ebpf::asm::assemble(text).map_err(|error| wrong(error.to_string()))?;
    let program =
        Program::from_insns(Kind::Filter, insns).map_err(|error| wrong(error.to_string()))?;
    Ok(ebpf::encode(&program))
}

/// On the host nobody waits for the processor: step until there is an answer.
fn finish<T>(mut step: impl FnMut(&mut Fuel) -> Step<T>) -> Result<T, Refusal> {
    loop {
        let mut fuel = Fuel::UNLIMITED;
        if let Poll::Ready(answer) = step(&mut fuel) {
            return answer;
        }
    }
}

fn refused(program: &Program, refusal: &Refusal) -> CheckError {
    let mut text = refusal.to_string();
    if let Some((pc, insn)) = refusal.pc.and_then(|pc| Some((pc, program.get(pc)?))) {
        text.push_str(&format!("\nat instruction {pc}: {insn}"));
    }
    if let Some(witness) = &refusal.witness {
        text.push_str(&format!("\nwitness: {}\n", flow::witness::render(witness)));
        text.push_str(&flow::witness::hexdump(witness));
    }
    CheckError::Refused { text }
}

#[cfg(test)]
mod tests {
    use super::{CheckError, check};

    fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let text = path.to_str().unwrap().to_owned();
        (directory, text)
    }

    #[test]
    fn an_expression_shows_its_claim_and_its_program() {
        let checked = check("udp and dst port 53").unwrap();
        let asked = flow::expr::parse("udp and dst port 53").unwrap().to_space().unwrap();
        assert!(checked.claim.space().subset_of(&asked).is_ok());
        assert!(asked.subset_of(checked.claim.space()).is_ok());
        let text = checked.text();
        assert!(text.starts_with("claim: ") && text.contains("exit"), "{text}");
    }

    #[test]
    fn a_file_of_text_is_assembly() {
        let (_directory, path) = file("all.s", b"mov %r0, 1\nexit\n");
        assert!(check(&path).is_ok());
        let (_directory, path) = file("bad.s", b"mov %r0, 1\nleave\n");
        assert!(matches!(check(&path), Err(CheckError::Assembly { .. })));
    }

    #[test]
    fn each_stage_says_no_by_name() {
        assert!(matches!(check("udp and"), Err(CheckError::Expression { .. })));
        let (_directory, path) = file("garbage", &[0xff, 0, 0, 0, 0, 0, 0, 0]);
        assert!(matches!(check(&path), Err(CheckError::Malformed(_))));
        let (_directory, path) = file("unsafe.s", b"ldxw %r2, [%r1+0]\nldxb %r0, [%r2+0]\nexit\n");
        let Err(CheckError::Refused { text }) = check(&path) else { panic!("not refused") };
        assert!(text.contains("at instruction 1"), "{text}");
    }
}
