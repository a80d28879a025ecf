//! A program and its code, side by side.

use alloc::vec::Vec;

use ebpf::{Cond, Insn, Operand, Program, Reg};

use super::CheckError;
use super::cursor::Cursor;
use super::frame::Frame;
use super::native::{Arith, If, Native, R};
use crate::context::Premises;

/// Where each eBPF register must live (System V: `rax` result, `rdi rsi rdx rcx r8` arguments,
/// `rbx r13 r14 r15 rbp` saved by the callee).
const HOME: [u8; 11] = [0, 7, 6, 2, 1, 8, 3, 13, 14, 15, 5];

/// Refuses code that is not the program's.
pub(super) fn implements(
    program: &Program,
    premises: &Premises,
    code: &[u8],
) -> Result<(), CheckError> {
    let mut code = Cursor::new(code);
    let frame = Frame::enter(program, &mut code)?;
    let mut matcher = Matcher { code, frame, premises, jumps: Vec::new(), starts: Vec::new() };
    for (pc, insn) in (0_u32..).zip(program.insns()) {
        matcher.starts.push(matcher.code.at());
        matcher.insn(pc, insn)?;
    }
    matcher.code.ends()?;
    matcher.landings()
}

/// The walk.
pub(super) struct Matcher<'a> {
    pub(super) code: Cursor<'a>,
    pub(super) frame: Frame,
    pub(super) premises: &'a Premises,
    /// Jumps seen: where they land, and the slot that they must land on.
    jumps: Vec<(usize, u32)>,
    /// Where each slot's code begins.
    starts: Vec<usize>,
}

impl Matcher<'_> {
    /// The table: one line per instruction.
    fn insn(&mut self, pc: u32, insn: &Insn) -> Result<(), CheckError> {
        match *insn {
            Insn::Alu { width, op, dst, src } => self.alu(width, op, dst, src),
            Insn::Neg { width, dst } => self.neg(width, dst),
            Insn::MovSx { width, from, dst, src } => self.move_signed(width, from, dst, src),
            Insn::Endian { order, bits, dst } => self.endian(order, bits, dst),
            Insn::LoadImm64 { dst, imm } => self.load_imm64(dst, imm),
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

    /// Every jump must land where its slot begins.
    fn landings(&self) -> Result<(), CheckError> {
        for (target, slot) in &self.jumps {
            if self.starts.get(*slot as usize) != Some(target) {
                let expected = "every jump to land where its slot begins";
                return Err(CheckError { offset: *target, expected });
            }
        }
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
