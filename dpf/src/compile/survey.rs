//! What the frame depends on: the registers that a program names, its calls, how deep they nest.
//!
//! A slot at a time, as all of the compiler's passes: each slot is looked at once, and once more
//! for each level of local calls that it is run at.

use alloc::vec::Vec;

use ebpf::limits::CALL_DEPTH;
use ebpf::{CallTarget, Insn, Operand, Program, Reg};

use super::CompileError;
use crate::context::wants_run;

/// What was found so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Survey {
    /// The registers that instructions name, as bits.
    used: u16,
    /// Something is called.
    pub(super) calls: bool,
    /// A function of the program is.
    pub(super) locals: bool,
    /// A helper that is given the run's context is.
    pub(super) run: bool,
}

impl Survey {
    /// Looks at one instruction.
    pub(super) fn look(&mut self, insn: &Insn) {
        self.used |= mentioned(insn);
        self.calls |= matches!(insn, Insn::Call { .. });
        self.locals |= local_target(insn).is_some();
        self.run |= wants_run(insn);
    }

    /// Whether some instruction names a register.
    pub(super) fn names(&self, reg: Reg) -> bool {
        self.used & 1 << reg.index() != 0
    }
}

/// Bounds the depth of local calls, level by level: what is run without a call, what those call
/// that are run there, and so on. Recursion has no last level.
#[derive(Debug)]
pub(super) struct Depth {
    level: usize,
    /// Slots seen at this level.
    seen: Vec<bool>,
    todo: Vec<u32>,
    /// Functions called at this level.
    called: Vec<u32>,
}

impl Depth {
    pub(super) fn new(slots: usize) -> Self {
        let (seen, todo) = (alloc::vec![false; slots], alloc::vec![0]);
        Self { level: 0, seen, todo, called: Vec::new() }
    }

    /// Looks at one slot; true when the depth is known to be within the limit.
    ///
    /// # Errors
    /// [`CompileError::CallDepth`]: it is not.
    pub(super) fn advance(&mut self, program: &Program) -> Result<bool, CompileError> {
        let Some(pc) = self.todo.pop() else { return self.deeper() };
        let (Some(mark), Some(insn)) = (self.seen.get_mut(pc as usize), program.get(pc)) else {
            return Ok(false);
        };
        if !core::mem::replace(mark, true) {
            self.called.extend(local_target(insn));
            self.todo.extend(insn.jump_target());
            if insn.falls_through() {
                self.todo.push(pc + 1);
            }
        }
        Ok(false)
    }

    fn deeper(&mut self) -> Result<bool, CompileError> {
        if self.called.is_empty() {
            return Ok(true);
        }
        self.level += 1;
        if self.level > CALL_DEPTH {
            return Err(CompileError::CallDepth { limit: CALL_DEPTH });
        }
        self.seen.fill(false);
        core::mem::swap(&mut self.todo, &mut self.called);
        Ok(false)
    }
}

fn local_target(insn: &Insn) -> Option<u32> {
    match insn {
        Insn::Call { target: CallTarget::Local(slot) } => Some(*slot),
        _ => None,
    }
}

/// The registers that an instruction names, as bits.
fn mentioned(insn: &Insn) -> u16 {
    let bit = |reg: Reg| 1_u16 << reg.index();
    let operand = |src: Operand| match src {
        Operand::Reg(reg) => bit(reg),
        Operand::Imm(_) => 0,
    };
    match *insn {
        Insn::Alu { dst, src, .. } | Insn::Branch { dst, src, .. } => bit(dst) | operand(src),
        Insn::Neg { dst, .. } | Insn::Endian { dst, .. } | Insn::LoadImm64 { dst, .. } => bit(dst),
        Insn::MovSx { dst, src, .. } => bit(dst) | bit(src),
        Insn::Load { dst, base, .. } => bit(dst) | bit(base),
        Insn::Store { base, src, .. } => bit(base) | operand(src),
        Insn::Atomic { base, src, .. } => bit(base) | bit(src),
        Insn::LoadImm64High | Insn::Jump { .. } | Insn::Call { .. } | Insn::Exit => 0,
    }
}
