//! Classic BPF, as `tcpdump -ddd` prints it: read, run, and turned into a filter.
//!
//! The language is that of McCanne & Jacobson, "The BSD Packet Filter", USENIX Winter 1993, with
//! what libpcap's compiler emits: an accumulator, an index register, sixteen words of memory,
//! forward jumps. [`Classic::parse`] checks a program once; [`Classic::run`] is its meaning, taken
//! from the paper and pcap's manual, and [`Classic::to_filter`] a filter of the same meaning, which
//! goes through the same proofs as any other.

use alloc::vec::Vec;
use core::fmt;

mod run;
mod translate;

/// Instructions that a program may have.
pub const CLASSIC_MAX: usize = 4096;

/// Words of memory.
const MEMORY: u32 = 16;

/// A checked program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classic {
    insns: Vec<Insn>,
}

/// Text that is no program that this module takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassicError {
    /// Line of the text, the first being 1 (the count of instructions).
    pub line: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

impl fmt::Display for ClassicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl core::error::Error for ClassicError {}

/// An instruction. `K` is its constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Insn {
    /// So many bytes of the frame, into the accumulator; behind the index register if asked.
    Load { bytes: u8, behind_index: bool, at: u32 },
    /// A constant, a word of memory or the frame's length, into a register.
    Set { index: bool, from: Source },
    /// Four times the low nibble of a byte of the frame, into the index register.
    HeaderLength { at: u32 },
    /// A register into memory.
    Store { index: bool, slot: u32 },
    /// `A = A op operand`
    Alu { op: Op, operand: Operand },
    /// `A = -A`
    Neg,
    /// One of two instructions, by distance from the next one.
    Branch { test: Test, operand: Operand, taken: u8, other: u8 },
    /// Further on.
    Jump(u32),
    /// The end: how much of the frame is accepted.
    Return(Option<u32>),
    /// Between the registers; true: into the index register.
    Move(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Constant(u32),
    Memory(u32),
    Length,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operand {
    Constant(u32),
    Index,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Or,
    And,
    Xor,
    Left,
    Right,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    Equal,
    Greater,
    NotLess,
    Common,
}

impl Classic {
    /// Reads what `tcpdump -ddd` prints: the number of instructions, then four numbers for each.
    ///
    /// # Errors
    /// The first line that is not as it must be.
    pub fn parse(text: &str) -> Result<Classic, ClassicError> {
        let error = |line, what| Err(ClassicError { line, what });
        let mut lines = text.lines();
        let count = lines.next().and_then(|line| line.trim().parse::<usize>().ok());
        let Some(count) = count.filter(|&count| count > 0 && count <= CLASSIC_MAX) else {
            return error(1, "a number of instructions, from 1 to CLASSIC_MAX, is expected");
        };
        let mut insns = Vec::with_capacity(count);
        for (at, text) in lines.enumerate() {
            let line = at + 2;
            if at >= count {
                return error(line, "more instructions than were announced");
            }
            let mut words = text.split_whitespace().map(str::parse::<u32>);
            let (Some(Ok(code)), Some(Ok(taken)), Some(Ok(other)), Some(Ok(k)), None) =
                (words.next(), words.next(), words.next(), words.next(), words.next())
            else {
                return error(line, "four numbers are expected");
            };
            let (Ok(taken), Ok(other)) = (u8::try_from(taken), u8::try_from(other)) else {
                return error(line, "a branch goes further than 255 instructions");
            };
            let insn =
                decode(code, (taken, other), k).map_err(|what| ClassicError { line, what })?;
            let furthest = match insn {
                Insn::Branch { taken, other, .. } => u32::from(taken.max(other)) as usize,
                Insn::Jump(by) => by as usize,
                Insn::Return(_) => {
                    insns.push(insn);
                    continue;
                }
                _ => 0,
            };
            if furthest >= count - at - 1 {
                return error(line, "the program goes on behind its end");
            }
            insns.push(insn);
        }
        if insns.len() != count {
            return error(insns.len() + 2, "fewer instructions than were announced");
        }
        Ok(Classic { insns })
    }
}

/// One instruction of libpcap's `struct bpf_insn`.
fn decode(code: u32, (taken, other): (u8, u8), k: u32) -> Result<Insn, &'static str> {
    let operand = if code & 0x08 == 0 { Operand::Constant(k) } else { Operand::Index };
    Ok(match code & 0x07 {
        0x00 | 0x01 => load(code, k)?,
        0x02 | 0x03 if k < MEMORY => Insn::Store { index: code & 7 == 3, slot: k },
        0x02 | 0x03 => return Err("there is no such word of memory"),
        0x04 if code == 0x84 => Insn::Neg,
        0x04 => Insn::Alu { op: alu(code, operand)?, operand },
        0x05 if code == 0x05 => Insn::Jump(k),
        0x05 => {
            let test = match code & 0xf0 {
                0x10 => Test::Equal,
                0x20 => Test::Greater,
                0x30 => Test::NotLess,
                0x40 => Test::Common,
                _ => return Err("no such branch"),
            };
            Insn::Branch { test, operand, taken, other }
        }
        0x06 => match code & 0x18 {
            0x00 => Insn::Return(Some(k)),
            0x10 => Insn::Return(None),
            _ => return Err("no such return"),
        },
        _ => match code & 0xf8 {
            0x00 => Insn::Move(true),
            0x80 => Insn::Move(false),
            _ => return Err("no such instruction"),
        },
    })
}

fn load(code: u32, k: u32) -> Result<Insn, &'static str> {
    // Linux' extensions, which are no part of the frame, have offsets from -0x1000 on.
    const ANCILLARY: &str = "an extension of Linux, not of the frame";
    let index = code & 1 == 1;
    let bytes = match code & 0x18 {
        0x00 => 4,
        0x08 => 2,
        0x10 => 1,
        _ => return Err("no such size"),
    };
    Ok(match (code & 0xe0, index) {
        (0x00, _) => Insn::Set { index, from: Source::Constant(k) },
        (0x20 | 0x40, false) if k >= 0xffff_f000 => return Err(ANCILLARY),
        (0x20, false) => Insn::Load { bytes, behind_index: false, at: k },
        (0x40, false) => Insn::Load { bytes, behind_index: true, at: k },
        (0x60, _) if k < MEMORY => Insn::Set { index, from: Source::Memory(k) },
        (0x60, _) => return Err("there is no such word of memory"),
        (0x80, _) => Insn::Set { index, from: Source::Length },
        (0xa0, true) => Insn::HeaderLength { at: k },
        _ => return Err("no such load"),
    })
}

fn alu(code: u32, operand: Operand) -> Result<Op, &'static str> {
    let op = match code & 0xf0 {
        0x00 => Op::Add,
        0x10 => Op::Sub,
        0x20 => Op::Mul,
        0x30 => Op::Div,
        0x40 => Op::Or,
        0x50 => Op::And,
        0x60 => Op::Left,
        0x70 => Op::Right,
        0x90 => Op::Mod,
        0xa0 => Op::Xor,
        _ => return Err("no such operation"),
    };
    match (op, operand) {
        (Op::Div | Op::Mod, Operand::Constant(0)) => Err("a division by zero"),
        (Op::Left | Op::Right, Operand::Constant(32..)) => Err("a shift by more than the word"),
        _ => Ok(op),
    }
}

#[cfg(test)]
mod tests;
