//! The native stack frame: what is saved, where the eBPF stack lies, how calls stay aligned.
//!
//! Without local calls the frame is only what the program needs: the callee-saved registers it
//! names, and 512 bytes below `rbp` if it uses `r10`. A helper must be called with `rsp` a
//! multiple of 16 (System V ABI §3.2.2); at entry `rsp` is 8 off.
//!
//! With local calls every function body runs with `rsp` a multiple of 16 and ends in a plain `ret`.
//! The entry calls slot 0 as the first function; a call site saves `r6..r10`, makes a frame of 512
//! bytes and calls. Depth is bounded before anything is emitted, recursion refused.
//!
//! Where a helper wants the run's context, `r12` is saved first and keeps it; no function changes
//! it.

use alloc::vec::Vec;

use ebpf::limits::{CALL_DEPTH, STACK_BYTES};
use ebpf::{CallTarget, Insn, Kind, Operand, Program, Reg, Width};

use super::CompileError;
use super::map::{RUN, machine};
use crate::context::keeps_run;
use crate::x86::{Alu, Assembler, Gpr, Label};

const STACK: i32 = STACK_BYTES as i32;
/// `r6..r10`, in the order they are pushed; `rbp` last, so that it can be set from `rsp`.
const SAVED: [Reg; 5] = [Reg::R6, Reg::R7, Reg::R8, Reg::R9, Reg::R10];

/// A program's frame.
#[derive(Debug)]
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
    pub(super) fn of(program: &Program) -> Result<Self, CompileError> {
        let insns = program.insns();
        let locals = insns.iter().any(|insn| local_target(insn).is_some());
        // A packet program's first argument is its context, a memory program's third.
        let arrives = if program.kind() == Kind::Memory { Gpr::RDX } else { Gpr::RDI };
        let run = keeps_run(program).then_some(arrives);
        if locals {
            bounded_depth(program)?;
            let saved = SAVED.to_vec();
            let bytes = if run.is_some() { STACK } else { STACK + 8 };
            return Ok(Self { saved, bytes, stack: true, locals, run });
        }
        let used = insns.iter().fold(0_u16, |used, insn| used | mentioned(insn));
        let uses = |reg: &Reg| used & 1 << reg.index() != 0;
        let saved: Vec<Reg> = SAVED.into_iter().filter(uses).collect();
        let stack = uses(&Reg::R10);
        let calls = insns.iter().any(|insn| matches!(insn, Insn::Call { .. }));
        let even = (saved.len() + usize::from(run.is_some())).is_multiple_of(2);
        let pad = if calls && even { 8 } else { 0 };
        let bytes = pad + if stack { STACK } else { 0 };
        Ok(Self { saved, bytes, stack, locals, run })
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

/// Refuses call graphs deeper than the interpreter's limit; recursion is deeper than any.
fn bounded_depth(program: &Program) -> Result<(), CompileError> {
    let mut entries: Vec<u32> = program.insns().iter().filter_map(local_target).collect();
    entries.push(0);
    entries.sort_unstable();
    entries.dedup();
    let callees: Vec<Vec<u32>> = entries.iter().map(|entry| called(program, *entry)).collect();
    let mut depth = alloc::vec![1_usize; entries.len()];
    for _ in 0..=CALL_DEPTH {
        let deeper: Vec<usize> = callees
            .iter()
            .map(|targets| {
                let depths = targets.iter().filter_map(|target| {
                    entries.binary_search(target).ok().and_then(|at| depth.get(at))
                });
                1 + depths.copied().max().unwrap_or(0)
            })
            .collect();
        if deeper == depth {
            return Ok(());
        }
        depth = deeper;
    }
    Err(CompileError::CallDepth { limit: CALL_DEPTH })
}

/// The functions that the function at `entry` calls.
fn called(program: &Program, entry: u32) -> Vec<u32> {
    let mut seen = alloc::vec![false; program.len()];
    let mut todo = alloc::vec![entry];
    let mut targets = Vec::new();
    while let Some(pc) = todo.pop() {
        let (Some(mark), Some(insn)) = (seen.get_mut(pc as usize), program.get(pc)) else {
            continue;
        };
        if core::mem::replace(mark, true) {
            continue;
        }
        targets.extend(local_target(insn));
        todo.extend(insn.jump_target());
        if insn.falls_through() {
            todo.push(pc + 1);
        }
    }
    targets
}
