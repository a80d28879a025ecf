//! The stack frame in emitted code: read from its entry, then held to it.
//!
//! The checker does not know what the compiler meant to save; it reads what is saved and demands
//! that this suffices: registers that the program names are saved, the eBPF stack has its 512
//! bytes, calls are aligned, and every return undoes the entry exactly.

use alloc::vec::Vec;

use ebpf::{CallTarget, Insn, Kind, Width};

use super::CheckError;
use super::call::RUN;
use super::cursor::Cursor;
use super::native::{Arith, Native, R, RBP, RDX, RSP};
use crate::context::wants_run;

/// Registers that a callee must save and eBPF uses, in the order in which a call pushes them.
const SAVED: [R; 5] = [R(3), R(13), R(14), R(15), RBP];
/// Bytes of the eBPF stack.
const STACK: i32 = 512;
/// Bytes that a frame may take beyond it.
const SLACK: i32 = 8;

/// What a program wants of its frame besides registers and stack.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wants {
    /// It calls functions of its own.
    locals: bool,
    /// It calls a helper that is given the run's context.
    run: bool,
}

impl Wants {
    /// Looks at one of its instructions.
    pub(super) fn look(&mut self, insn: &Insn) {
        self.locals |= matches!(insn, Insn::Call { target: CallTarget::Local(_) });
        self.run |= wants_run(insn);
    }
}

#[derive(Debug, Default)]
pub(super) struct Frame {
    saved: Vec<R>,
    bytes: i32,
    has_stack: bool,
    locals: bool,
    /// Whether `r12` was saved and holds the run's context.
    run: bool,
}

/// A packet program's first argument.
const RDI: R = R(7);

impl Frame {
    /// Reads the entry.
    pub(super) fn enter(
        kind: Kind,
        wants: Wants,
        code: &mut Cursor<'_>,
    ) -> Result<Self, CheckError> {
        let Wants { locals, run } = wants;
        if run {
            code.expect(Native::Push(RUN), "the register for the run's context to be saved")?;
        }
        let saved: Vec<R> = SAVED.into_iter().filter(|reg| code.skip(Native::Push(*reg))).collect();
        let has_stack = code.skip(Native::Move { width: Width::W64, dst: RBP, src: RSP });
        let least = if has_stack { STACK } else { 0 };
        let wanted = (least..=STACK + SLACK).step_by(8);
        let bytes =
            wanted.into_iter().find(|bytes| *bytes != 0 && code.skip(rsp(Arith::Sub, *bytes)));
        let bytes = bytes.unwrap_or(0);
        let frame = Self { saved, bytes, has_stack, locals, run };
        if has_stack && (bytes < STACK || !frame.saved.contains(&RBP)) {
            return code.refuse("an eBPF stack of 512 bytes");
        }
        if run {
            let src = if kind == Kind::Memory { RDX } else { RDI };
            let kept = Native::Move { width: Width::W64, dst: RUN, src };
            code.expect(kept, "the run's context to be kept")?;
        }
        if locals {
            frame.first_call(code)?;
        }
        Ok(frame)
    }

    /// With local calls: slot 0 is called as a function, then the entry is undone.
    fn first_call(&self, code: &mut Cursor<'_>) -> Result<(), CheckError> {
        // The return address lies below the eBPF stack. All functions are aligned alike.
        let aligned = (self.below_entry() + 8) % 16 == 0;
        if self.saved.len() != SAVED.len() || self.bytes < STACK || !aligned {
            return code.refuse("a frame for local calls");
        }
        let body = code.call("the call of the first function")?;
        self.undo(code)?;
        code.lands(body, "the first function behind the entry")
    }

    /// Whether the register was saved (and, for `rbp`, points to a stack).
    pub(super) fn has(&self, reg: R) -> bool {
        self.saved.contains(&reg) && (reg != RBP || self.has_stack)
    }

    /// Whether a helper called now finds the stack aligned to 16 bytes.
    pub(super) fn aligned(&self, code: &Cursor<'_>) -> Result<(), CheckError> {
        // With local calls one more return address lies there.
        let return_address = if self.locals { 8 } else { 0 };
        if (self.below_entry() + return_address) % 16 == 0 {
            Ok(())
        } else {
            code.refuse("a stack aligned for calls")
        }
    }

    /// Whether the run's context is at hand.
    pub(super) fn keeps_run(&self, code: &Cursor<'_>) -> Result<(), CheckError> {
        if self.run { Ok(()) } else { code.refuse("the run's context to have been kept") }
    }

    /// Bytes between the stack pointer now and before the call that entered the code.
    fn below_entry(&self) -> i32 {
        8 + 8 * (self.saved.len() as i32 + i32::from(self.run)) + self.bytes
    }

    /// What `exit` must be.
    pub(super) fn leave(&self, code: &mut Cursor<'_>) -> Result<(), CheckError> {
        if self.locals { code.expect(Native::Return, "a return") } else { self.undo(code) }
    }

    fn undo(&self, code: &mut Cursor<'_>) -> Result<(), CheckError> {
        if self.bytes != 0 {
            code.expect(rsp(Arith::Add, self.bytes), "the frame to be given back")?;
        }
        for reg in self.saved.iter().rev() {
            code.expect(Native::Pop(*reg), "a saved register to be restored")?;
        }
        if self.run {
            code.expect(Native::Pop(RUN), "a saved register to be restored")?;
        }
        code.expect(Native::Return, "a return")
    }

    /// A call of one of the program's own functions: its target. Five registers, 512 bytes and the
    /// return address are 560 bytes, which keeps the alignment.
    pub(super) fn call_local(&self, code: &mut Cursor<'_>) -> Result<usize, CheckError> {
        let expected = "a local call's frame";
        for reg in SAVED {
            code.expect(Native::Push(reg), expected)?;
        }
        code.expect(Native::Move { width: Width::W64, dst: RBP, src: RSP }, expected)?;
        code.expect(rsp(Arith::Sub, STACK), expected)?;
        let target = code.call("a local call")?;
        code.expect(rsp(Arith::Add, STACK), expected)?;
        for reg in SAVED.into_iter().rev() {
            code.expect(Native::Pop(reg), expected)?;
        }
        Ok(target)
    }
}

fn rsp(op: Arith, value: i32) -> Native {
    Native::ArithConst { op, width: Width::W64, dst: RSP, value }
}
