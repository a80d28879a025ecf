//! The published bugs as data: unsafe programs with safe twins, for every tool that judges some.
//!
//! The files are in `testdata/verifier/bugs`; `README.md` there describes the format. Tests of the
//! verifier, of refusals' text, and the comparison with other verifiers read the same ones
//! through [`all`].

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use ebpf::asm::{self, AsmError};
use ebpf::{Kind, MapKind, MapSpec, Program};

macro_rules! files {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../../testdata/verifier/bugs/", $name, ".cases")))),*]
    };
}

/// Every file: its name without `.cases`, and its text.
pub const FILES: &[(&str, &str)] = files![
    "01-registers" "02-stack-uninitialised" "03-stack-bounds" "04-packet-bounds"
    "05-packet-variable" "06-packet-relations" "07-packet-moved" "08-context" "09-leaks"
    "10-pointer-arithmetic" "11-pointer-comparison" "12-null" "13-map-value" "14-map-arguments"
    "15-helpers" "16-extension" "17-shifts" "18-bitwise" "19-refinement" "20-division"
    "21-pruning" "22-spills" "23-termination" "24-loops" "25-calls" "26-atomics" "27-structure"
    "28-not-here" "29-review" "30-array-keys" "31-print" "32-halves"
    "33-old-pointers"
];

/// The cases that do not end as they say yet, each with its reason.
pub const PENDING: &str = include_str!("../../../testdata/verifier/bugs/pending.txt");

/// How a case must end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// It is safe.
    Accept,
    /// It is refused for this reason at this slot.
    Refuse {
        /// Name of the [`crate::UnsafeReason`], or of the limit.
        reason: String,
        /// The slot.
        pc: u32,
        /// Whether it is a rule of Sluice and not memory that is at stake.
        policy: bool,
    },
    /// It is no program.
    Malformed,
}

/// One program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Name of the file and of the case: `12-null/no comparison`.
    pub name: String,
    /// What the program is for.
    pub kind: Kind,
    /// Its maps.
    pub maps: Vec<MapSpec>,
    /// How it must end.
    pub expect: Expect,
    /// The bug that it stems from; empty for a twin.
    pub bug: String,
    /// The program, in assembly.
    pub text: String,
}

impl Case {
    /// The program.
    ///
    /// # Errors
    /// The line of [`Case::text`] that does not assemble or breaks a structural rule.
    pub fn program(&self) -> Result<Program, AsmError> {
        Ok(asm::program(self.kind, &self.text)?.with_maps(self.maps.clone()))
    }
}

/// A file that does not have the format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseError {
    /// The file.
    pub file: &'static str,
    /// Line, from 1.
    pub line: usize,
    /// What was expected there.
    pub expected: &'static str,
}

impl fmt::Display for CaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}: expected {}", self.file, self.line, self.expected)
    }
}

impl core::error::Error for CaseError {}

/// Every case of every file, and the generated one.
///
/// # Errors
/// The first line that does not have the format.
pub fn all() -> Result<Vec<Case>, CaseError> {
    let mut cases = Vec::new();
    for &(file, text) in FILES {
        cases.extend(parse(file, text)?);
    }
    cases.push(diamonds(1_024));
    Ok(cases)
}

/// So many consecutive branches that meet again and all add to one number, which is then used.
#[must_use]
pub fn diamonds(count: usize) -> Case {
    let mut text = String::from("mov %r0, 0\nmov %r6, 0\njlt %r2, 64, out\nldxdw %r3, [%r1+0]\n");
    for at in 0..count {
        let (bit, more) = (1u32 << (at % 16), at % 7 + 1);
        text.push_str(&alloc::format!("jset %r3, {bit}, d{at}\nadd %r6, {more}\nd{at}:\n"));
        text.push_str("rsh %r3, 1\n");
    }
    text.push_str("and %r6, 63\nadd %r1, %r6\nldxb %r0, [%r1+0]\nout: exit\n");
    Case {
        name: alloc::format!("generated/{count} diamonds"),
        kind: Kind::Memory,
        maps: Vec::new(),
        expect: Expect::Accept,
        bug: "Linux refuses after a million steps (anchors: diamonds)".to_string(),
        text,
    }
}

fn parse(file: &'static str, text: &str) -> Result<Vec<Case>, CaseError> {
    let mut cases: Vec<Draft> = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        let wrong = |expected| CaseError { file, line, expected };
        if let Some(name) = content.strip_prefix("== ") {
            cases.push(Draft { name: name.trim().to_string(), line, ..Draft::default() });
            continue;
        }
        match cases.last_mut() {
            _ if content.trim().is_empty() || content.starts_with('#') => {}
            None => return Err(wrong("a case (== name)")),
            Some(case) => case.add(content).map_err(wrong)?,
        }
    }
    cases.into_iter().map(|draft| draft.finish(file)).collect()
}

/// A case that is still being read.
#[derive(Default)]
struct Draft {
    name: String,
    line: usize,
    kind: Option<Kind>,
    maps: Vec<MapSpec>,
    expect: String,
    bug: String,
    text: String,
    /// Slots so far.
    slots: u32,
    marked: Option<u32>,
}

impl Draft {
    fn add(&mut self, content: &str) -> Result<(), &'static str> {
        if content.starts_with(' ') {
            self.instruction(content);
            return Ok(());
        }
        let (key, value) = content.split_once(':').ok_or("a key, a colon and a value")?;
        let value = value.trim();
        match key {
            "kind" => self.kind = Some(Kind::from_name(value).ok_or("filter, ash or memory")?),
            "map" => self.maps.push(map(value).ok_or("a kind of map and three numbers")?),
            "expect" => self.expect = value.to_string(),
            "bug" => self.bug = value.to_string(),
            _ => return Err("kind, map, expect, bug, or an indented instruction"),
        }
        Ok(())
    }

    fn instruction(&mut self, line: &str) {
        let (code, comment) = line.split_once('#').unwrap_or((line, ""));
        let mut code = code.trim();
        if let Some((label, rest)) = code.split_once(':')
            && !label.contains(' ')
        {
            code = rest.trim();
        }
        if comment.contains("<--") {
            self.marked = Some(self.slots);
        }
        self.slots += match code {
            "" => 0,
            _ if code.starts_with("lddw") => 2,
            _ => 1,
        };
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn finish(self, file: &'static str) -> Result<Case, CaseError> {
        let line = self.line;
        let missing = |expected| CaseError { file, line, expected };
        let (word, reason) = self.expect.split_once(' ').unwrap_or((&self.expect, ""));
        let refuse = |policy| {
            let pc = self.marked.ok_or(missing("an instruction marked with # <--"))?;
            Ok(Expect::Refuse { reason: reason.to_string(), pc, policy })
        };
        let expect = match word {
            "accept" => Expect::Accept,
            "malformed" => Expect::Malformed,
            "refuse" => refuse(false)?,
            "policy" => refuse(true)?,
            _ => return Err(missing("expect: accept, refuse, policy or malformed")),
        };
        Ok(Case {
            name: [file, &self.name].join("/"),
            kind: self.kind.ok_or(missing("a kind"))?,
            maps: self.maps,
            expect,
            bug: self.bug,
            text: self.text,
        })
    }
}

/// `KIND KEY VALUE ENTRIES [read-only]`
fn map(text: &str) -> Option<MapSpec> {
    let mut words = text.split_whitespace();
    let name = words.next()?;
    let kind = MapKind::ALL.into_iter().find(|kind| kind.name() == name)?;
    let mut number = || words.next()?.parse().ok();
    let (key_size, value_size, max_entries) = (number()?, number()?, number()?);
    let read_only = words.next() == Some("read-only");
    Some(MapSpec { kind, read_only, key_size, ..MapSpec::array(value_size, max_entries) })
}
