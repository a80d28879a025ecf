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
//! Pipeline: what is known of the program (`context`) -> frame (`survey`, `frame`) -> one pass with
//! long jumps -> one pass with the short ones that the first pass found. Each is done a slot at a
//! time ([`Compile`]), so that whoever compiles can do something else in between.

mod alu;
mod atomic;
mod branch;
mod call;
mod divide;
mod frame;
mod idiom;
mod map;
mod memory;
mod survey;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::task::Poll;

use ebpf::{Insn, Program};
use runtime::map::Map;
use verifier::{Fuel, Verified};

use crate::context::{Gathering, Premises};
use crate::limits::{CODE_BYTES_MAX, CODE_BYTES_PER_UNIT};
use crate::x86::{Assembled, Assembler, Label, Labels};
use frame::Frame;
use survey::{Depth, Survey};

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
    Compile::new(verified, maps)?.at_once(verified.program())
}

/// Compiles any structurally valid program. Safe to *run* only if it is verified.
pub(crate) fn program(program: &Program, premises: &Premises) -> Result<Emitted, CompileError> {
    Compile::of(premises.clone()).at_once(program)
}

/// A program on its way to code, a slot at a time.
#[derive(Debug)]
pub(crate) struct Compile {
    stage: Stage,
    premises: Premises,
    frame: Frame,
    asm: Assembler,
    /// A label for each slot.
    slots: Labels,
}

/// What is being done, and the slot that is next.
#[derive(Debug)]
enum Stage {
    Gather(Gathering),
    Survey(Survey, u32),
    Depth(Survey, Depth),
    Emit(Pass, u32),
    Patch(Pass),
    Over,
}

/// Which of the two passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// Long jumps only: shows which could be short.
    Long,
    Short,
}

impl Compile {
    /// Nothing is done yet; `maps` are the program's own, by position.
    ///
    /// # Errors
    /// [`CompileError::WrongMaps`].
    pub(crate) fn new(verified: &Verified, maps: &[Arc<Map>]) -> Result<Self, CompileError> {
        let gathering = Gathering::new(verified, maps).ok_or(CompileError::WrongMaps)?;
        Ok(Self::at(Stage::Gather(gathering), Premises::nothing(verified)))
    }

    fn of(premises: Premises) -> Self {
        Self::at(Stage::Survey(Survey::default(), 0), premises)
    }

    fn at(stage: Stage, premises: Premises) -> Self {
        let (frame, asm) = (Frame::default(), Assembler::new(Vec::new()));
        Self { stage, premises, frame, asm, slots: Labels::default() }
    }

    fn at_once(mut self, program: &Program) -> Result<Emitted, CompileError> {
        loop {
            if let Poll::Ready(answer) = self.step(program, &mut Fuel::UNLIMITED.clone()) {
                return answer;
            }
        }
    }

    /// Works on the program that it was made for until the fuel is spent or the code is there.
    pub(crate) fn step(
        &mut self,
        program: &Program,
        fuel: &mut Fuel,
    ) -> Poll<Result<Emitted, CompileError>> {
        while !fuel.is_empty() {
            fuel.spend(1);
            match self.advance(program, fuel) {
                Ok(None) => {}
                Ok(Some(bytes)) => return Poll::Ready(within_limit(bytes)),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Pending
    }

    /// One slot, or one jump.
    fn advance(
        &mut self,
        program: &Program,
        fuel: &mut Fuel,
    ) -> Result<Option<Vec<u8>>, CompileError> {
        match &mut self.stage {
            Stage::Gather(gathering) => {
                if gathering.advance(program) {
                    self.gathered(program);
                }
            }
            Stage::Survey(survey, at) => match program.get(*at) {
                Some(insn) => {
                    survey.look(insn);
                    *at += 1;
                }
                None if survey.locals => {
                    self.stage = Stage::Depth(*survey, Depth::new(program.len()));
                }
                None => {
                    let survey = *survey;
                    self.enter(program, survey);
                }
            },
            Stage::Depth(survey, depth) => {
                if depth.advance(program)? {
                    let survey = *survey;
                    self.enter(program, survey);
                }
            }
            Stage::Emit(pass, at) => match program.get(*at) {
                Some(insn) => {
                    let (pc, before) = (*at, self.asm.len());
                    let (asm, slots) = (&mut self.asm, self.slots);
                    let (premises, frame) = (&self.premises, &self.frame);
                    *at += Emitter { asm, slots, program, premises, frame }.slots(pc, insn)?;
                    fuel.spend(((self.asm.len() - before) / CODE_BYTES_PER_UNIT) as u32);
                }
                None => self.stage = Stage::Patch(*pass),
            },
            Stage::Patch(pass) => {
                if !self.asm.patch().ok_or(CompileError::Internal)? {
                    let pass = *pass;
                    return self.patched(program, pass);
                }
            }
            Stage::Over => return Err(CompileError::Internal),
        }
        Ok(None)
    }

    fn gathered(&mut self, program: &Program) {
        let next = Stage::Survey(Survey::default(), 0);
        if let Stage::Gather(gathering) = core::mem::replace(&mut self.stage, next) {
            self.premises = gathering.finish(program);
        }
    }

    /// Everything is known that the frame depends on.
    fn enter(&mut self, program: &Program, found: Survey) {
        self.frame = Frame::of(program.kind(), &found);
        self.begin(program, Pass::Long, Vec::new());
    }

    fn begin(&mut self, program: &Program, pass: Pass, short: Vec<bool>) {
        self.asm = Assembler::new(short);
        self.slots = self.asm.labels(program.len());
        self.frame.enter(&mut self.asm);
        self.stage = Stage::Emit(pass, 0);
    }

    /// All jumps of a pass are there.
    fn patched(&mut self, program: &Program, pass: Pass) -> Result<Option<Vec<u8>>, CompileError> {
        let asm = core::mem::take(&mut self.asm);
        let Assembled { bytes, fits_short } = asm.finish().ok_or(CompileError::Internal)?;
        match pass {
            Pass::Long => {
                self.begin(program, Pass::Short, fits_short);
                Ok(None)
            }
            Pass::Short => {
                self.stage = Stage::Over;
                Ok(Some(bytes))
            }
        }
    }
}

fn within_limit(bytes: Vec<u8>) -> Result<Emitted, CompileError> {
    if bytes.len() > CODE_BYTES_MAX {
        return Err(CompileError::TooLarge { bytes: bytes.len(), limit: CODE_BYTES_MAX });
    }
    Ok(Emitted { bytes })
}

/// Emits one instruction, or an idiom of several.
struct Emitter<'a> {
    asm: &'a mut Assembler,
    /// A label for each slot.
    slots: Labels,
    program: &'a Program,
    premises: &'a Premises,
    frame: &'a Frame,
}

impl Emitter<'_> {
    /// What begins at a slot: how many slots it is.
    fn slots(&mut self, pc: u32, insn: &Insn) -> Result<u32, CompileError> {
        let label = self.slot(pc)?;
        self.asm.bind(label);
        if let Some(slots) = self.idiom(pc)? {
            return Ok(slots);
        }
        self.insn(pc, insn).map(|()| 1)
    }

    /// The table: one line per instruction.
    fn insn(&mut self, pc: u32, insn: &Insn) -> Result<(), CompileError> {
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
            Insn::Exit => self.frame.leave(self.asm),
        }
        Ok(())
    }

    fn slot(&self, slot: u32) -> Result<Label, CompileError> {
        self.slots.get(slot as usize).ok_or(CompileError::Internal)
    }
}
