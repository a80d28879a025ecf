//! Text to instructions, in the syntax of uBPF and of the BPF conformance suite.
//!
//! One instruction a line; `#`, `;` and `//` begin a comment; `name:` defines a label, before an
//! instruction or alone. Registers are `%r0` to `%r10` (the `%` may be missing), numbers decimal
//! or hexadecimal, addresses `[%r1+4]`. A mnemonic that ends in `32` is the 32-bit one.
//!
//! ```text
//! mov32 %r0, 1            # also add sub mul div sdiv mod smod or and xor lsh rsh arsh
//! neg %r0                 # be16 le32 swap64 movsx832 movsx3264 ...
//! lddw %r1, 0x1122334455667788        # also map_fd 3, map_value 3 8, kind 6 1 2
//! ldxw %r0, [%r1+4]       # ldxb ldxh ldxdw, signed: ldxsb ldxsh ldxsw
//! stxdw [%r10-8], %r0     # and stb sth stw stdw with a number
//! lock fetch add32 [%r1], %r2         # add or and xor xchg cmpxchg
//! jeq %r1, 5, label       # jne jgt jge jlt jle jset jsgt jsge jslt jsle; ja label, ja +2
//! call helper 5           # call local label, call %r2, call kernel 7
//! exit
//! ```
//!
//! A jump to the label `exit`, where the text defines none, goes to the first `exit` instruction.

mod error;
mod line;
mod operand;

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

pub use error::{AsmError, Reason};
use operand::Goal;

use crate::insn::{CallTarget, Insn};
use crate::limits::{HOST_SLOTS, TEXT_BYTES};
use crate::program::{Kind, Program};

/// Assembles a text into instructions, second slots of 64-bit loads included. Only
/// [`Program::from_insns`] (or [`program`]) says whether they are a program.
///
/// # Errors
/// The first line that is wrong.
pub fn assemble(text: &str) -> Result<Vec<Insn>, AsmError> {
    let lines = read(text)?;
    lines.insns()
}

/// Assembles a text into a program.
///
/// # Errors
/// The first line that is wrong, or the line of the instruction that breaks a structural rule.
pub fn program(kind: Kind, text: &str) -> Result<Program, AsmError> {
    let lines = read(text)?;
    Program::from_insns(kind, lines.insns()?).map_err(|error| {
        let line = error.pc().and_then(|pc| lines.slots.get(pc as usize)).map_or(1, |slot| slot.0);
        AsmError { line, reason: Reason::Structure { error } }
    })
}

/// A text after its lines were read, before its labels are looked up.
struct Lines {
    /// Line number, instruction, and where that goes, for each slot.
    slots: Vec<(u32, Insn, Option<Goal>)>,
    labels: BTreeMap<String, usize>,
}

fn read(text: &str) -> Result<Lines, AsmError> {
    let too_long = |line, limit| AsmError { line, reason: Reason::TooLong { limit } };
    if text.len() > TEXT_BYTES {
        return Err(too_long(1, TEXT_BYTES));
    }
    let mut lines = Lines { slots: Vec::new(), labels: BTreeMap::new() };
    for (line, content) in (1..).zip(text.lines()) {
        lines.add(line, content).map_err(|reason| AsmError { line, reason })?;
        if lines.slots.len() > HOST_SLOTS {
            return Err(too_long(line, HOST_SLOTS));
        }
    }
    lines.name_first_exit();
    Ok(lines)
}

impl Lines {
    fn add(&mut self, number: u32, content: &str) -> Result<(), Reason> {
        let mut rest = without_comment(content);
        while let Some((label, after)) = rest.split_once(':') {
            self.define(label.trim())?;
            rest = after.trim();
        }
        if rest.is_empty() {
            return Ok(());
        }
        let line::Draft { insn, goal } = line::read(rest)?;
        self.slots.push((number, insn, goal));
        if matches!(insn, Insn::LoadImm64 { .. }) {
            self.slots.push((number, Insn::LoadImm64High, None));
        }
        Ok(())
    }

    fn define(&mut self, label: &str) -> Result<(), Reason> {
        if !operand::is_label(label) {
            return Err(Reason::LabelName { found: label.to_string() });
        }
        match self.labels.insert(label.to_string(), self.slots.len()) {
            Some(_) => Err(Reason::LabelTwice { label: label.to_string() }),
            None => Ok(()),
        }
    }

    /// The conformance suite jumps to `exit` without defining it.
    fn name_first_exit(&mut self) {
        if let Some(first) = self.slots.iter().position(|slot| slot.1 == Insn::Exit) {
            self.labels.entry("exit".to_string()).or_insert(first);
        }
    }

    fn insns(&self) -> Result<Vec<Insn>, AsmError> {
        let mut insns = Vec::with_capacity(self.slots.len());
        for (pc, (line, insn, goal)) in self.slots.iter().enumerate() {
            let target = match goal {
                None => None,
                Some(goal) => {
                    Some(self.slot(pc, goal).map_err(|reason| AsmError { line: *line, reason })?)
                }
            };
            insns.push(target.map_or(*insn, |target| aimed(*insn, target)));
        }
        Ok(insns)
    }

    /// The slot that a goal names for the instruction at `pc`.
    fn slot(&self, pc: usize, goal: &Goal) -> Result<u32, Reason> {
        let slot = match goal {
            Goal::Label(label) => {
                let slot = self.labels.get(label);
                let slot = slot.ok_or_else(|| Reason::LabelUnknown { label: label.clone() })?;
                i64::try_from(*slot).ok()
            }
            Goal::Distance(distance) => {
                i64::try_from(pc + 1).ok().and_then(|next| next.checked_add(*distance))
            }
        };
        let wrong = || operand::wrong("inside the program", &alloc::format!("{goal:?}"));
        slot.and_then(|slot| u32::try_from(slot).ok()).ok_or_else(wrong)
    }
}

fn without_comment(line: &str) -> &str {
    let end = [line.find('#'), line.find(';'), line.find("//")].into_iter().flatten().min();
    line.get(..end.unwrap_or(line.len())).unwrap_or(line).trim()
}

/// The instruction with its target filled in.
fn aimed(insn: Insn, target: u32) -> Insn {
    match insn {
        Insn::Jump { .. } => Insn::Jump { target },
        Insn::Branch { width, cond, dst, src, .. } => {
            Insn::Branch { width, cond, dst, src, target }
        }
        Insn::Call { target: CallTarget::Local(_) } => {
            Insn::Call { target: CallTarget::Local(target) }
        }
        other => other,
    }
}
