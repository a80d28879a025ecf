//! Which optional arguments a call passes ([`Arg::Optional`]).
//!
//! The idea: an optional argument is passed where the program's text writes its register on every
//! way to the call, from the entry and since the last call, whether such a way can be gone or not.
//! So verifier, interpreter and compiler agree on what is passed without knowing a value, and what
//! is left in a register from before is never passed by mistake.
//!
//! The work is bounded: the registers that are certainly written before a slot only become fewer,
//! and there are five.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::helper::{self, Arg};
use crate::insn::{CallTarget, Insn, Reg};
use crate::program::{Kind, Program};

/// The calls that have optional arguments, and what they pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    calls: BTreeMap<u32, u16>,
}

impl Passed {
    /// Whether the call at `pc` passes what its optional argument register holds. False where
    /// there is no such call.
    #[must_use]
    pub fn at(&self, pc: u32, reg: Reg) -> bool {
        self.calls.get(&pc).is_some_and(|mask| mask & 1 << reg.index() != 0)
    }
}

/// `r1` to `r5`.
const ARGUMENTS: u16 = 0b11_1110;

/// What each call of a helper with optional arguments passes.
#[must_use]
pub fn passed(program: &Program) -> Passed {
    let is_optional = |insn: &Insn| match *insn {
        Insn::Call { target: CallTarget::Helper(id) } => {
            helper::by_id(id).is_some_and(|helper| helper.args.contains(&Arg::Optional))
        }
        // Which helper it is shows only when it runs.
        Insn::Call { target: CallTarget::Register(_) } => true,
        _ => false,
    };
    let calls: Vec<u32> = (0_u32..)
        .zip(program.insns())
        .filter_map(|(pc, insn)| is_optional(insn).then_some(pc))
        .collect();
    if calls.is_empty() {
        return Passed::default();
    }
    let written = written_before(program);
    let mask = |pc: u32| written.get(pc as usize).copied().flatten().unwrap_or(0);
    Passed { calls: calls.into_iter().map(|pc| (pc, mask(pc))).collect() }
}

/// The argument registers certainly written before each slot; `None` where no way leads.
fn written_before(program: &Program) -> Vec<Option<u16>> {
    let mut before = alloc::vec![None; program.len()];
    let entry = if program.kind() == Kind::Memory { 0b110 } else { 0b10 };
    let mut todo = alloc::vec![(0_u32, entry)];
    while let Some((pc, arriving)) = todo.pop() {
        let (Some(seat), Some(insn)) = (before.get_mut(pc as usize), program.get(pc)) else {
            continue;
        };
        let known = seat.map_or(arriving, |known: u16| known & arriving);
        if *seat == Some(known) {
            continue;
        }
        *seat = Some(known);
        let after = match insn {
            Insn::Call { .. } => 0,
            _ => insn.written().map_or(known, |reg| known | ARGUMENTS & 1 << reg.index()),
        };
        todo.extend(insn.jump_target().map(|target| (target, after)));
        if let Insn::Call { target: CallTarget::Local(target) } = *insn {
            todo.push((target, known));
        }
        if insn.falls_through() {
            todo.push((pc + 1, after));
        }
    }
    before
}

#[cfg(test)]
mod tests {
    use super::passed;
    use crate::{Kind, Reg, asm};

    /// Which of `r3` to `r5` the only print call passes.
    fn of(text: &str) -> [bool; 3] {
        let program = asm::program(Kind::Memory, text).unwrap();
        let print = crate::Insn::Call { target: crate::CallTarget::Helper(6) };
        let pc = program.insns().iter().position(|insn| *insn == print).unwrap() as u32;
        let passed = passed(&program);
        [Reg::R3, Reg::R4, Reg::R5].map(|reg| passed.at(pc, reg))
    }

    #[test]
    fn what_every_way_writes_is_passed_and_nothing_else() {
        assert_eq!(of("call helper 6\nexit"), [false; 3]);
        assert_eq!(of("mov %r3, 1\nmov %r5, 1\ncall helper 6\nexit"), [true, false, true]);
        assert_eq!(of("mov %r3, 1\ncall helper 7\ncall helper 6\nexit"), [false; 3]);
        let one_way = "jeq %r2, 0, over\nmov %r3, 1\nover: mov %r4, 1\ncall helper 6\nexit";
        assert_eq!(of(one_way), [false, true, false]);
        let both = "mov %r3, 0\njeq %r2, 0, over\nmov %r3, 1\nover: call helper 6\nexit";
        assert_eq!(of(both), [true, false, false]);
        let around = "mov %r3, 0\nagain: call helper 6\njeq %r0, 0, again\nexit";
        assert_eq!(of(around), [false; 3]);
    }

    #[test]
    fn a_function_passes_on_what_each_caller_passes() {
        let text = "
            mov %r3, 1
            mov %r4, 1
            call local f
            mov %r4, 1
            call local f
            exit
            f: mov %r5, 1
            call helper 6
            exit
        ";
        assert_eq!(of(text), [false, true, true]);
    }
}
