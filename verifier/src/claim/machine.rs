//! One symbolic step: what an instruction does to registers and stack that hold symbolic values.
//!
//! The program is verified, so whatever cannot be followed here is merely unknown: it becomes a
//! [`Value::Unknown`], and only a decision that depends on it is refused. Where knowing one more
//! bit of the frame would help, the step is not done and asks for it ([`Step::Split`]).

use alloc::vec::Vec;

use ebpf::{AluOp, Imm64, Insn, Operand, Reg, Size, Width, context};
use flow::limits::FRAME_MAX;
use flow::{Base, Cell, HeaderBase};

use super::measure::{Measure, Operation};
use super::splits::{self, Ask};
use super::value::{DEAD, Value, ValueId, Values};
use super::word::Word;
use crate::limits::{HEADER_MAX, SPILLS_MAX};
use crate::refusal::{Refusal, UndecidedReason};

/// Registers and stack, as numbers of values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Machine {
    pub(super) registers: [ValueId; 11],
    /// Stores that were not overwritten, ascending.
    stack: Vec<Spill>,
}

/// A value on the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Spill {
    /// Offset of the first byte from `r10`.
    from: i16,
    bytes: u8,
    value: ValueId,
}

/// What a step comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is done.
    Done,
    /// Nothing is done yet: the frames must be told apart first.
    Split(Ask),
}

/// What an expression cannot be: the reason for [`Value::Unknown`].
type Lost = UndecidedReason;

/// The most heap that one machine holds, itself included, in bytes.
pub(super) const fn heap_bytes() -> usize {
    size_of::<Machine>() + SPILLS_MAX * size_of::<Spill>()
}

impl Machine {
    pub(super) fn at_entry(values: &mut Values) -> Result<Machine, Refusal> {
        let mut registers = [DEAD; 11];
        registers[Reg::R1.index()] = values.intern(Value::Context)?;
        registers[Reg::R10.index()] = values.intern(Value::Stack(0))?;
        Ok(Machine { registers, stack: Vec::new() })
    }

    pub(super) fn get(&self, values: &Values, reg: Reg) -> Value {
        values.get(self.registers[reg.index()])
    }

    pub(super) fn operand(&self, values: &Values, operand: Operand) -> Value {
        match operand {
            Operand::Reg(reg) => self.get(values, reg),
            Operand::Imm(imm) => Value::Word(Word::constant(i64::from(imm).cast_unsigned())),
        }
    }

    /// Forgets the registers that are not in `live` (bit n is register n).
    pub(super) fn keep(&mut self, live: u16) {
        for (index, register) in self.registers.iter_mut().enumerate() {
            if live >> index & 1 == 0 {
                *register = DEAD;
            }
        }
    }

    /// The same with every value replaced.
    ///
    /// # Errors
    /// Those of `to`.
    pub(super) fn map(
        &self,
        mut to: impl FnMut(ValueId) -> Result<ValueId, Refusal>,
    ) -> Result<Machine, Refusal> {
        let mut mapped = self.clone();
        let spilled = mapped.stack.iter_mut().map(|spill| &mut spill.value);
        for value in mapped.registers.iter_mut().chain(spilled).filter(|value| **value != DEAD) {
            *value = to(*value)?;
        }
        Ok(mapped)
    }

    /// The number of a register's value.
    pub(super) fn id(&self, reg: Reg) -> ValueId {
        self.registers[reg.index()]
    }

    /// The first of an instruction's registers that holds a sum which has to be taken apart.
    fn sum(&self, values: &Values, insn: &Insn, lost: Lost) -> Option<Ask> {
        let registers = match *insn {
            Insn::Alu { dst, src: Operand::Reg(src), .. } => [dst, src],
            Insn::Alu { dst, .. } | Insn::Endian { dst, .. } | Insn::Neg { dst, .. } => [dst, dst],
            Insn::MovSx { src, .. } => [src, src],
            _ => return None,
        };
        let is_sum = |reg: &Reg| match (self.get(values, *reg), lost) {
            (Value::Word(word), Lost::Arithmetic) => word.plus != 0,
            // A sum that cannot wrap may be added to a place as it is.
            (Value::Word(word), Lost::VariableOffset) => word.plus != 0 && word.width != 64,
            _ => false,
        };
        registers.into_iter().find(is_sum).map(|reg| Ask::Sum(self.id(reg)))
    }

    /// Does what the instruction at `pc` does, if it is no jump. Unless it `may_split`, what would
    /// need cases is unknown.
    ///
    /// # Errors
    /// The table of values is full.
    pub(super) fn step(
        &mut self,
        values: &mut Values,
        pc: u32,
        insn: &Insn,
        may_split: bool,
    ) -> Result<Step, Refusal> {
        let (dst, value) = match *insn {
            Insn::Alu { width, op, dst, src } => {
                let (left, right) = (self.get(values, dst), self.operand(values, src));
                if may_split && let Some(ask) = address(values, (width, op), &left, &right)? {
                    return Ok(Step::Split(ask));
                }
                (dst, computed(values, (width, op), left, right))
            }
            Insn::Neg { width, dst } => {
                let zero = Value::Word(Word::constant(0));
                let right = self.get(values, dst);
                (dst, computed(values, (width, AluOp::Sub), zero, right))
            }
            Insn::MovSx { width, from, dst, src } => {
                let moved = |word: Word| word.sign_extend(from, bits(width));
                let also = Operation::Extend(width, from);
                (dst, unary(self.get(values, src), moved, also))
            }
            Insn::Endian { order, bits, dst } => {
                let swapped = |word: Word| word.endian(order, bits);
                (dst, unary(self.get(values, dst), swapped, Operation::Swap(order, bits)))
            }
            Insn::LoadImm64 { dst, imm: Imm64::Value(value) } => {
                (dst, Ok(Value::Word(Word::constant(value))))
            }
            Insn::LoadImm64 { dst, .. } => (dst, Err(Lost::Address)),
            Insn::Load { size, signed, dst, base, offset } => {
                let loaded = self.load(values, size, base, offset.into())?;
                let extended = match loaded {
                    Ok(value) if signed => {
                        let also = Operation::Extend(Width::W64, size);
                        unary(value, |word| word.sign_extend(size, 64), also)
                    }
                    other => other,
                };
                (dst, extended)
            }
            Insn::Store { size, base, offset, src } => {
                let stored = cut(self.operand(values, src), size.bits());
                let id = intern(values, pc, stored)?;
                self.store(values, size, (base, offset.into()), id)?;
                return Ok(Step::Done);
            }
            Insn::Atomic { size, base, offset, src, .. } => {
                let lost = intern(values, pc, Err(Lost::Stack))?;
                self.store(values, size, (base, offset.into()), lost)?;
                // More than is written is forgotten: what the operation leaves is unknown.
                self.registers[Reg::R0.index()] = lost;
                (src, Err(Lost::Stack))
            }
            Insn::Call { .. } => (Reg::R0, Err(Lost::Context)),
            Insn::LoadImm64High | Insn::Jump { .. } | Insn::Branch { .. } | Insn::Exit => {
                return Ok(Step::Done);
            }
        };
        if may_split
            && let Err(lost) = value
            && let Some(ask) = self.sum(values, insn, lost)
        {
            return Ok(Step::Split(ask));
        }
        self.registers[dst.index()] = intern(values, pc, value)?;
        Ok(Step::Done)
    }

    fn load(
        &self,
        values: &mut Values,
        size: Size,
        base: Reg,
        offset: i64,
    ) -> Result<Result<Value, Lost>, Refusal> {
        match self.get(values, base) {
            Value::Place { base, bytes } => packet(values, size, base, bytes + offset),
            Value::Context => Ok(match context::Field::at(offset) {
                Some(context::Field::Data | context::Field::DataMeta) => {
                    Ok(Value::Place { base: Base::Frame, bytes: 0 })
                }
                Some(context::Field::DataEnd) => Ok(Value::End),
                _ => Err(Lost::Context),
            }),
            Value::Stack(at) => {
                let (from, bytes) = (at + offset, size.bytes());
                let whole = self.stack.iter().find(|spill| {
                    i64::from(spill.from) == from && usize::from(spill.bytes) == bytes
                });
                Ok(whole.map(|spill| values.get(spill.value)).ok_or(Lost::Stack))
            }
            unknown @ Value::Unknown(..) => Ok(Ok(unknown)),
            _ => Ok(Err(Lost::Address)),
        }
    }

    fn store(
        &mut self,
        values: &Values,
        size: Size,
        (base, offset): (Reg, i64),
        value: ValueId,
    ) -> Result<(), Refusal> {
        let Value::Stack(at) = self.get(values, base) else {
            // A filter can only write its stack. The safety proof may know by a branch where; here
            // it could be anywhere.
            self.stack.clear();
            return Ok(());
        };
        let start = at + offset;
        let end = start + size.bytes() as i64;
        self.stack.retain(|spill| {
            let from = i64::from(spill.from);
            from >= end || from + i64::from(spill.bytes) <= start
        });
        if self.stack.len() >= SPILLS_MAX {
            return Err(Refusal::limit("SPILLS_MAX", SPILLS_MAX as u64));
        }
        // A verified store is inside the stack.
        if let (Ok(from), Ok(bytes)) = (i16::try_from(start), u8::try_from(size.bytes())) {
            let place = self.stack.partition_point(|spill| spill.from < from);
            self.stack.insert(place, Spill { from, bytes, value });
        }
        Ok(())
    }
}

fn intern(values: &mut Values, pc: u32, value: Result<Value, Lost>) -> Result<ValueId, Refusal> {
    values.intern(value.unwrap_or_else(|reason| Value::Unknown(reason, pc)))
}

const fn bits(width: Width) -> u32 {
    match width {
        Width::W32 => 32,
        Width::W64 => 64,
    }
}

/// The bytes of the frame at a place.
fn packet(
    values: &mut Values,
    size: Size,
    base: Base,
    start: i64,
) -> Result<Result<Value, Lost>, Refusal> {
    let mut cells = [0; 8];
    for (cell, at) in cells.iter_mut().zip(start..).take(size.bytes()) {
        let Some(offset) = u16::try_from(at).ok().filter(|&offset| offset < FRAME_MAX) else {
            return Ok(Err(Lost::VariableOffset));
        };
        *cell = values.cell(Cell { base, offset })?;
    }
    let mut word = Word::loaded(cells.get(..size.bytes()).unwrap_or(&[]));
    for (index, &cell) in cells.iter().take(size.bytes()).enumerate() {
        if let Some((value, mask)) = values.plain(cell).and_then(|cell| values.fact(cell)) {
            word = word.with_byte(index, value, mask);
        }
    }
    Ok(Ok(Value::Word(word)))
}

/// The low `width` bits of a number; pointers are whole or lost.
fn cut(value: Value, width: u32) -> Result<Value, Lost> {
    match value {
        Value::Word(word) => Ok(Value::Word(word.cut(width))),
        Value::Length(measure) => measure.cut(width).map(Value::Length).ok_or(Lost::Arithmetic),
        Value::Unknown(..) => Ok(value),
        other if width == 64 => Ok(other),
        _ => Err(Lost::Address),
    }
}

/// A word or a length after an operation on one number.
fn unary(value: Value, of: impl Fn(Word) -> Option<Word>, also: Operation) -> Result<Value, Lost> {
    match value {
        Value::Word(word) => of(word).map(Value::Word).ok_or(Lost::Arithmetic),
        Value::Unknown(..) => Ok(value),
        Value::Length(measure) => measure.then(also).map(Value::Length).ok_or(Lost::Arithmetic),
        _ => Err(Lost::Address),
    }
}

fn computed(
    values: &Values,
    (width, op): (Width, AluOp),
    left: Value,
    right: Value,
) -> Result<Value, Lost> {
    if op == AluOp::Mov {
        return cut(right, bits(width));
    }
    match (left, right) {
        (Value::Word(a), Value::Word(b)) => {
            words(width, op, &a, &b).map(Value::Word).ok_or(Lost::Arithmetic)
        }
        (unknown @ Value::Unknown(..), _) | (_, unknown @ Value::Unknown(..)) => Ok(unknown),
        (Value::Length(measure), Value::Word(word)) => {
            let by = word.as_constant().ok_or(Lost::Arithmetic)?;
            let after = measure.then(Operation::Left(width, op, by));
            after.map(Value::Length).ok_or(Lost::Arithmetic)
        }
        (Value::Word(word), Value::Length(measure)) => {
            let by = word.as_constant().ok_or(Lost::Arithmetic)?;
            let after = measure.then(Operation::Right(width, op, by));
            after.map(Value::Length).ok_or(Lost::Arithmetic)
        }
        (Value::Length(_), Value::Length(_)) => Err(Lost::Arithmetic),
        (Value::Place { base, bytes }, Value::Word(word)) => {
            places(values, op, (base, bytes), &word)
        }
        (Value::Word(word), Value::Place { base, bytes }) => {
            places(values, op, (base, bytes), &word)
        }
        (Value::Stack(at), Value::Word(word)) | (Value::Word(word), Value::Stack(at)) => {
            let by = word.as_constant().ok_or(Lost::Address)?.cast_signed();
            let moved = match op {
                AluOp::Add => at.checked_add(by),
                AluOp::Sub => at.checked_sub(by),
                _ => None,
            };
            moved.map(Value::Stack).ok_or(Lost::Address)
        }
        (Value::End, Value::Place { base, bytes }) if op == AluOp::Sub => {
            Ok(Value::Length(Measure::new(base, bytes.wrapping_neg().cast_unsigned())))
        }
        (Value::Place { base, bytes }, Value::Place { base: other, bytes: theirs })
            if op == AluOp::Sub && base == other =>
        {
            Ok(Value::Word(Word::constant(bytes.wrapping_sub(theirs).cast_unsigned())))
        }
        _ => Err(Lost::Address),
    }
}

fn words(width: Width, op: AluOp, a: &Word, b: &Word) -> Option<Word> {
    let wide = bits(width);
    let (left, right) = (a.cut(wide).as_constant(), b.cut(wide).as_constant());
    if let (Some(left), Some(right)) = (left, right) {
        return Some(Word::constant(ebpf::interp::arith::alu(width, op, left, right)));
    }
    match op {
        AluOp::Add => a.add(b, wide),
        AluOp::Sub => a.sub(b, wide),
        AluOp::And => a.and(b, wide).or_else(|| b.and(a, wide)),
        AluOp::Or => a.or(b, wide),
        AluOp::Xor => a.xor(b, wide),
        AluOp::Lsh => Some(a.shift_left(shift(right?, wide), wide)),
        AluOp::Rsh => a.shift_right(shift(right?, wide), wide, false),
        AluOp::Arsh => a.shift_right(shift(right?, wide), wide, true),
        AluOp::Mul => scaled(a, right, wide).or_else(|| scaled(b, left, wide)),
        AluOp::Div => match right? {
            0 => Some(Word::constant(0)),
            by if by.is_power_of_two() => a.shift_right(by.trailing_zeros(), wide, false),
            _ => None,
        },
        AluOp::Mod => match right? {
            0 => Some(a.cut(wide)),
            by if by.is_power_of_two() => Some(a.cut(wide).cut(by.trailing_zeros())),
            _ => None,
        },
        AluOp::Sdiv | AluOp::Smod => None,
        AluOp::Mov => Some(b.cut(wide)),
    }
}

/// Shift counts are masked to the width.
const fn shift(count: u64, width: u32) -> u32 {
    (count & (width as u64 - 1)) as u32
}

fn scaled(a: &Word, by: Option<u64>, width: u32) -> Option<Word> {
    match by? {
        0 => Some(Word::constant(0)),
        by if by.is_power_of_two() => Some(a.shift_left(by.trailing_zeros(), width)),
        _ => None,
    }
}

/// What must be known before a number that is not constant can be added to a place: nothing if the
/// place is the frame's and the number a header's length.
fn address(
    values: &mut Values,
    (width, op): (Width, AluOp),
    left: &Value,
    right: &Value,
) -> Result<Option<Ask>, Refusal> {
    let (base, by) = match (left, right) {
        (&Value::Place { base, .. }, Value::Word(by))
        | (Value::Word(by), &Value::Place { base, .. }) => (base, by),
        _ => return Ok(None),
    };
    let variable = op == AluOp::Add && width == Width::W64 && by.as_constant().is_none();
    if !variable || by.width != 64 || base == Base::Frame && header(values, by).is_ok() {
        return Ok(None);
    }
    splits::of_address(values, base, by)
}

/// A packet pointer moved by a constant, or by one header-length field.
fn places(
    values: &Values,
    op: AluOp,
    (base, bytes): (Base, i64),
    by: &Word,
) -> Result<Value, Lost> {
    if let Some(constant) = by.as_constant() {
        let moved = match op {
            AluOp::Add => bytes.checked_add(constant.cast_signed()),
            AluOp::Sub => bytes.checked_sub(constant.cast_signed()),
            _ => None,
        };
        let bytes = moved.ok_or(Lost::VariableOffset)?;
        return Ok(Value::Place { base, bytes });
    }
    if op != AluOp::Add || base != Base::Frame || by.width != 64 {
        return Err(Lost::VariableOffset);
    }
    let (ones, _) = by.known();
    let constant = ones.wrapping_add(by.plus).cast_signed();
    let bytes = bytes.checked_add(constant).ok_or(Lost::VariableOffset)?;
    Ok(Value::Place { base: Base::Header(header(values, by)?), bytes })
}

/// The header whose length the variable bits of a word are.
fn header(values: &Values, by: &Word) -> Result<HeaderBase, Lost> {
    let mut found: Option<(u32, i8, u8)> = None;
    for (at, bit) in (0i8..).zip(by.bits) {
        let Some((cell, bit, inverted)) = bit.source() else { continue };
        let shift = at - bit as i8;
        let (first, scale, mask) = found.unwrap_or((cell, shift, 0));
        if inverted || (cell, shift) != (first, scale) || mask >> bit & 1 == 1 {
            return Err(Lost::VariableOffset);
        }
        found = Some((cell, shift, mask | 1 << bit));
    }
    let (cell, shift, mask) = found.ok_or(Lost::VariableOffset)?;
    let Some(Cell { base: Base::Frame, offset: at }) = values.plain(cell) else {
        return Err(Lost::VariableOffset);
    };
    let header = HeaderBase { at, mask, shift, add: 0 };
    if header.longest() > u32::from(HEADER_MAX) {
        return Err(Lost::VariableOffset);
    }
    Ok(header)
}
