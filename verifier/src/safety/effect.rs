//! Effects: what each instruction does to the state, once its obligations are met.
//!
//! Jumps and branches have none here: which way they go is [`super::branch`]'s. Where an effect
//! meets a state that the obligations exclude, the result cannot be used at all.

use ebpf::helper::Return;
use ebpf::{AluOp, CallTarget, Imm64, Insn, Operand, Reg, Size, Width, context, helper};

use super::arith;
use super::entail::stack_moved;
use super::name::Name;
use super::scalar::{Distance, Scalar};
use super::stack::{self, Found};
use super::state::State;
use super::value::Value;

/// Changes `state` as the instruction at `pc` does.
pub(super) fn apply(state: &mut State, pc: u32, insn: &Insn) {
    match *insn {
        Insn::Alu { width, op, dst, src } => {
            let value = computed(state, pc, (width, op), dst, src);
            state.set(dst, value);
        }
        Insn::Neg { width, dst } => unary(state, pc, dst, dst, |a| arith::neg(width, a)),
        Insn::MovSx { width, from, dst, src } => {
            unary(state, pc, dst, src, |a| arith::sign_extend(width, from, a));
        }
        Insn::Endian { order, bits, dst } => {
            unary(state, pc, dst, dst, |a| arith::endian(order, bits, a));
        }
        Insn::LoadImm64 { dst, imm } => state.set(dst, immediate(imm)),
        Insn::Load { size, signed, dst, base, offset } => {
            let value = loaded(state, pc, (size, signed), base, offset.into());
            state.set(dst, value);
        }
        Insn::Store { size, base, offset, src } => {
            let value = source(state, src);
            store(state, size, base, offset.into(), value);
        }
        Insn::Atomic { size, op, fetch, base, offset, src } => {
            store(state, size, base, offset.into(), Value::Scalar(Scalar::UNKNOWN));
            let old = arith::loaded(size, false).named(Name::made_at(pc));
            match (op, fetch) {
                (ebpf::AtomicOp::Cmpxchg, _) => state.set(Reg::R0, Value::Scalar(old)),
                (_, true) => state.set(src, Value::Scalar(old)),
                (_, false) => {}
            }
        }
        Insn::Call { target } => call(state, pc, target),
        Insn::LoadImm64High | Insn::Jump { .. } | Insn::Branch { .. } | Insn::Exit => {}
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
        _ => Value::Mixed,
    }
}

fn computed(state: &State, pc: u32, (width, op): (Width, AluOp), dst: Reg, src: Operand) -> Value {
    let name = Name::made_at(pc);
    let right = source(state, src);
    if op == AluOp::Mov && width == Width::W64 {
        return right;
    }
    match (state.get(dst), right) {
        (_, Value::Scalar(b)) if op == AluOp::Mov => {
            Value::Scalar(renamed(arith::alu(width, op, b, b), &[b], name))
        }
        (Value::Scalar(a), Value::Scalar(b)) => {
            let result = arith::alu(width, op, a, b);
            let distance = shifted_distance(width, op, &a, &b);
            Value::Scalar(Scalar { distance, ..renamed(result, &[], name) })
        }
        (Value::Packet(place), Value::Packet(other)) => Value::Scalar(place.minus(other)),
        (Value::End, Value::Packet(place)) => {
            Value::Scalar(place.to_end(state.length.0, state.length.1).named(name))
        }
        (Value::Packet(place), Value::Scalar(by)) | (Value::Scalar(by), Value::Packet(place)) => {
            let moved = match op {
                AluOp::Add => place.moved(&by, name),
                _ => place.moved_back(&by),
            };
            moved.map_or(Value::Mixed, Value::Packet)
        }
        (Value::Stack(offset), Value::Scalar(by)) | (Value::Scalar(by), Value::Stack(offset)) => {
            stack_moved(op, offset, &by).map_or(Value::Mixed, Value::Stack)
        }
        _ => Value::Mixed,
    }
}

/// The result under a name of its own, unless it is one of the operands unchanged.
fn renamed(result: Scalar, operands: &[Scalar], name: Name) -> Scalar {
    if operands.contains(&result) { result } else { result.anonymous().named(name) }
}

/// The distance to the packet's end that is left after a constant is added or subtracted.
fn shifted_distance(width: Width, op: AluOp, a: &Scalar, b: &Scalar) -> Option<Distance> {
    let by = b.as_constant()?.cast_signed();
    let distance = a.distance.filter(|_| width == Width::W64)?;
    let bytes = match op {
        AluOp::Add => distance.bytes.checked_sub(by)?,
        AluOp::Sub => distance.bytes.checked_add(by)?,
        _ => return None,
    };
    // A constant may be as large as it likes; a distance that says something is small.
    const FAR: i64 = 1 << 32;
    (-FAR..=FAR).contains(&bytes).then_some(Distance { bytes, ..distance })
}

fn unary(state: &mut State, pc: u32, dst: Reg, src: Reg, of: impl Fn(Scalar) -> Scalar) {
    let value = match state.get(src) {
        Value::Scalar(a) => Value::Scalar(renamed(of(a), &[a], Name::made_at(pc))),
        _ => Value::Mixed,
    };
    state.set(dst, value);
}

fn loaded(state: &State, pc: u32, (size, signed): (Size, bool), base: Reg, offset: i64) -> Value {
    let bytes = Value::Scalar(arith::loaded(size, signed).named(Name::made_at(pc)));
    match state.get(base) {
        Value::Packet(_) => bytes,
        Value::Context => match context::Field::at(offset) {
            Some(context::Field::Data | context::Field::DataMeta) => {
                Value::Packet(super::value::Place::START)
            }
            Some(context::Field::DataEnd) => Value::End,
            Some(_) => bytes,
            None => Value::Mixed,
        },
        Value::Stack(at) => match stack::locate(at + offset, size.bytes()) {
            Ok(start) => match state.stack.find(start, size.bytes()) {
                Found::Whole(value) => value,
                Found::Bytes => bytes,
                Found::PartOfPointer | Found::Hole => Value::Mixed,
            },
            Err(_) => Value::Mixed,
        },
        _ => Value::Mixed,
    }
}

/// A store to the packet changes no fact: nothing is remembered of its content.
fn store(state: &mut State, size: Size, base: Reg, offset: i64, value: Value) {
    let Value::Stack(at) = state.get(base) else { return };
    let Ok(start) = stack::locate(at + offset, size.bytes()) else { return };
    if size == Size::B8 && start.is_multiple_of(8) {
        state.stack.store_whole(start, value);
    } else {
        state.stack.store_bytes(start, size.bytes());
    }
}

/// The result is in `r0`, the argument registers are lost.
fn call(state: &mut State, pc: u32, target: CallTarget) {
    let returns = match target {
        CallTarget::Helper(id) => helper::by_id(id).map(|helper| helper.returns),
        _ => None,
    };
    for reg in Reg::ALL.into_iter().skip(1).take(5) {
        state.set(reg, Value::Uninit);
    }
    let name = Name::made_at(pc);
    let value = match returns {
        Some(Return::Scalar | Return::Status) => Value::Scalar(Scalar::UNKNOWN.named(name)),
        Some(Return::Scalar32) => Value::Scalar(arith::loaded(Size::B4, false).named(name)),
        Some(Return::MapValueOrNull) | None => Value::Mixed,
    };
    state.set(Reg::R0, value);
}
