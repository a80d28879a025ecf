//! Instructions to text, in the syntax that [`crate::asm`] reads back.
//!
//! A jump's target is printed as the label `l` and its slot. [`disassemble`] puts those labels
//! where they belong; a single instruction's [`Display`](fmt::Display) only names them.

use alloc::collections::BTreeSet;
use alloc::string::String;
use core::fmt::{self, Write};

use crate::insn::{AtomicOp, CallTarget, Imm64, Insn, Operand, Reg, Size, Width};
use crate::names::{ALU, ATOMIC, BRANCH, ENDIAN, SIZE, name};
use crate::program::Program;

/// The program as text: one instruction a line, labels on lines of their own.
/// Assembling the text gives the same instructions.
#[must_use]
pub fn disassemble(program: &Program) -> String {
    let targets: BTreeSet<u32> = program.insns().iter().filter_map(named_slot).collect();
    let mut text = String::new();
    for (pc, insn) in (0..).zip(program.insns()) {
        if targets.contains(&pc) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "l{pc}:");
        }
        if *insn != Insn::LoadImm64High {
            let _ = writeln!(text, "    {insn}");
        }
    }
    text
}

fn named_slot(insn: &Insn) -> Option<u32> {
    match *insn {
        Insn::Call { target: CallTarget::Local(slot) } => Some(slot),
        _ => insn.jump_target(),
    }
}

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%r{}", self.number())
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reg(reg) => reg.fmt(f),
            Self::Imm(imm) => imm.fmt(f),
        }
    }
}

impl fmt::Display for Imm64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Value(value) => write!(f, "{value:#x}"),
            Self::MapFd(fd) => write!(f, "map_fd {fd}"),
            Self::MapValue { fd, offset } => write!(f, "map_value {fd} {offset}"),
            Self::Other { kind, lo, hi } => write!(f, "kind {kind} {lo} {hi}"),
        }
    }
}

impl fmt::Display for CallTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Helper(id) => write!(f, "helper {id}"),
            Self::Local(slot) => write!(f, "local l{slot}"),
            Self::Register(reg) => reg.fmt(f),
            Self::Kernel(id) => write!(f, "kernel {id}"),
        }
    }
}

impl fmt::Display for Insn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Alu { width, op, dst, src } => {
                write!(f, "{}{} {dst}, {src}", name(&ALU, &op), suffix(width))
            }
            Self::Neg { width, dst } => write!(f, "neg{} {dst}", suffix(width)),
            Self::MovSx { width, from, dst, src } => {
                let to = if width == Width::W32 { 32 } else { 64 };
                write!(f, "movsx{}{to} {dst}, {src}", from.bits())
            }
            Self::Endian { order, bits, dst } => {
                write!(f, "{}{bits} {dst}", name(&ENDIAN, &order))
            }
            Self::LoadImm64 { dst, imm } => write!(f, "lddw {dst}, {imm}"),
            Self::LoadImm64High => f.write_str("# second slot"),
            Self::Load { size, signed, dst, base, offset } => {
                let sign = if signed { "s" } else { "" };
                write!(f, "ldx{sign}{} {dst}, {}", name(&SIZE, &size), Place(base, offset))
            }
            Self::Store { size, base, offset, src } => {
                let from = if matches!(src, Operand::Reg(_)) { "stx" } else { "st" };
                write!(f, "{from}{} {}, {src}", name(&SIZE, &size), Place(base, offset))
            }
            Self::Atomic { size, op, fetch, base, offset, src } => {
                let implied = matches!(op, AtomicOp::Xchg | AtomicOp::Cmpxchg);
                let fetch = if fetch && !implied { "fetch " } else { "" };
                let width = if size == Size::B4 { "32" } else { "" };
                let op = name(&ATOMIC, &op);
                write!(f, "lock {fetch}{op}{width} {}, {src}", Place(base, offset))
            }
            Self::Jump { target } => write!(f, "ja l{target}"),
            Self::Branch { width, cond, dst, src, target } => {
                let cond = name(&BRANCH, &cond);
                write!(f, "{cond}{} {dst}, {src}, l{target}", suffix(width))
            }
            Self::Call { target } => write!(f, "call {target}"),
            Self::Exit => f.write_str("exit"),
        }
    }
}

/// An address in text: `[%r1+4]`.
struct Place(Reg, i16);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            0 => write!(f, "[{}]", self.0),
            offset => write!(f, "[{}{offset:+}]", self.0),
        }
    }
}

fn suffix(width: Width) -> &'static str {
    match width {
        Width::W32 => "32",
        Width::W64 => "",
    }
}
