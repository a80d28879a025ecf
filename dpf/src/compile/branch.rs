//! Jumps and conditional branches.

use ebpf::{Cond, Insn, Operand};

use super::map::machine;
use super::{CompileError, Emitter};
use crate::x86::{Alu, Cc};

impl Emitter<'_> {
    pub(super) fn jump(&mut self, target: u32) -> Result<(), CompileError> {
        let target = self.slot(target)?;
        self.asm.jmp(target);
        Ok(())
    }

    pub(super) fn branch(&mut self, insn: &Insn, target: u32) -> Result<(), CompileError> {
        let Insn::Branch { width, cond, dst, src, .. } = *insn else { return Ok(()) };
        let dst = machine(dst);
        match (cond, src) {
            (Cond::Set, Operand::Reg(src)) => self.asm.test_rr(width, dst, machine(src)),
            (Cond::Set, Operand::Imm(imm)) => self.asm.test_ri(width, dst, imm),
            (_, Operand::Reg(src)) => self.asm.alu_rr(Alu::Cmp, width, dst, machine(src)),
            (_, Operand::Imm(imm)) => self.asm.alu_ri(Alu::Cmp, width, dst, imm),
        }
        let target = self.slot(target)?;
        self.asm.jcc(code(cond), target);
        Ok(())
    }
}

/// The condition code that holds after `cmp dst, src` (`test` for [`Cond::Set`]).
fn code(cond: Cond) -> Cc {
    match cond {
        Cond::Eq => Cc::E,
        Cond::Ne | Cond::Set => Cc::Ne,
        Cond::Gt => Cc::A,
        Cond::Ge => Cc::Ae,
        Cond::Lt => Cc::B,
        Cond::Le => Cc::Be,
        Cond::Sgt => Cc::G,
        Cond::Sge => Cc::Ge,
        Cond::Slt => Cc::L,
        Cond::Sle => Cc::Le,
    }
}
