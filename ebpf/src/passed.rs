//! Which optional arguments a call passes ([`Arg::Optional`]).
//!
//! The idea: an optional argument is passed where the program's text writes its register on every
//! way to the call, from the entry and since the last call, and on no way with what the text shows
//! to be a pointer, whether such a way can be gone or not. So verifier, interpreter and compiler
//! agree on what is passed without knowing a value, and what is left in a register from before is
//! never passed by mistake. That what is passed is a number is for the verifier to prove: the text
//! shows only some pointers.
//!
//! The work is bounded: what is known before a slot only gets less, and there are eleven registers.

use alloc::vec::Vec;

use crate::context::Field;
use crate::helper::{self, Arg, Return};
use crate::insn::{AluOp, CallTarget, Imm64, Insn, Operand, Reg, Size, Width};
use crate::program::{Kind, Program};

/// The calls that have optional arguments, and what they pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Slot and arguments, ascending by slot.
    calls: Vec<(u32, u16)>,
}

impl Passed {
    /// Whether the call at `pc` passes what its optional argument register holds. False where
    /// there is no such call.
    #[must_use]
    pub fn at(&self, pc: u32, reg: Reg) -> bool {
        let at = self.calls.binary_search_by_key(&pc, |&(pc, _)| pc).ok();
        at.and_then(|at| self.calls.get(at)).is_some_and(|(_, mask)| mask & bit(reg) != 0)
    }
}

/// `r1` to `r5`.
const ARGUMENTS: u16 = 0b11_1110;

const fn bit(reg: Reg) -> u16 {
    1 << reg.index()
}

/// What each call of a helper with optional arguments passes.
#[must_use]
pub fn passed(program: &Program) -> Passed {
    let mut passing = Passing::new(program);
    while !passing.advance(program) {}
    passing.found(program)
}

/// [`passed`] in steps.
#[derive(Clone, Debug, Default)]
pub struct Passing {
    stage: Stage,
    /// Before each slot; empty if no call has optional arguments.
    before: Vec<Facts>,
    /// Slots to be looked at, each at most once.
    todo: Vec<u32>,
    /// What was found, ascending by slot.
    calls: Vec<(u32, u16)>,
}

/// What is being done, and the slot that is next.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// A call with optional arguments is looked for.
    Search(u32),
    /// What is known goes along the ways.
    Flow,
    /// What arrived at such calls is collected.
    Collect(u32),
    Over,
}

impl Default for Stage {
    fn default() -> Self {
        Self::Search(0)
    }
}

/// What the text says of the registers before a slot; bit n is register n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Facts {
    /// Some way leads here.
    reached: bool,
    /// It is to be looked at.
    queued: bool,
    /// Certainly written since the last call, of the argument registers.
    written: u16,
    /// A pointer on some way.
    pointers: u16,
    /// The context on some way.
    context: u16,
}

/// Whether an instruction is a call that may have optional arguments.
fn is_optional(insn: &Insn) -> bool {
    match *insn {
        Insn::Call { target: CallTarget::Helper(id) } => {
            helper::by_id(id).is_some_and(|helper| helper.args.contains(&Arg::Optional))
        }
        // Which helper it is shows only when it runs.
        Insn::Call { target: CallTarget::Register(_) } => true,
        _ => false,
    }
}

impl Passing {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(_program: &Program) -> Self {
        Self::default()
    }

    /// The most heap that this holds for a program of `slots` slots, in bytes.
    #[must_use]
    pub const fn heap_bytes(slots: usize) -> usize {
        let grown = slots.next_power_of_two() * 3 / 2;
        slots * size_of::<Facts>() + grown * (size_of::<u32>() + size_of::<(u32, u16)>())
    }

    /// Looks at one slot; `true` when all is known.
    pub fn advance(&mut self, program: &Program) -> bool {
        match self.stage {
            Stage::Search(pc) => match program.get(pc) {
                None => self.stage = Stage::Over,
                Some(insn) if is_optional(insn) => {
                    self.enter(program);
                    self.stage = Stage::Flow;
                }
                Some(_) => self.stage = Stage::Search(pc + 1),
            },
            Stage::Flow => match self.todo.pop() {
                Some(pc) => self.flow(program, pc),
                None => self.stage = Stage::Collect(0),
            },
            Stage::Collect(pc) => match (program.get(pc), self.before.get(pc as usize)) {
                (Some(insn), Some(known)) => {
                    if is_optional(insn) {
                        self.calls.push((pc, known.written & !known.pointers));
                    }
                    self.stage = Stage::Collect(pc + 1);
                }
                _ => self.stage = Stage::Over,
            },
            Stage::Over => return true,
        }
        false
    }

    /// What was found, when all is known.
    #[must_use]
    pub fn found(&self, _program: &Program) -> Passed {
        Passed { calls: self.calls.clone() }
    }

    /// At the first slot the arguments are known.
    fn enter(&mut self, program: &Program) {
        self.before = alloc::vec![Facts::default(); program.len()];
        let entry = match program.kind() {
            Kind::Memory => Facts { written: 0b110, pointers: 0b10, ..Facts::default() },
            _ => Facts { written: 0b10, pointers: 0b10, context: 0b10, ..Facts::default() },
        };
        let pointers = entry.pointers | bit(Reg::R10);
        self.arrive(0, Facts { pointers, ..entry });
    }

    fn flow(&mut self, program: &Program, pc: u32) {
        let (Some(seat), Some(insn)) = (self.before.get_mut(pc as usize), program.get(pc)) else {
            return;
        };
        seat.queued = false;
        let known = *seat;
        let after = after(insn, known);
        if let Some(target) = insn.jump_target() {
            self.arrive(target, after);
        }
        if let Insn::Call { target: CallTarget::Local(target) } = *insn {
            // A function has its arguments and a frame.
            let (pointers, context) = (known.pointers & ARGUMENTS, known.context & ARGUMENTS);
            self.arrive(target, Facts { pointers: pointers | bit(Reg::R10), context, ..known });
        }
        if insn.falls_through() {
            self.arrive(pc + 1, after);
        }
    }

    fn arrive(&mut self, pc: u32, facts: Facts) {
        let Some(seat) = self.before.get_mut(pc as usize) else { return };
        let met = Facts {
            reached: true,
            queued: seat.queued,
            written: if seat.reached { seat.written & facts.written } else { facts.written },
            pointers: seat.pointers | facts.pointers,
            context: seat.context | facts.context,
        };
        if *seat == met {
            return;
        }
        *seat = Facts { queued: true, ..met };
        if !met.queued {
            self.todo.push(pc);
        }
    }
}

/// What holds behind an instruction.
fn after(insn: &Insn, before: Facts) -> Facts {
    if let Insn::Call { target } = *insn {
        let found = match target {
            CallTarget::Helper(id) => {
                helper::by_id(id).is_some_and(|it| it.returns == Return::MapValueOrNull)
            }
            _ => false,
        };
        let (lost, found) = (ARGUMENTS | bit(Reg::R0), if found { bit(Reg::R0) } else { 0 });
        let (pointers, context) = (before.pointers & !lost | found, before.context & !lost);
        return Facts { written: 0, pointers, context, ..before };
    }
    let Some(dst) = insn.written() else { return before };
    let has = |set: u16, reg: Reg| set & bit(reg) != 0;
    let put = |set: u16, is: bool| if is { set | bit(dst) } else { set & !bit(dst) };
    let (pointer, context) = match *insn {
        Insn::Alu { width: Width::W64, op, src, .. } => {
            let right = match src {
                Operand::Reg(reg) => has(before.pointers, reg),
                Operand::Imm(_) => false,
            };
            let left = has(before.pointers, dst);
            match (op, src) {
                (AluOp::Mov, Operand::Reg(reg)) => (right, has(before.context, reg)),
                (AluOp::Add, _) => (left || right, false),
                // A difference of two is a length.
                (AluOp::Sub, _) => (left && !right, false),
                _ => (false, false),
            }
        }
        Insn::LoadImm64 { imm, .. } => {
            (matches!(imm, Imm64::MapFd(_) | Imm64::MapValue { .. }), false)
        }
        Insn::Load { size: Size::B4, signed: false, base, offset, .. } => {
            let field = Field::at(offset.into());
            let pointer = matches!(field, Some(Field::Data | Field::DataEnd | Field::DataMeta));
            (pointer && has(before.context, base), false)
        }
        _ => (false, false),
    };
    Facts {
        written: before.written | bit(dst) & ARGUMENTS,
        pointers: put(before.pointers, pointer),
        context: put(before.context, context),
        ..before
    }
}

#[cfg(test)]
mod tests {
    use super::passed;
    use alloc::format;

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
    fn what_some_way_writes_a_pointer_to_is_not_passed() {
        let copy = "mov %r3, %r1\nmov %r4, %r10\nmov %r5, %r2\ncall helper 6\nexit";
        assert_eq!(of(copy), [false, false, true]);
        let moved = "mov %r3, %r1\nadd %r3, 14\nmov %r4, 1\nadd %r4, %r1\ncall helper 6\nexit";
        assert_eq!(of(moved), [false; 3]);
        let length = "mov %r3, %r1\nadd %r3, 9\nsub %r3, %r1\ncall helper 6\nexit";
        assert_eq!(of(length), [true, false, false]);
        let over = "mov %r3, %r1\nldxb %r3, [%r3+0]\ncall helper 6\nexit";
        assert_eq!(of(over), [true, false, false]);
        let one_way = "mov %r3, 0\njeq %r2, 0, over\nmov %r3, %r1\nover: call helper 6\nexit";
        assert_eq!(of(one_way), [false; 3]);
    }

    #[test]
    fn bounds_of_the_packet_are_pointers_and_other_words_are_not() {
        let load = |at: u32, base: &str| {
            let text = format!("ldxw %r3, [{base}+{at}]\ncall helper 6\nexit");
            let program = asm::program(Kind::Ash, &text).unwrap();
            passed(&program).at(1, Reg::R3)
        };
        assert_eq!([0, 4, 8, 12].map(|at| load(at, "%r1")), [false, false, false, true]);
        assert!(load(0, "%r2"));
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
