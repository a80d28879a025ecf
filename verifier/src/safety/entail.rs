//! Whether a state meets an obligation.
//!
//! One function for each [`Need`]. Each says yes only where the state proves it; everything else is
//! a refusal with the reason.

use ebpf::helper::{self, Arg};
use ebpf::{AluOp, Cond, Kind, Operand, Reg, Width, context};

use super::name::Name;
use super::require::{Access, Need};
use super::scalar::Scalar;
use super::stack::{self, Found};
use super::state::State;
use super::value::{Place, Value};
use crate::limits::STACK_OFFSET_MAX;
use crate::refusal::UnsafeReason;

type Verdict = Result<(), UnsafeReason>;

/// Whether `need` holds in `state`, in a program of this kind.
pub(super) fn check(kind: Kind, state: &State, need: Need) -> Verdict {
    match need {
        Need::Written(reg) => written(state, reg).map(|_| ()),
        Need::Number(reg) => number(state, reg, UnsafeReason::PointerArithmetic(reg)).map(|_| ()),
        Need::Arithmetic(width, op, dst, src) => arithmetic(state, width, op, dst, src),
        Need::Comparison(width, cond, dst, src) => comparison(state, width, cond, dst, src),
        Need::Readable(access) => readable(state, access),
        Need::Writable(access) => writable(kind, state, access),
        Need::Storable(access, src) => storable(state, access, src),
        Need::Atomic(access) => atomic(kind, state, access),
        Need::Helper(id) => arguments(state, id),
        Need::Result(reg) => result(kind, state, reg),
        Need::Never(reason) => Err(reason),
    }
}

fn written(state: &State, reg: Reg) -> Result<Value, UnsafeReason> {
    match state.get(reg) {
        Value::Uninit => Err(UnsafeReason::UninitialisedRegister(reg)),
        Value::Mixed => Err(UnsafeReason::MixedRegister(reg)),
        value => Ok(value),
    }
}

fn number(state: &State, reg: Reg, otherwise: UnsafeReason) -> Result<Scalar, UnsafeReason> {
    match written(state, reg)? {
        Value::Scalar(number) => Ok(number),
        _ => Err(otherwise),
    }
}

fn operand(state: &State, operand: Operand) -> Result<Value, UnsafeReason> {
    match operand {
        Operand::Reg(reg) => written(state, reg),
        Operand::Imm(imm) => Ok(Value::Scalar(Scalar::constant(i64::from(imm).cast_unsigned()))),
    }
}

fn arithmetic(state: &State, width: Width, op: AluOp, dst: Reg, src: Operand) -> Verdict {
    let right = operand(state, src)?;
    let blamed = match src {
        Operand::Reg(reg) if !matches!(right, Value::Scalar(_)) => reg,
        _ => dst,
    };
    let refused = Err(UnsafeReason::PointerArithmetic(blamed));
    if op == AluOp::Mov {
        return if matches!(right, Value::Scalar(_)) { Ok(()) } else { refused };
    }
    match (written(state, dst)?, right) {
        (Value::Scalar(_), Value::Scalar(_)) => Ok(()),
        _ if width == Width::W32 => refused,
        (Value::Packet(place), Value::Scalar(by)) => {
            let counted = match src {
                Operand::Reg(reg) => reg,
                Operand::Imm(_) => dst,
            };
            moves_near(op, place, &by, counted).unwrap_or(refused)
        }
        (Value::Scalar(by), Value::Packet(place)) if op == AluOp::Add => {
            moves_near(op, place, &by, dst).unwrap_or(refused)
        }
        (Value::Stack(offset), Value::Scalar(by)) => match stack_moved(op, offset, &by) {
            Some(_) => Ok(()),
            None => refused,
        },
        (Value::Scalar(by), Value::Stack(offset)) if op == AluOp::Add => {
            match stack_moved(op, offset, &by) {
                Some(_) => Ok(()),
                None => refused,
            }
        }
        (Value::Packet(_) | Value::End, Value::Packet(_)) if op == AluOp::Sub => Ok(()),
        _ => refused,
    }
}

/// Whether a packet pointer moved by a number stays near; `None` if it cannot be moved so at all.
fn moves_near(op: AluOp, place: Place, by: &Scalar, counted: Reg) -> Option<Verdict> {
    // The name does not matter for the question.
    let moved = match op {
        AluOp::Add => place.moved(by, Name::NONE),
        AluOp::Sub => place.moved_back(by),
        _ => return None,
    };
    Some(moved.map(|_| ()).ok_or(UnsafeReason::UnboundedOffset(counted)))
}

/// A stack pointer moved by a constant, if it stays near.
pub(super) fn stack_moved(op: AluOp, offset: i64, by: &Scalar) -> Option<i64> {
    let by = by.as_constant()?.cast_signed();
    let moved = match op {
        AluOp::Add => offset.checked_add(by)?,
        AluOp::Sub => offset.checked_sub(by)?,
        _ => return None,
    };
    (-STACK_OFFSET_MAX..=STACK_OFFSET_MAX).contains(&moved).then_some(moved)
}

fn comparison(state: &State, width: Width, cond: Cond, dst: Reg, src: Operand) -> Verdict {
    let (left, right) = (written(state, dst)?, operand(state, src)?);
    let blamed = match src {
        Operand::Reg(reg) if matches!(left, Value::Scalar(_)) => reg,
        _ => dst,
    };
    let equality = matches!(cond, Cond::Eq | Cond::Ne);
    let unsigned = matches!(cond, Cond::Gt | Cond::Ge | Cond::Lt | Cond::Le);
    let is_packet = |value: Value| matches!(value, Value::Packet(_) | Value::End);
    let allowed = match (left, right) {
        (Value::Scalar(_), Value::Scalar(_)) => true,
        _ if width == Width::W32 => false,
        (a, b) if is_packet(a) && is_packet(b) => equality || unsigned,
        // A pointer is never null: asking reveals nothing.
        (_, Value::Scalar(zero)) => equality && zero.as_constant() == Some(0),
        _ => false,
    };
    if allowed { Ok(()) } else { Err(UnsafeReason::PointerComparison(blamed)) }
}

fn readable(state: &State, access: Access) -> Verdict {
    match written(state, access.base)? {
        Value::Packet(place) => in_packet(state, place, access),
        Value::Stack(base) => {
            let offset = base + access.offset;
            let start = stack::locate(offset, access.size)?;
            let at = i32::try_from(offset).unwrap_or(i32::MAX);
            match state.stack.find(start, access.size) {
                Found::Whole(_) | Found::Bytes => Ok(()),
                Found::PartOfPointer => Err(UnsafeReason::PointerLeak(access.base)),
                Found::Hole => Err(UnsafeReason::UninitialisedStack(at)),
            }
        }
        Value::Context => {
            let field = context::Field::at(access.offset);
            let exact = access.size == 4 && access.zero_extends && field.is_some();
            let at = i32::try_from(access.offset).unwrap_or(i32::MAX);
            if exact { Ok(()) } else { Err(UnsafeReason::BadContextAccess(at)) }
        }
        _ => Err(UnsafeReason::NotAPointer(access.base)),
    }
}

/// The access lies behind the packet's first byte and before its end.
fn in_packet(state: &State, place: Place, access: Access) -> Verdict {
    if place.least() + access.offset < 0 {
        return Err(UnsafeReason::BeforePacket(access.base));
    }
    let reach = access.offset + access.size as i64;
    let behind_base = state.span(place.base).is_some_and(|span| place.bytes + reach <= span);
    if behind_base || place.most() + reach <= state.length.0 {
        return Ok(());
    }
    let end = i32::try_from(reach).unwrap_or(i32::MAX);
    Err(UnsafeReason::PacketOutOfBounds { reg: access.base, end })
}

fn writable(kind: Kind, state: &State, access: Access) -> Verdict {
    match written(state, access.base)? {
        Value::Packet(_) if kind == Kind::Filter => Err(UnsafeReason::WriteToReadOnly(access.base)),
        Value::Packet(place) => in_packet(state, place, access),
        Value::Stack(base) => stack::locate(base + access.offset, access.size).map(|_| ()),
        Value::Context => Err(UnsafeReason::WriteToReadOnly(access.base)),
        _ => Err(UnsafeReason::NotAPointer(access.base)),
    }
}

/// A pointer goes whole into an aligned stack slot, or nowhere.
fn storable(state: &State, access: Access, src: Operand) -> Verdict {
    let Operand::Reg(reg) = src else { return Ok(()) };
    if let Value::Scalar(_) = written(state, reg)? {
        return Ok(());
    }
    match state.get(access.base) {
        Value::Stack(base) if access.size == 8 && (base + access.offset) % 8 == 0 => Ok(()),
        _ => Err(UnsafeReason::PointerLeak(reg)),
    }
}

fn atomic(kind: Kind, state: &State, access: Access) -> Verdict {
    match written(state, access.base)? {
        Value::Stack(base) => {
            let offset = base + access.offset;
            if offset % access.size as i64 != 0 {
                let at = i32::try_from(offset).unwrap_or(i32::MAX);
                return Err(UnsafeReason::UnalignedAtomic(at));
            }
            let start = stack::locate(offset, access.size)?;
            match state.stack.find(start, access.size) {
                Found::Whole(Value::Scalar(_)) | Found::Bytes => Ok(()),
                Found::Whole(_) | Found::PartOfPointer => {
                    Err(UnsafeReason::PointerLeak(access.base))
                }
                Found::Hole => {
                    Err(UnsafeReason::UninitialisedStack(i32::try_from(offset).unwrap_or(i32::MAX)))
                }
            }
        }
        Value::Packet(place) if kind == Kind::Memory => in_packet(state, place, access),
        Value::Packet(_) | Value::Context => Err(UnsafeReason::AtomicAccess(access.base)),
        _ => Err(UnsafeReason::NotAPointer(access.base)),
    }
}

fn arguments(state: &State, id: u32) -> Verdict {
    let helper = helper::by_id(id).ok_or(UnsafeReason::UnknownHelper(id))?;
    let plain = |arg: &Arg| matches!(arg, Arg::Scalar | Arg::Context);
    if helper.moves_packet || !helper.args.iter().all(plain) {
        return Err(UnsafeReason::HelperNotTaken(id));
    }
    for (reg, arg) in Reg::ALL.into_iter().skip(1).zip(helper.args) {
        match (arg, written(state, reg)?) {
            (Arg::Scalar, Value::Scalar(_)) | (Arg::Context, Value::Context) => {}
            _ => return Err(UnsafeReason::HelperArgument(reg)),
        }
    }
    Ok(())
}

fn result(kind: Kind, state: &State, reg: Reg) -> Verdict {
    let action = number(state, reg, UnsafeReason::ReturnsPointer)?;
    let redirect = u64::from(context::REDIRECT);
    if kind == Kind::Ash && action.as_constant() == Some(redirect) {
        return Err(UnsafeReason::Redirect);
    }
    Ok(())
}
