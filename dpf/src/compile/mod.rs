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
//! Pipeline: what reads the context (`context`) -> frame (`frame`) -> one pass with long
//! jumps -> one pass with the short ones that the first pass found.

mod alu;
mod atomic;
mod branch;
mod divide;
mod frame;
mod map;
mod memory;

use alloc::vec::Vec;
use core::fmt;

use ebpf::{Imm64, Insn, Program};
use runtime::helpers;
use verifier::Verified;

use crate::context::ContextLoads;
use crate::limits::CODE_BYTES_MAX;
use crate::x86::{Assembled, Assembler, Gpr, Label};
use frame::Frame;
use map::machine;

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
            Self::CallDepth { limit } => write!(f, "local calls nest deeper than {limit}"),
            Self::TooLarge { bytes, limit } => write!(f, "{bytes} bytes of code, limit {limit}"),
            Self::Internal => write!(f, "the compiler lost a label"),
        }
    }
}

/// Compiles a verified program.
///
/// # Errors
/// [`CompileError`]: what the compiler cannot do, never what the program does wrong.
pub fn compile(verified: &Verified) -> Result<Emitted, CompileError> {
    program(verified.program(), &ContextLoads::of(verified))
}

/// Compiles any structurally valid program. Safe to *run* only if it is verified.
pub(crate) fn program(program: &Program, loads: &ContextLoads) -> Result<Emitted, CompileError> {
    let frame = Frame::of(program)?;
    let long = pass(program, loads, &frame, Vec::new())?;
    let code = pass(program, loads, &frame, long.fits_short)?;
    let bytes = code.bytes.len();
    if bytes > CODE_BYTES_MAX {
        return Err(CompileError::TooLarge { bytes, limit: CODE_BYTES_MAX });
    }
    Ok(Emitted { bytes: code.bytes })
}

fn pass(
    program: &Program,
    loads: &ContextLoads,
    frame: &Frame,
    short: Vec<bool>,
) -> Result<Assembled, CompileError> {
    let mut asm = Assembler::new(short);
    let slots = program.insns().iter().map(|_| asm.label()).collect();
    let mut emitter = Emitter { asm, slots, loads, frame };
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
    loads: &'a ContextLoads,
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

    fn load_imm64(&mut self, pc: u32, dst: ebpf::Reg, imm: Imm64) -> Result<(), CompileError> {
        let Imm64::Value(value) = imm else {
            return Err(CompileError::Unsupported { pc, what: "a map or address immediate" });
        };
        self.asm.mov_ri(machine(dst), value);
        Ok(())
    }

    fn call(&mut self, pc: u32, target: ebpf::CallTarget) -> Result<(), CompileError> {
        match target {
            ebpf::CallTarget::Helper(id) => self.call_helper(pc, id),
            ebpf::CallTarget::Local(slot) => self.call_local(slot),
            ebpf::CallTarget::Register(_) => {
                Err(CompileError::Unsupported { pc, what: "a call through a register" })
            }
            ebpf::CallTarget::Kernel(_) => {
                Err(CompileError::Unsupported { pc, what: "a kernel function" })
            }
        }
    }

    fn call_helper(&mut self, pc: u32, id: u32) -> Result<(), CompileError> {
        let address = helpers::address(id).ok_or(CompileError::UnknownHelper { pc, id })?;
        self.asm.mov_ri(Gpr::RAX, address);
        self.asm.call_reg(Gpr::RAX);
        Ok(())
    }

    fn call_local(&mut self, slot: u32) -> Result<(), CompileError> {
        let target = self.slot(slot)?;
        Frame::call_local(&mut self.asm, target);
        Ok(())
    }
}
