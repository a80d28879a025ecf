//! The native stack frame: what is saved, where the eBPF stack lies, how calls stay aligned.
//!
//! Without local calls the frame is only what the program needs: the callee-saved registers it
//! names, and 512 bytes below `rbp` if it uses `r10`. A helper must be called with `rsp` a
//! multiple of 16 (System V ABI §3.2.2); at entry `rsp` is 8 off.
//!
//! With local calls every function body runs with `rsp` a multiple of 16 and ends in a plain `ret`.
//! The entry calls slot 0 as the first function; a call site saves `r6..r10`, makes a frame of 512
//! bytes and calls. Depth is bounded before anything is emitted ([`super::survey`]).
//!
//! Where a helper wants the run's context, `r12` is saved first and keeps it; no function changes
//! it.

use alloc::vec::Vec;

use ebpf::limits::STACK_BYTES;
use ebpf::{Kind, Reg, Width};

use super::map::{RUN, machine};
use super::survey::Survey;
use crate::x86::{Alu, Assembler, Gpr, Label};

const STACK: i32 = STACK_BYTES as i32;
/// `r6..r10`, in the order they are pushed; `rbp` last, so that it can be set from `rsp`.
const SAVED: [Reg; 5] = [Reg::R6, Reg::R7, Reg::R8, Reg::R9, Reg::R10];

/// A program's frame.
#[derive(Debug, Default)]
pub(super) struct Frame {
    saved: Vec<Reg>,
    /// Bytes below the saved registers.
    bytes: i32,
    stack: bool,
    locals: bool,
    /// Where the run's context arrives, if it must be kept.
    run: Option<Gpr>,
}

impl Frame {
    /// The frame of a program in which the survey found what it found.
    pub(super) fn of(kind: Kind, found: &Survey) -> Self {
        // A packet program's first argument is its context, a memory program's third.
        let arrives = if kind == Kind::Memory { Gpr::RDX } else { Gpr::RDI };
        let run = found.run.then_some(arrives);
        if found.locals {
            let saved = SAVED.to_vec();
            let bytes = if run.is_some() { STACK } else { STACK + 8 };
            return Self { saved, bytes, stack: true, locals: true, run };
        }
        let saved: Vec<Reg> = SAVED.into_iter().filter(|reg| found.names(*reg)).collect();
        let stack = found.names(Reg::R10);
        let even = (saved.len() + usize::from(run.is_some())).is_multiple_of(2);
        let pad = if found.calls && even { 8 } else { 0 };
        let bytes = pad + if stack { STACK } else { 0 };
        Self { saved, bytes, stack, locals: false, run }
    }

    /// Emits the entry.
    pub(super) fn enter(&self, asm: &mut Assembler) {
        if self.run.is_some() {
            asm.push(RUN);
        }
        for reg in &self.saved {
            asm.push(machine(*reg));
        }
        if self.stack {
            asm.mov_rr(Width::W64, Gpr::RBP, Gpr::RSP);
        }
        if self.bytes != 0 {
            asm.alu_ri(Alu::Sub, Width::W64, Gpr::RSP, self.bytes);
        }
        if let Some(arrives) = self.run {
            asm.mov_rr(Width::W64, RUN, arrives);
        }
        if self.locals {
            let body = asm.label();
            asm.call(body);
            self.unwind(asm);
            asm.bind(body);
        }
    }

    /// Emits what `exit` does.
    pub(super) fn leave(&self, asm: &mut Assembler) {
        if self.locals {
            asm.ret();
        } else {
            self.unwind(asm);
        }
    }

    fn unwind(&self, asm: &mut Assembler) {
        if self.bytes != 0 {
            asm.alu_ri(Alu::Add, Width::W64, Gpr::RSP, self.bytes);
        }
        for reg in self.saved.iter().rev() {
            asm.pop(machine(*reg));
        }
        if self.run.is_some() {
            asm.pop(RUN);
        }
        asm.ret();
    }

    /// Emits a call of one of the program's own functions.
    pub(super) fn call_local(asm: &mut Assembler, target: Label) {
        for reg in SAVED {
            asm.push(machine(reg));
        }
        asm.mov_rr(Width::W64, Gpr::RBP, Gpr::RSP);
        asm.alu_ri(Alu::Sub, Width::W64, Gpr::RSP, STACK);
        asm.call(target);
        asm.alu_ri(Alu::Add, Width::W64, Gpr::RSP, STACK);
        for reg in SAVED.into_iter().rev() {
            asm.pop(machine(reg));
        }
    }
}
