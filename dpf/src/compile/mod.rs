//! From a verified program to x86-64 bytes.
//!
//! The idea: eBPF's eleven registers have a machine register each, so that almost every eBPF
//! instruction is one machine instruction (`map`). The arguments `r1..r5` are the first five
//! argument registers of the System V ABI and `r0` is its result register, so a helper call moves
//! nothing. Four machine registers are left for the few instructions that need a sequence
//! (division, shift by a register, fetching atomics).
//!
//! No run-time check is emitted: the verifier has made every one unnecessary. What is emitted is
//! checked again, by a decoder that shares no code with this ([`crate::check`]).
//!
//! Pipeline: what is known of the program (`context`) -> frame (`frame`) -> one pass with long
//! jumps -> one pass with the short ones that the first pass found.

mod alu;
mod atomic;
mod branch;
mod call;
mod divide;
mod frame;
mod map;
mod memory;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use ebpf::{Insn, Program};
use runtime::map::Map;
use verifier::Verified;

use crate::context::Premises;
use crate::limits::CODE_BYTES_MAX;
use crate::x86::{Assembled, Assembler, Label};
use frame::Frame;

/// Generated code that nobody has checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emitted {
    /// The code; position-independent, entry at the first byte.
    pub bytes: Vec<u8>,
}

/// Why a program could not be compiled. The program is not to blame: it is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompileError {
    /// The compiler does not know how to do this yet.
    Unsupported {
        /// Slot of the instruction.
        pc: u32,
        /// What it is, for a person.
        what: &'static str,
    },
    /// There is no body for this helper.
    UnknownHelper {
        /// Slot of the call.
        pc: u32,
        /// The helper's number.
        id: u32,
    },
    /// A load may read the context or something else, depending on the path (tests only: the
    /// verifier refuses such programs).
    MixedPointer {
        /// Slot of the load.
        pc: u32,
    },
    /// The maps given are not those that the program was proven with.
    WrongMaps,
    /// Local calls are nested deeper than the limit, or recursive.
    CallDepth {
        /// Frames allowed.
        limit: usize,
    },
    /// The code would be too large.
    TooLarge {
        /// Bytes emitted.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The compiler lost a label: a bug in it.
    Internal,
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported { pc, what } => write!(f, "instruction {pc}: {what} not compiled"),
            Self::UnknownHelper { pc, id } => write!(f, "instruction {pc}: helper {id} unknown"),
            Self::MixedPointer { pc } => {
                write!(f, "instruction {pc}: may load from the context or from elsewhere")
            }
            Self::WrongMaps => write!(f, "the maps are not those that the program was proven with"),
            Self::CallDepth { limit } => write!(f, "local calls nest deeper than {limit}"),
            Self::TooLarge { bytes, limit } => write!(f, "{bytes} bytes of code, limit {limit}"),
            Self::Internal => write!(f, "the compiler lost a label"),
        }
    }
}

/// Compiles a verified program; `maps` are its own, by position.
///
/// # Errors
/// [`CompileError`]: what the compiler cannot do, never what the program does wrong.
pub fn compile(verified: &Verified, maps: &[Arc<Map>]) -> Result<Emitted, CompileError> {
    let premises = Premises::of(verified, maps).ok_or(CompileError::WrongMaps)?;
    program(verified.program(), &premises)
}

/// Compiles any structurally valid program. Safe to *run* only if it is verified.
pub(crate) fn program(program: &Program, premises: &Premises) -> Result<Emitted, CompileError> {
    let frame = Frame::of(program)?;
    let long = pass(program, premises, &frame, Vec::new())?;
    let code = pass(program, premises, &frame, long.fits_short)?;
    let bytes = code.bytes.len();
    if bytes > CODE_BYTES_MAX {
        return Err(CompileError::TooLarge { bytes, limit: CODE_BYTES_MAX });
    }
    Ok(Emitted { bytes: code.bytes })
}

fn pass(
    program: &Program,
    premises: &Premises,
    frame: &Frame,
    short: Vec<bool>,
) -> Result<Assembled, CompileError> {
    let mut asm = Assembler::new(short);
    let slots = program.insns().iter().map(|_| asm.label()).collect();
    let mut emitter = Emitter { asm, slots, premises, frame };
    emitter.frame.enter(&mut emitter.asm);
    for (pc, insn) in (0_u32..).zip(program.insns()) {
        emitter.insn(pc, insn)?;
    }
    emitter.asm.finish().ok_or(CompileError::Internal)
}

/// One pass over a program.
struct Emitter<'a> {
    asm: Assembler,
    /// A label for each slot.
    slots: Vec<Label>,
    premises: &'a Premises,
    frame: &'a Frame,
}

impl Emitter<'_> {
    /// The table: one line per instruction.
    fn insn(&mut self, pc: u32, insn: &Insn) -> Result<(), CompileError> {
        let label = self.slot(pc)?;
        self.asm.bind(label);
        match *insn {
            Insn::Alu { width, op, dst, src } => self.alu(width, op, dst, src),
            Insn::Neg { width, dst } => self.neg(width, dst),
            Insn::MovSx { width, from, dst, src } => self.move_signed(width, from, dst, src),
            Insn::Endian { order, bits, dst } => self.endian(order, bits, dst),
            Insn::LoadImm64 { dst, imm } => self.load_imm64(pc, dst, imm)?,
            Insn::LoadImm64High => {}
            Insn::Load { .. } => self.load(pc, insn),
            Insn::Store { size, base, offset, src } => self.store(size, (base, offset), src),
            Insn::Atomic { .. } => self.atomic(insn),
            Insn::Jump { target } => self.jump(target)?,
            Insn::Branch { target, .. } => self.branch(insn, target)?,
            Insn::Call { target } => self.call(pc, target)?,
            Insn::Exit => self.frame.leave(&mut self.asm),
        }
        Ok(())
    }

    fn slot(&self, slot: u32) -> Result<Label, CompileError> {
        self.slots.get(slot as usize).copied().ok_or(CompileError::Internal)
    }
}
