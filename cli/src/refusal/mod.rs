//! Refusals for people and for tools: what is wrong, where, what was known, how control comes
//! there, what to change, and where one can be found a packet on which it happens.
//!
//! [`explain`] gathers that once; [`Explanation::text`] shows it in at most [`LINES_MAX`] lines,
//! [`Explanation::json`] as data.
//!
//! | field of the JSON | is |
//! |---|---|
//! | `version` | 1; changes when a field changes its meaning or goes away |
//! | `code` | stable name of the reason, in lower case with hyphens |
//! | `message` | what is wrong, one line |
//! | `instruction` | slot of the instruction, from 0; absent if none is to blame |
//! | `assembly` | that instruction |
//! | `source` | `file`, `line`, `column` (from 1; 0: unknown), `text` of the compiled line |
//! | `limit` | `name` and `value` of the limit that was met |
//! | `registers` | `register` and `known`: what was known of each register involved |
//! | `path` | slots from the entry to the instruction |
//! | `help` | what to change |
//! | `example` | `packet` (hex), `action` (what the interpreter said), `results` (of helpers) |
//!
//! An example is never guessed: the reference interpreter has stopped at that very instruction.

mod advice;
mod example;
mod path;
mod render;
mod shadow;

use ebpf::{Program, Reg};
use serde::Serialize;
use verifier::{Refusal, RefusalCode};

pub use advice::code;
pub use example::Example;

/// Lines that [`Explanation::text`] has at most.
pub const LINES_MAX: usize = 12;

/// Where an instruction was compiled from, as an object's line information says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SourceLine {
    /// The file's name.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1; 0 if it is not known.
    pub column: u32,
    /// The line itself; empty if it is not known.
    pub text: String,
}

/// A refusal with everything that helps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Version of the fields.
    pub version: u32,
    /// Stable name of the reason.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// Slot of the instruction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instruction: Option<u32>,
    /// The instruction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assembly: Option<String>,
    /// Where it was compiled from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceLine>,
    /// The limit that was met.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<LimitMet>,
    /// What was known of the registers involved.
    pub registers: Vec<RegisterKnown>,
    /// Slots from the entry to the instruction.
    pub path: Vec<u32>,
    /// What to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// A packet on which it happens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<Example>,
}

/// A limit by name and value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LimitMet {
    /// The constant's name.
    pub name: String,
    /// Its value.
    pub value: u64,
}

/// What was known of one register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RegisterKnown {
    /// `r0` to `r10`.
    pub register: String,
    /// What it held, in words.
    pub known: String,
}

/// Gathers what is known of a refusal. `line` says where a slot was compiled from.
pub fn explain(
    program: &Program,
    refusal: &Refusal,
    line: &dyn Fn(u32) -> Option<SourceLine>,
) -> Explanation {
    let found = match refusal.code {
        RefusalCode::Unsafe(_) => refusal.pc.and_then(|pc| example::search(program, pc)),
        _ => None,
    };
    let (example, walked) = found.unzip();
    let path = match (walked, refusal.pc) {
        (Some(walked), _) => walked,
        (None, Some(pc)) if refusal.path().is_empty() => path::shortest(program, pc),
        (None, _) => refusal.path().to_vec(),
    };
    let assembly = refusal.pc.and_then(|pc| program.get(pc)).map(ToString::to_string);
    // What `r10` is, everybody knows.
    let told = refusal.facts().iter().filter(|fact| fact.reg != Reg::R10);
    let registers = told.map(|fact| RegisterKnown {
        register: format!("r{}", fact.reg.number()),
        known: fact.known.to_string(),
    });
    Explanation {
        version: 1,
        code: advice::code(refusal),
        message: advice::message(refusal),
        instruction: refusal.pc,
        assembly,
        source: refusal.pc.and_then(line),
        limit: refusal
            .limit
            .map(|limit| LimitMet { name: limit.name.to_owned(), value: limit.value }),
        registers: registers.collect(),
        path,
        help: advice::help(program, refusal),
        example,
    }
}

impl Explanation {
    /// For people, in at most [`LINES_MAX`] lines, each at most 100 columns wide except for what
    /// the program's own source has; with colours if `styled`.
    #[must_use]
    pub fn text(&self, styled: bool) -> String {
        render::text(self, styled)
    }

    /// For tools: one object, as the table above says.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
