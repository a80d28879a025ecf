//! A program and its code, side by side.

use alloc::vec::Vec;
use core::task::Poll;

use ebpf::{Cond, Insn, Operand, Program, Reg};
use verifier::Fuel;

use super::CheckError;
use super::cursor::Cursor;
use super::frame::{Frame, Wants};
use super::native::{Arith, If, Native, R};
use crate::context::Premises;
use crate::limits::CODE_BYTES_PER_UNIT;

/// Where each eBPF register must live (System V: `rax` result, `rdi rsi rdx rcx r8` arguments,
/// `rbx r13 r14 r15 rbp` saved by the callee).
pub(super) const HOME: [u8; 11] = [0, 7, 6, 2, 1, 8, 3, 13, 14, 15, 5];

/// Refuses code that is not the program's.
pub(super) fn implements(
    program: &Program,
    premises: &Premises,
    code: &[u8],
) -> Result<(), CheckError> {
    let mut walk = Walk::new();
    loop {
        match walk.step(program, premises, code, &mut Fuel::UNLIMITED.clone()) {
            Poll::Pending => {}
            Poll::Ready(answer) => return answer,
        }
    }
}

/// A walk over a program and its code, a slot at a time.
#[derive(Debug)]
pub(super) struct Walk {
    stage: Stage,
    frame: Frame,
    /// Offset of the instruction that is next.
    at: usize,
    /// Jumps seen: where they land, and the slot that they must land on.
    jumps: Vec<(usize, u32)>,
    /// Where each slot's code begins.
    starts: Vec<usize>,
}

/// What is being done, and the slot or jump that is next.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// What the frame must have is found.
    Wants(Wants, u32),
    /// Side by side.
    Match(u32),
    /// Every jump must land where its slot begins.
    Landings(usize),
}

impl Walk {
    /// Nothing is compared yet.
    pub(super) fn new() -> Self {
        let (jumps, starts) = (Vec::new(), Vec::new());
        Self {
            stage: Stage::Wants(Wants::default(), 0),
            frame: Frame::default(),
            at: 0,
            jumps,
            starts,
        }
    }

    /// Works until the fuel is spent or the answer is there; program, premises and code are the
    /// same at each step.
    pub(super) fn step(
        &mut self,
        program: &Program,
        premises: &Premises,
        code: &[u8],
        fuel: &mut Fuel,
    ) -> Poll<Result<(), CheckError>> {
        while !fuel.is_empty() {
            fuel.spend(1);
            let before = self.at;
            match self.advance(program, premises, code) {
                Ok(false) => fuel.spend(((self.at - before) / CODE_BYTES_PER_UNIT) as u32),
                Ok(true) => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Pending
    }

    /// One slot, or one jump; true when all was compared.
    fn advance(
        &mut self,
        program: &Program,
        premises: &Premises,
        code: &[u8],
    ) -> Result<bool, CheckError> {
        match &mut self.stage {
            Stage::Wants(wants, at) => match program.get(*at) {
                Some(insn) => {
                    wants.look(insn);
                    *at += 1;
                }
                None => {
                    let mut cursor = Cursor::new(code);
                    self.frame = Frame::enter(program.kind(), *wants, &mut cursor)?;
                    self.at = cursor.at();
                    self.stage = Stage::Match(0);
                }
            },
            Stage::Match(pc) => match program.get(*pc) {
                Some(insn) => {
                    self.starts.push(self.at);
                    let (code, frame) = (Cursor::resume(code, self.at), &self.frame);
                    let jumps = &mut self.jumps;
                    let mut matcher = Matcher { program, code, frame, premises, jumps };
                    let slots = matcher.slot(*pc, insn)?;
                    self.at = matcher.code.at();
                    // Slots in the middle of an idiom begin nowhere.
                    self.starts.extend((1..slots).map(|_| usize::MAX));
                    *pc += slots;
                }
                None => {
                    Cursor::resume(code, self.at).ends()?;
                    self.stage = Stage::Landings(0);
                }
            },
            Stage::Landings(jump) => {
                let Some(&(target, slot)) = self.jumps.get(*jump) else { return Ok(true) };
                if self.starts.get(slot as usize) != Some(&target) {
                    let expected = "every jump to land where its slot begins";
                    return Err(CheckError { offset: target, expected });
                }
                *jump += 1;
            }
        }
        Ok(false)
    }
}

/// One slot's comparison.
pub(super) struct Matcher<'a> {
    pub(super) program: &'a Program,
    pub(super) code: Cursor<'a>,
    pub(super) frame: &'a Frame,
    pub(super) premises: &'a Premises,
    jumps: &'a mut Vec<(usize, u32)>,
}

impl Matcher<'_> {
    /// An idiom, or an instruction on its own: how many slots it is.
    fn slot(&mut self, pc: u32, insn: &Insn) -> Result<u32, CheckError> {
        if let Some(slots) = self.idiom(pc)? {
            return Ok(slots);
        }
        self.insn(pc, insn).map(|()| 1)
    }

    /// The table: one line per instruction.
    fn insn(&mut self, pc: u32, insn: &Insn) -> Result<(), CheckError> {
        match *insn {
            Insn::Alu { width, op, dst, src } => self.alu(width, op, dst, src),
            Insn::Neg { width, dst } => self.neg(width, dst),
            Insn::MovSx { width, from, dst, src } => self.move_signed(width, from, dst, src),
            Insn::Endian { order, bits, dst } => self.endian(order, bits, dst),
            Insn::LoadImm64 { dst, imm } => self.load_imm64(pc, dst, imm),
            Insn::LoadImm64High => Ok(()),
            Insn::Load { .. } => self.load(pc, insn),
            Insn::Store { .. } => self.store(insn),
            Insn::Atomic { .. } => self.atomic(insn),
            Insn::Jump { target } => self.jump(target),
            Insn::Branch { .. } => self.branch(insn),
            Insn::Call { target } => self.call(pc, target),
            Insn::Exit => self.frame.leave(&mut self.code),
        }
    }

    /// The home of a register, which must have been saved if the caller owns it.
    pub(super) fn home(&self, reg: Reg) -> Result<R, CheckError> {
        let home = R(HOME[reg.index()]);
        if reg >= Reg::R6 && !self.frame.has(home) {
            return self.code.refuse("every callee-saved register in use to have been saved");
        }
        Ok(home)
    }

    /// Code that goes to `target` must thereby go to a slot.
    pub(super) fn lands_at(&mut self, target: usize, slot: u32) {
        self.jumps.push((target, slot));
    }

    fn jump(&mut self, slot: u32) -> Result<(), CheckError> {
        let target = self.code.jump("a jump")?;
        self.jumps.push((target, slot));
        Ok(())
    }

    fn branch(&mut self, insn: &Insn) -> Result<(), CheckError> {
        let Insn::Branch { width, cond, dst, src, target: slot } = *insn else {
            return self.code.refuse("a branch");
        };
        let left = self.home(dst)?;
        let compare = match (cond, src) {
            (Cond::Set, Operand::Reg(src)) => Native::Test { width, left, right: self.home(src)? },
            (Cond::Set, Operand::Imm(value)) => Native::TestConst { width, left, value },
            (_, Operand::Reg(src)) => {
                let src = self.home(src)?;
                Native::Arith { op: Arith::Compare, width, dst: left, src }
            }
            (_, Operand::Imm(value)) => {
                Native::ArithConst { op: Arith::Compare, width, dst: left, value }
            }
        };
        self.code.expect(compare, "a comparison")?;
        let target = self.code.jump_if(holds(cond), "a conditional jump")?;
        self.jumps.push((target, slot));
        Ok(())
    }
}

/// The machine condition for an eBPF comparison; for `Set`, after a `test`.
fn holds(cond: Cond) -> If {
    match cond {
        Cond::Eq => If::Equal,
        Cond::Ne | Cond::Set => If::NotEqual,
        Cond::Gt => If::Above,
        Cond::Ge => If::AboveEqual,
        Cond::Lt => If::Below,
        Cond::Le => If::BelowEqual,
        Cond::Sgt => If::Greater,
        Cond::Sge => If::GreaterEqual,
        Cond::Slt => If::Less,
        Cond::Sle => If::LessEqual,
    }
}
