//! Cases as data: programs with what they must return, run by every engine.
//!
//! The files are in `testdata/ebpf`, one for each instruction family; `README.md` there
//! describes the format. Interpreter, verifier and compiler tests read the same ones through
//! [`all`], so that a program that two engines disagree on becomes a case once.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::asm::{self, AsmError};
use crate::interp::Helpers;
use crate::program::{Kind, Program};

macro_rules! files {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../testdata/ebpf/", $name, ".cases")))),*]
    };
}

/// Every file: its name without `.cases`, and its text.
pub const FILES: &[(&str, &str)] = files![
    "add" "and" "arsh" "ash" "atomic32" "atomic64" "branch-equal" "branch-signed"
    "branch-unsigned" "calls" "callx" "context" "div" "endian" "filters" "helpers" "jump" "lddw"
    "load" "loops" "lsh" "mod" "mov" "movsx" "mul" "neg" "or" "rsh" "sdiv" "smod" "store" "sub"
    "xor"
];

/// One program, its input, and what must come out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Name of the file and of the case: `add/32-bit wraps`.
    pub name: String,
    /// Line of the file that the case begins on, from 1.
    pub line: u32,
    /// What the program is for.
    pub kind: Kind,
    /// The packet, or the buffer of kind `Memory`.
    pub data: Vec<u8>,
    /// What `r0` is at the end.
    pub result: u64,
    /// What `data` is at the end; equal to `data` unless the file says otherwise.
    pub after: Vec<u8>,
    /// The program, in assembly.
    pub text: String,
}

impl Case {
    /// The program.
    ///
    /// # Errors
    /// The line of [`Case::text`] that does not assemble.
    pub fn program(&self) -> Result<Program, AsmError> {
        asm::program(self.kind, &self.text)
    }
}

/// A file that does not have the format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseError {
    /// Line, from 1.
    pub line: u32,
    /// What was expected there.
    pub expected: &'static str,
}

impl fmt::Display for CaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: expected {}", self.line, self.expected)
    }
}

impl core::error::Error for CaseError {}

/// The helpers that cases may call; their results depend on no particular value.
#[derive(Clone, Copy, Debug, Default)]
pub struct CaseHelpers {
    now: u64,
}

impl Helpers for CaseHelpers {
    fn call(&mut self, id: u32, _args: [u64; 5]) -> Option<u64> {
        match id {
            5 => {
                self.now += 1_000;
                Some(self.now)
            }
            7 => Some(0x9abc_def0),
            8 => Some(0),
            _ => None,
        }
    }
}

/// Every case of every file.
///
/// # Errors
/// The first line that does not have the format.
pub fn all() -> Result<Vec<Case>, CaseError> {
    let mut cases = Vec::new();
    for (name, text) in FILES {
        cases.extend(parse(name, text)?);
    }
    Ok(cases)
}

/// The cases of one file.
///
/// # Errors
/// The first line that does not have the format.
pub fn parse(file: &str, text: &str) -> Result<Vec<Case>, CaseError> {
    let mut cases: Vec<Draft> = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        let expected = |expected| CaseError { line, expected };
        if let Some(name) = content.strip_prefix("== ") {
            cases.push(Draft { name: name.trim(), line, ..Draft::default() });
            continue;
        }
        let blank = content.trim().is_empty() || content.starts_with('#');
        match cases.last_mut() {
            _ if blank => {}
            None => return Err(expected("a case (== name)")),
            Some(case) => case.add(content).map_err(expected)?,
        }
    }
    cases.into_iter().map(|draft| draft.finish(file)).collect()
}

/// A case that is still being read.
#[derive(Default)]
struct Draft<'a> {
    name: &'a str,
    line: u32,
    kind: Option<Kind>,
    data: Vec<u8>,
    result: Option<u64>,
    after: Option<Vec<u8>>,
    text: String,
}

impl Draft<'_> {
    fn add(&mut self, content: &str) -> Result<(), &'static str> {
        if content.starts_with(char::is_whitespace) {
            self.text.push_str(content);
            self.text.push('\n');
            return Ok(());
        }
        let (key, value) = content.split_once(':').ok_or("a key, a colon and a value")?;
        let value = value.trim();
        match key {
            "kind" => self.kind = Some(Kind::from_name(value).ok_or("filter, ash or memory")?),
            "data" => self.data.extend(hex(value).ok_or("bytes in hexadecimal")?),
            "after" => {
                let bytes = hex(value).ok_or("bytes in hexadecimal")?;
                self.after.get_or_insert_default().extend(bytes);
            }
            "result" => self.result = Some(number(value).ok_or("a number of 64 bits")?),
            _ => return Err("kind, data, after, result, or an indented instruction"),
        }
        Ok(())
    }

    fn finish(self, file: &str) -> Result<Case, CaseError> {
        let line = self.line;
        let missing = |expected| CaseError { line, expected };
        if self.text.is_empty() {
            return Err(missing("instructions"));
        }
        Ok(Case {
            name: [file, self.name].join("/"),
            line,
            kind: self.kind.unwrap_or(Kind::Memory),
            result: self.result.ok_or(missing("a result"))?,
            after: self.after.unwrap_or_else(|| self.data.clone()),
            data: self.data,
            text: self.text,
        })
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    text.split_whitespace()
        .map(|byte| (byte.len() == 2).then(|| u8::from_str_radix(byte, 16).ok()).flatten())
        .collect()
}

/// Decimal, hexadecimal, or negative decimal (two's complement).
fn number(text: &str) -> Option<u64> {
    match (text.strip_prefix("0x"), text.starts_with('-')) {
        (Some(digits), _) => u64::from_str_radix(digits, 16).ok(),
        (_, true) => text.parse::<i64>().ok().map(i64::cast_unsigned),
        (_, false) => text.parse().ok(),
    }
}
