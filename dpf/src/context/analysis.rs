//! For tests: which loads read the context, of programs that have no proof.
//!
//! The idea: a small forward analysis of where the context pointer is: in which register, in which
//! stack slot. States are kept at jump targets only. Where paths disagree on whether a base is the
//! context, the answer is an error, not a guess. It also serves as a second opinion on what the
//! verifier says of programs that it accepts.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use ebpf::context::Field;
use ebpf::limits::STACK_BYTES;
use ebpf::{AluOp, CallTarget, Insn, Kind, Operand, Program, Reg, Size, Width};

use super::{Known, Premises};
use crate::compile::CompileError;

const WORDS: usize = STACK_BYTES / 8;

/// What a register or stack word holds, as far as the context is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    /// Neither the context nor a stack pointer.
    Other,
    /// The context, moved by so many bytes.
    Context(i32),
    /// `r10` of this frame, moved by so many bytes.
    Stack(i32),
    /// Maybe a stack pointer, not known which; never the context.
    SomeStack,
    /// The context on one path, something else on another.
    Mixed,
}

impl Value {
    fn join(self, other: Self) -> Self {
        match (self, other) {
            (a, b) if a == b => a,
            (Self::Context(_) | Self::Mixed, _) | (_, Self::Context(_) | Self::Mixed) => {
                Self::Mixed
            }
            _ => Self::SomeStack,
        }
    }

    fn moved(self, by: i64) -> Self {
        let add = |at: i32| i64::from(at).checked_add(by).and_then(|at| i32::try_from(at).ok());
        match self {
            Self::Context(at) => add(at).map_or(Self::Mixed, Self::Context),
            Self::Stack(at) => add(at).map_or(Self::SomeStack, Self::Stack),
            other => other,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    registers: [Value; 11],
    stack: Box<[Value; WORDS]>,
}

impl State {
    fn empty() -> Self {
        Self { registers: [Value::Other; 11], stack: Box::new([Value::Other; WORDS]) }
    }

    fn get(&self, reg: Reg) -> Value {
        self.registers[reg.index()]
    }

    fn set(&mut self, reg: Reg, value: Value) {
        self.registers[reg.index()] = value;
    }

    /// Joins another state into this one; true if that changed it.
    fn join(&mut self, other: &Self) -> bool {
        let before = self.clone();
        let mine = self.registers.iter_mut().chain(self.stack.iter_mut());
        for (value, new) in mine.zip(other.registers.iter().chain(other.stack.iter())) {
            *value = value.join(*new);
        }
        *self != before
    }

    /// A write of unknown words through a stack pointer that is not known.
    fn smear(&mut self) {
        for word in self.stack.iter_mut() {
            *word = word.join(Value::Other);
        }
    }

    /// What an 8-byte load at `offset` from the stack's top reads.
    fn loaded(&self, offset: i32, size: Size) -> Value {
        match word(offset) {
            Some((index, true)) if size == Size::B8 => self.stack[index],
            _ => Value::Other,
        }
    }

    fn store(&mut self, base: Value, offset: i16, size: Size, value: Value) {
        match base {
            Value::Stack(at) => {
                let first = at.saturating_add(i32::from(offset));
                let last = first.saturating_add(size.bytes() as i32 - 1);
                for (index, _) in [word(first), word(last)].into_iter().flatten() {
                    self.stack[index] = Value::Other;
                }
                if let (Some((index, true)), Size::B8) = (word(first), size) {
                    self.stack[index] = value;
                }
            }
            Value::SomeStack | Value::Mixed => self.smear(),
            Value::Other | Value::Context(_) => {}
        }
    }
}

/// The stack word that a byte is in, and whether it is its first byte.
fn word(offset: i32) -> Option<(usize, bool)> {
    let from_bottom = usize::try_from(offset.checked_add(STACK_BYTES as i32)?).ok()?;
    (from_bottom < STACK_BYTES).then_some((from_bottom / 8, from_bottom.is_multiple_of(8)))
}

impl Premises {
    /// Finds them.
    ///
    /// # Errors
    /// [`CompileError::MixedPointer`]; [`CompileError::Unsupported`] for an access of the context
    /// that is no load of a field.
    pub(crate) fn guessed(program: &Program) -> Result<Self, CompileError> {
        let mut found = Found::default();
        if program.kind() != Kind::Memory {
            let mut analysis = Analysis::new(program);
            while let Some(pc) = analysis.todo.pop() {
                analysis.block(pc, &mut found)?;
            }
        }
        let (known, passed) = (Known::Guessed(found.fields), ebpf::passed(program));
        let mut joins = super::Joins::default();
        while !joins.advance(program) {}
        Ok(Self { known, passed, joins, maps: Vec::new() })
    }
}

/// The loads of the context that were found.
#[derive(Default)]
struct Found {
    fields: BTreeMap<u32, Field>,
}

impl Found {
    /// Notes what the load or store at `pc` has as its base. A fixpoint visits a slot again with
    /// what other paths bring: they must agree with what was noted before.
    fn note(&mut self, pc: u32, base: Value, load: Option<i16>) -> Result<(), CompileError> {
        let seen = self.fields.get(&pc).copied();
        match (base, load) {
            (Value::Mixed, _) => Err(CompileError::MixedPointer { pc }),
            (Value::Context(moved), Some(offset)) => {
                let what = "an access of the context that is no field";
                let field = Field::at(i64::from(offset))
                    .filter(|_| moved == 0)
                    .ok_or(CompileError::Unsupported { pc, what })?;
                if seen.is_some_and(|seen| seen != field) {
                    return Err(CompileError::MixedPointer { pc });
                }
                self.fields.insert(pc, field);
                Ok(())
            }
            (Value::Context(_), None) => {
                Err(CompileError::Unsupported { pc, what: "a store to the context" })
            }
            _ if seen.is_some() => Err(CompileError::MixedPointer { pc }),
            _ => Ok(()),
        }
    }
}

struct Analysis<'a> {
    program: &'a Program,
    /// Slots that something jumps to: the only ones whose states are kept.
    joins: Vec<bool>,
    entries: BTreeMap<u32, State>,
    /// Entries that have changed.
    todo: Vec<u32>,
}

impl<'a> Analysis<'a> {
    fn new(program: &'a Program) -> Self {
        let mut joins = alloc::vec![false; program.len()];
        for insn in program.insns() {
            let callee = match insn {
                Insn::Call { target: CallTarget::Local(slot) } => Some(*slot),
                _ => None,
            };
            for target in insn.jump_target().into_iter().chain(callee) {
                if let Some(join) = joins.get_mut(target as usize) {
                    *join = true;
                }
            }
        }
        let mut state = State::empty();
        state.set(Reg::R1, Value::Context(0));
        state.set(Reg::R10, Value::Stack(0));
        let entries = BTreeMap::from([(0, state)]);
        Self { program, joins, entries, todo: alloc::vec![0] }
    }

    /// Brings `state` to the entry of `pc`.
    fn flow(&mut self, pc: u32, state: &State) {
        let changed = match self.entries.get_mut(&pc) {
            Some(entry) => entry.join(state),
            None => {
                self.entries.insert(pc, state.clone());
                true
            }
        };
        if changed && !self.todo.contains(&pc) {
            self.todo.push(pc);
        }
    }

    /// Goes from an entry to the next one.
    fn block(&mut self, from: u32, found: &mut Found) -> Result<(), CompileError> {
        let Some(mut state) = self.entries.get(&from).cloned() else { return Ok(()) };
        let mut pc = from;
        while let Some(insn) = self.program.get(pc) {
            self.step(pc, insn, &mut state, found)?;
            if let Some(target) = insn.jump_target() {
                self.flow(target, &state);
            }
            if !insn.falls_through() {
                break;
            }
            pc += 1;
            if self.joins.get(pc as usize) == Some(&true) {
                self.flow(pc, &state);
                break;
            }
        }
        Ok(())
    }

    /// The table: what each instruction does to the state.
    fn step(
        &mut self,
        pc: u32,
        insn: &Insn,
        state: &mut State,
        found: &mut Found,
    ) -> Result<(), CompileError> {
        match *insn {
            Insn::Alu { width, op, dst, src } => {
                let value = arithmetic(state, (width, op), dst, src);
                state.set(dst, value);
            }
            Insn::Load { size, dst, base, offset, .. } => {
                let base = state.get(base);
                found.note(pc, base, Some(offset))?;
                let value = match base {
                    Value::Stack(at) => state.loaded(at.saturating_add(offset.into()), size),
                    Value::SomeStack => any(state),
                    _ => Value::Other,
                };
                state.set(dst, value);
            }
            Insn::Store { size, base, offset, src } => {
                let base = state.get(base);
                found.note(pc, base, None)?;
                let value = match src {
                    Operand::Reg(src) => state.get(src),
                    Operand::Imm(_) => Value::Other,
                };
                state.store(base, offset, size, value);
            }
            Insn::Atomic { size, base, offset, .. } => {
                let base = state.get(base);
                found.note(pc, base, None)?;
                state.store(base, offset, size, Value::Other);
                if let Some(dst) = insn.written() {
                    state.set(dst, Value::Other);
                }
            }
            Insn::Call { target: CallTarget::Local(slot) } => self.call_local(slot, state),
            Insn::Call { .. } => forget_arguments(state, Value::Other),
            _ => {
                if let Some(dst) = insn.written() {
                    state.set(dst, Value::Other);
                }
            }
        }
        Ok(())
    }

    /// The callee has a frame of its own; through what it is given it may write to ours.
    fn call_local(&mut self, slot: u32, state: &mut State) {
        let mut callee = State::empty();
        for reg in [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5] {
            let value = match state.get(reg) {
                Value::Stack(_) | Value::SomeStack => Value::SomeStack,
                other => other,
            };
            callee.set(reg, value);
        }
        callee.set(Reg::R10, Value::Stack(0));
        self.flow(slot, &callee);
        state.smear();
        forget_arguments(state, Value::Mixed);
    }
}

fn forget_arguments(state: &mut State, result: Value) {
    state.set(Reg::R0, result);
    for reg in [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5] {
        state.set(reg, Value::Other);
    }
}

/// What an unknown word of the stack holds.
fn any(state: &State) -> Value {
    let word = |value: &&Value| matches!(value, Value::Context(_) | Value::Mixed);
    if state.stack.iter().any(|value| word(&value)) { Value::Mixed } else { Value::SomeStack }
}

fn arithmetic(state: &State, (width, op): (Width, AluOp), dst: Reg, src: Operand) -> Value {
    let left = state.get(dst);
    let right = match src {
        Operand::Reg(src) => state.get(src),
        Operand::Imm(_) => Value::Other,
    };
    match (op, src, width) {
        (AluOp::Mov, Operand::Reg(_), Width::W64) => right,
        (AluOp::Add, Operand::Imm(imm), Width::W64) => left.moved(i64::from(imm)),
        (AluOp::Sub, Operand::Imm(imm), Width::W64) => left.moved(-i64::from(imm)),
        (AluOp::Add | AluOp::Sub, Operand::Reg(_), Width::W64) => match (left, right) {
            (Value::Other, Value::Other) => Value::Other,
            // A difference of pointers, or an unknown distance: no longer known, never a context.
            (Value::Context(_) | Value::Mixed, _) | (_, Value::Context(_) | Value::Mixed) => {
                if op == AluOp::Sub && left == Value::Other { Value::Other } else { Value::Mixed }
            }
            _ => Value::SomeStack,
        },
        _ => Value::Other,
    }
}
