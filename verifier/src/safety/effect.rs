//! Effects: what each instruction does to the state, once its obligations are met.
//!
//! Branches and the ways into and out of local functions have none here: which way they go is
//! [`super::branch`]'s and [`super::engine`]'s. Where an effect meets a state that the obligations
//! exclude, the result cannot be used at all.

use ebpf::{AluOp, AtomicOp, CallTarget, Imm64, Insn, Operand, Program, Reg, Size, Width, context};

use super::access::index;
use super::arith;
use super::name::Names;
use super::number::Num;
use super::returns;
use super::scalar::{Distance, Scalar};
use super::stack::Found;
use super::state::State;
use super::value::{Pointer, Region, Value};

/// Changes `state` as the instruction does.
pub(super) fn apply(program: &Program, state: &mut State, names: &mut Names, insn: &Insn) {
    match *insn {
        Insn::Alu { width, op, dst, src } => {
            let value = computed(state, names, (width, op), dst, src);
            state.set(dst, value);
        }
        Insn::Neg { width, dst } => unary(state, names, (dst, dst), |a| arith::neg(width, a)),
        Insn::MovSx { width, from, dst, src } => {
            unary(state, names, (dst, src), |a| arith::sign_extend(width, from, a));
        }
        Insn::Endian { order, bits, dst } => {
            unary(state, names, (dst, dst), |a| arith::endian(order, bits, a));
        }
        Insn::LoadImm64 { dst, imm } => state.set(dst, immediate(imm)),
        Insn::Load { size, signed, dst, base, offset } => {
            let value = loaded(state, names, (size, signed), base, offset.into());
            state.set(dst, value);
        }
        Insn::Store { size, base, offset, src } => {
            let value = source(state, src);
            store(state, names, size, (base, offset.into()), value);
        }
        Insn::Atomic { size, op, fetch, base, offset, src } => {
            let old = loaded(state, names, (size, false), base, offset.into());
            let changed = Scalar::new(arith::loaded(size, false), names);
            store(state, names, size, (base, offset.into()), Value::Scalar(changed));
            match (op, fetch) {
                (AtomicOp::Cmpxchg, _) => state.set(Reg::R0, old),
                (_, true) => state.set(src, old),
                (_, false) => {}
            }
        }
        Insn::Call { target: CallTarget::Helper(id) } => returns::helper(program, state, names, id),
        Insn::Call { target: CallTarget::Register(reg) } => {
            if let Ok(id) = super::entail::helper_in(state, reg) {
                returns::helper(program, state, names, id);
            }
        }
        Insn::Call { .. }
        | Insn::LoadImm64High
        | Insn::Jump { .. }
        | Insn::Branch { .. }
        | Insn::Exit => {}
    }
}

fn source(state: &State, operand: Operand) -> Value {
    match operand {
        Operand::Reg(reg) => state.get(reg),
        Operand::Imm(imm) => Value::Scalar(Scalar::constant(i64::from(imm).cast_unsigned())),
    }
}

fn immediate(imm: Imm64) -> Value {
    match imm {
        Imm64::Value(value) => Value::Scalar(Scalar::constant(value)),
        Imm64::MapFd(map) => Value::Map(map),
        Imm64::MapValue { fd, offset } => {
            let first = Pointer::first(Region::Map(fd));
            Value::Pointer(Pointer { bytes: offset.into(), ..first })
        }
        Imm64::Other { .. } => Value::Mixed,
    }
}

fn computed(
    state: &mut State,
    names: &mut Names,
    (width, op): (Width, AluOp),
    dst: Reg,
    src: Operand,
) -> Value {
    let right = source(state, src);
    if op == AluOp::Mov && width == Width::W64 {
        return right;
    }
    if op == AluOp::Mov
        && let Some(half) = right.half()
    {
        return half;
    }
    let halves = width == Width::W32 && op == AluOp::Sub;
    let whole = |value: Value| if halves { value.whole() } else { value };
    match (whole(state.get(dst)), whole(right)) {
        (_, Value::Scalar(b)) if op == AluOp::Mov => {
            // Cutting off what is zero anyway leaves the same number.
            let same = b.num.fits32();
            Value::Scalar(if same { b } else { Scalar::new(b.num.low32(), names) })
        }
        (Value::Scalar(a), Value::Scalar(b)) => {
            Value::Scalar(numbers(names, (width, op), &a, &b, src == Operand::Reg(dst)))
        }
        (Value::Pointer(a), Value::Pointer(b)) => {
            let difference = a.minus(b, names);
            Value::Scalar(cut(width, difference, names))
        }
        (Value::End, Value::Pointer(pointer)) => {
            let difference = pointer.to_end(state.length, names);
            Value::Scalar(cut(width, difference, names))
        }
        (Value::Pointer(pointer), Value::Scalar(by))
        | (Value::Scalar(by), Value::Pointer(pointer)) => {
            let moved = match op {
                AluOp::Add => pointer.moved(&by, names),
                _ => pointer.moved_back(&by, names),
            };
            if let Some(moved) = &moved {
                let most =
                    if op == AluOp::Add { by.num.smax } else { by.num.smin.saturating_neg() };
                reached(state, &pointer, moved, most);
            }
            moved.map_or(Value::Mixed, Value::Pointer)
        }
        _ => Value::Mixed,
    }
}

/// The low half of a number, where an instruction leaves no more.
fn cut(width: Width, number: Scalar, names: &mut Names) -> Scalar {
    if width == Width::W64 || number.num.fits32() {
        return number;
    }
    Scalar::new(number.num.low32(), names)
}

/// What is known to be behind a packet pointer is, less by as much as it moves at most.
fn reached(state: &mut State, before: &Pointer, moved: &Pointer, most: i64) {
    if before.region == Region::Packet
        && moved.base != before.base
        && moved.bytes == before.bytes
        && let Some(span) = state.span(before.base)
    {
        state.reaches(moved.base, span.saturating_sub(most));
    }
}

/// The result keeps the name of an operand that it is at a fixed distance from.
fn numbers(
    names: &mut Names,
    (width, op): (Width, AluOp),
    a: &Scalar,
    b: &Scalar,
    one_register: bool,
) -> Scalar {
    if one_register && matches!(op, AluOp::Sub | AluOp::Xor) {
        return Scalar::constant(0);
    }
    let num = arith::alu(width, op, a.num, b.num);
    if num.as_constant().is_some() {
        return Scalar::new(num, names);
    }
    let (known, by) = match (op, a.as_constant(), b.as_constant()) {
        (AluOp::Add, None, Some(by)) => (a, by),
        (AluOp::Add, Some(by), None) => (b, by),
        (AluOp::Sub, None, Some(by)) => (a, by.wrapping_neg()),
        // Neutral operands.
        (AluOp::Or | AluOp::Xor | AluOp::Lsh | AluOp::Rsh | AluOp::Arsh, None, Some(0)) => (a, 0),
        (AluOp::Mul | AluOp::Div, None, Some(1)) => (a, 0),
        (AluOp::And | AluOp::Mod, None, Some(_)) if num == a.num => (a, 0),
        _ => return Scalar::new(num, names),
    };
    let by = match width {
        Width::W64 => by,
        Width::W32 => i64::from(by as u32 as i32).cast_unsigned(),
    };
    if width == Width::W32 && !keeps_distance(&known.num, by.cast_signed()) {
        return Scalar::new(num, names);
    }
    if matches!(op, AluOp::And | AluOp::Mod) && !unchanged(op, &known.num, b) {
        return Scalar::new(num, names);
    }
    let delta = known.delta.wrapping_add(by);
    Scalar { num, delta, distance: shifted(known, by), ..*known }
}

/// Whether a 32-bit addition is the 64-bit one: the number has no upper half, and gets none.
fn keeps_distance(known: &Num, by: i64) -> bool {
    known.fits32()
        && known.umin.checked_add_signed(by).is_some()
        && known.umax.checked_add_signed(by).is_some_and(|most| most <= u64::from(u32::MAX))
}

/// Whether masking, or taking a remainder, leaves every such number as it is.
fn unchanged(op: AluOp, known: &Num, by: &Scalar) -> bool {
    match by.as_constant() {
        Some(mask) if op == AluOp::And => known.bits.max() & !mask == 0,
        Some(divisor) => known.umax < divisor,
        None => false,
    }
}

/// The distance to the packet's end that is left after a constant is added.
fn shifted(number: &Scalar, by: u64) -> Option<Distance> {
    let distance = number.distance?;
    let bytes = distance.bytes.checked_sub(by.cast_signed())?;
    // A constant may be as large as it likes; a distance that says something is small.
    const FAR: i64 = 1 << 32;
    (-FAR..=FAR).contains(&bytes).then_some(Distance { bytes, ..distance })
}

fn unary(state: &mut State, names: &mut Names, (dst, src): (Reg, Reg), of: impl Fn(Num) -> Num) {
    let value = match state.get(src) {
        Value::Scalar(a) => Value::Scalar(Scalar::new(of(a.num), names)),
        _ => Value::Mixed,
    };
    state.set(dst, value);
}

fn loaded(
    state: &State,
    names: &mut Names,
    (size, signed): (Size, bool),
    base: Reg,
    offset: i64,
) -> Value {
    let any = arith::loaded(size, signed);
    match state.get(base) {
        Value::Context => match context::Field::at(offset) {
            Some(context::Field::Data | context::Field::DataMeta) => {
                Value::Pointer(Pointer::first(Region::Packet))
            }
            Some(context::Field::DataEnd) => Value::End,
            Some(_) => Value::Scalar(Scalar::new(any, names)),
            None => Value::Mixed,
        },
        Value::Pointer(pointer @ Pointer { region: Region::Stack(frame), .. }) => {
            let Some(at) = pointer.constant() else {
                return Value::Scalar(Scalar::new(any, names));
            };
            match state.stack.find(index(frame, at + offset), size.bytes()) {
                Found::Value(Value::Scalar(number)) if signed => {
                    let wide = arith::sign_extend(Width::W64, size, number.num);
                    let same = wide == number.num && number.num.smin >= 0;
                    Value::Scalar(if same { number } else { Scalar::new(wide, names) })
                }
                Found::Value(value) => value,
                Found::Bytes(num) if signed => {
                    Value::Scalar(Scalar::new(arith::sign_extend(Width::W64, size, num), names))
                }
                Found::Bytes(num) => Value::Scalar(Scalar::new(num, names)),
                Found::PartOfPointer | Found::Hole(_) => Value::Mixed,
            }
        }
        Value::Pointer(_) => Value::Scalar(Scalar::new(any, names)),
        _ => Value::Mixed,
    }
}

/// A store to the packet or to a map changes no fact: nothing is remembered of their content.
fn store(
    state: &mut State,
    names: &mut Names,
    size: Size,
    (base, offset): (Reg, i64),
    value: Value,
) {
    let Value::Pointer(pointer) = state.get(base) else { return };
    let Region::Stack(frame) = pointer.region else { return };
    let (first, last) = (pointer.least() + offset, pointer.most() + offset);
    let start = index(frame, first);
    match (pointer.constant(), value) {
        (Some(_), Value::Scalar(number)) => state.stack.store(start, size, number, names),
        (Some(_), pointer) => state.stack.store_pointer(start, pointer),
        // Somewhere in a range: none of it is certainly written, all of it may be.
        (None, _) => {
            let most = (last - first).unsigned_abs() as usize + size.bytes();
            state.stack.store_unknown(start, 0, most, names);
        }
    }
}
