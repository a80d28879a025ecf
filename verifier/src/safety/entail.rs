//! Whether a state meets an obligation.
//!
//! One function for each [`Need`]. Each says yes only where the state proves it; everything else is
//! a refusal with the reason.

use ebpf::{AluOp, Cond, Kind, Operand, Program, Reg, Width, context};

use super::access;
use super::argument;
use super::name::Names;
use super::require::{self, Access, Need};
use super::scalar::Scalar;
use super::state::State;
use super::value::{Pointer, Region, Value};
use crate::refusal::UnsafeReason;

pub(super) type Verdict = Result<(), UnsafeReason>;

/// Whether the instruction passes an optional argument.
pub(super) type Passes<'a> = &'a dyn Fn(Reg) -> bool;

/// Whether `need` holds in `state`, in this program.
pub(super) fn check(program: &Program, state: &State, passes: Passes<'_>, need: Need) -> Verdict {
    match need {
        Need::Written(reg) => written(state, reg).map(|_| ()),
        Need::Number(reg) => number(state, reg, UnsafeReason::PointerArithmetic(reg)).map(|_| ()),
        Need::Arithmetic(Width::W32, AluOp::Mov, _, Operand::Reg(reg))
            if program.kind() != Kind::Filter && state.get(reg).half().is_some() =>
        {
            Ok(())
        }
        Need::Arithmetic(width, op, dst, src) => arithmetic(state, (width, op), dst, src),
        Need::Comparison(width, cond, dst, src) => comparison(state, (width, cond), dst, src),
        Need::Readable(access) => readable(program, state, access),
        Need::Writable(access) => writable(program, state, access),
        Need::Storable(access, src) => storable(state, access, src),
        Need::Atomic(access) => atomic(program, state, access),
        Need::Map(map) => argument::map_exists(program, map),
        Need::MapByte(map, offset) => argument::map_byte(program, map, offset),
        Need::Helper(id) => argument::helper(program, state, passes, id),
        Need::HelperIn(reg) => {
            let id = helper_in(state, reg)?;
            check(program, state, passes, require::helper(program.kind(), id))
        }
        Need::Result(reg) => result(program.kind(), state, reg),
        Need::Never(reason) => Err(reason),
    }
}

/// The value of a register that may be used.
pub(super) fn written(state: &State, reg: Reg) -> Result<Value, UnsafeReason> {
    match state.get(reg) {
        Value::Uninit => Err(UnsafeReason::UninitialisedRegister(reg)),
        Value::Mixed => Err(UnsafeReason::MixedRegister(reg)),
        Value::Stale | Value::Old => Err(UnsafeReason::StalePointer(reg)),
        value => Ok(value),
    }
}

fn number(state: &State, reg: Reg, otherwise: UnsafeReason) -> Result<Scalar, UnsafeReason> {
    match written(state, reg)? {
        Value::Scalar(number) => Ok(number),
        _ => Err(otherwise),
    }
}

/// The helper whose number is in a register, the same in every run.
pub(super) fn helper_in(state: &State, reg: Reg) -> Result<u32, UnsafeReason> {
    let number = number(state, reg, UnsafeReason::IndirectCall)?;
    number.as_constant().and_then(|id| u32::try_from(id).ok()).ok_or(UnsafeReason::IndirectCall)
}

fn operand(state: &State, operand: Operand) -> Result<Value, UnsafeReason> {
    match operand {
        Operand::Reg(reg) => written(state, reg),
        Operand::Imm(imm) => Ok(Value::Scalar(Scalar::constant(i64::from(imm).cast_unsigned()))),
    }
}

fn arithmetic(state: &State, (width, op): (Width, AluOp), dst: Reg, src: Operand) -> Verdict {
    let right = operand(state, src)?;
    let blamed = match src {
        Operand::Reg(reg) if !matches!(right, Value::Scalar(_)) => reg,
        _ => dst,
    };
    let refused = Err(UnsafeReason::PointerArithmetic(blamed));
    if op == AluOp::Mov {
        return if matches!(right, Value::Scalar(_)) { Ok(()) } else { refused };
    }
    let counted = match src {
        Operand::Reg(reg) => reg,
        Operand::Imm(_) => dst,
    };
    // Halves may be taken from each other, which leaves the low half of the difference.
    let halves = width == Width::W32 && op == AluOp::Sub;
    let whole = |value: Value| if halves { value.whole() } else { value };
    match (whole(written(state, dst)?), whole(right)) {
        (Value::Scalar(_), Value::Scalar(_)) => Ok(()),
        (Value::Lookup(..), _) => Err(UnsafeReason::NullNotChecked(dst)),
        (_, Value::Lookup(..)) => Err(UnsafeReason::NullNotChecked(blamed)),
        // The low half of a difference is a number like the whole.
        _ if width == Width::W32 && op != AluOp::Sub => refused,
        (Value::Pointer(_), Value::Scalar(_)) if width == Width::W32 => refused,
        (Value::Pointer(pointer), Value::Scalar(by)) => moves(op, pointer, &by, counted, refused),
        (Value::Scalar(by), Value::Pointer(pointer)) if op == AluOp::Add => {
            moves(op, pointer, &by, dst, refused)
        }
        (Value::Pointer(a), Value::Pointer(b)) if op == AluOp::Sub && comparable(&a, &b) => Ok(()),
        (Value::End, Value::Pointer(Pointer { region: Region::Packet, .. }))
            if op == AluOp::Sub =>
        {
            Ok(())
        }
        _ => refused,
    }
}

/// Whether a pointer moved by a number stays near; `refused` if it cannot be moved so at all.
fn moves(op: AluOp, pointer: Pointer, by: &Scalar, counted: Reg, refused: Verdict) -> Verdict {
    // The names do not matter for the question.
    let names = &mut Names::new();
    let moved = match op {
        AluOp::Add => pointer.moved(by, names),
        AluOp::Sub => pointer.moved_back(by, names),
        _ => return refused,
    };
    moved.map(|_| ()).ok_or(UnsafeReason::UnboundedOffset(counted))
}

/// Whether two pointers point into the same memory, whatever the run. Two values of one map are
/// not the same memory.
fn comparable(a: &Pointer, b: &Pointer) -> bool {
    a.region == b.region && !matches!(a.region, Region::Map(_))
}

fn comparison(state: &State, (width, cond): (Width, Cond), dst: Reg, src: Operand) -> Verdict {
    if old(state, (width, cond), dst, src) {
        return Ok(());
    }
    let (left, right) = (written(state, dst)?, operand(state, src)?);
    let blamed = match src {
        Operand::Reg(reg) if matches!(left, Value::Scalar(_)) => reg,
        _ => dst,
    };
    let equality = matches!(cond, Cond::Eq | Cond::Ne);
    let unsigned = matches!(cond, Cond::Gt | Cond::Ge | Cond::Lt | Cond::Le);
    let packet = |pointer: &Pointer| pointer.region == Region::Packet;
    let allowed = match (left, right) {
        (Value::Scalar(_), Value::Scalar(_)) => true,
        // Half an address is half as secret.
        (Value::Half(_) | Value::HalfEnd, _) | (_, Value::Half(_) | Value::HalfEnd) => false,
        (Value::Pointer(_) | Value::End | Value::Context, Value::Scalar(zero))
            if width == Width::W32 =>
        {
            equality && zero.as_constant() == Some(0)
        }
        _ if width == Width::W32 => false,
        (Value::Pointer(a), Value::Pointer(b)) => comparable(&a, &b) && (equality || unsigned),
        (Value::Pointer(it), Value::End) | (Value::End, Value::Pointer(it)) => {
            packet(&it) && (equality || unsigned)
        }
        (Value::End, Value::End) => equality || unsigned,
        // Whether it is null reveals no address.
        (_, Value::Scalar(zero)) | (Value::Scalar(zero), _) => {
            equality && zero.as_constant() == Some(0)
        }
        _ => false,
    };
    if allowed { Ok(()) } else { Err(UnsafeReason::PointerComparison(blamed)) }
}

/// Whether a pointer from before the packet's bounds moved is compared with another into the same
/// buffer. How far one is from the other is how far the program itself moved the bounds.
fn old(state: &State, (width, cond): (Width, Cond), dst: Reg, src: Operand) -> bool {
    let Operand::Reg(src) = src else { return false };
    let values = [state.get(dst), state.get(src)];
    let in_packet = |value: &Value| match value {
        Value::Old | Value::End => true,
        Value::Pointer(pointer) => pointer.region == Region::Packet,
        _ => false,
    };
    let signed = matches!(cond, Cond::Sgt | Cond::Sge | Cond::Slt | Cond::Sle);
    let bits = cond == Cond::Set;
    width == Width::W64
        && !signed
        && !bits
        && values.contains(&Value::Old)
        && values.iter().all(in_packet)
}

fn readable(program: &Program, state: &State, access: Access) -> Verdict {
    match written(state, access.base)? {
        Value::Pointer(pointer) => access::read(program, state, pointer, access),
        Value::Context => {
            let field = context::Field::at(access.offset);
            let exact = access.size == 4 && access.zero_extends && field.is_some();
            let at = i32::try_from(access.offset).unwrap_or(i32::MAX);
            if exact { Ok(()) } else { Err(UnsafeReason::BadContextAccess(at)) }
        }
        Value::Lookup(..) => Err(UnsafeReason::NullNotChecked(access.base)),
        _ => Err(UnsafeReason::NotAPointer(access.base)),
    }
}

fn writable(program: &Program, state: &State, access: Access) -> Verdict {
    match written(state, access.base)? {
        Value::Pointer(pointer) => access::write(program, state, pointer, access),
        Value::Context => Err(UnsafeReason::WriteToReadOnly(access.base)),
        Value::Lookup(..) => Err(UnsafeReason::NullNotChecked(access.base)),
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
        Value::Pointer(pointer)
            if matches!(pointer.region, Region::Stack(_))
                && access.size == 8
                && pointer.constant().is_some_and(|at| (at + access.offset) % 8 == 0) =>
        {
            Ok(())
        }
        _ => Err(UnsafeReason::PointerLeak(reg)),
    }
}

fn atomic(program: &Program, state: &State, access: Access) -> Verdict {
    match written(state, access.base)? {
        Value::Pointer(Pointer { region: Region::Packet, .. })
            if program.kind() != Kind::Memory =>
        {
            Err(UnsafeReason::AtomicAccess(access.base))
        }
        Value::Pointer(pointer) => {
            access::aligned(&pointer, access)?;
            access::write(program, state, pointer, access)?;
            access::read(program, state, pointer, access)?;
            access::no_pointer(state, pointer, access)
        }
        Value::Context => Err(UnsafeReason::AtomicAccess(access.base)),
        Value::Lookup(..) => Err(UnsafeReason::NullNotChecked(access.base)),
        _ => Err(UnsafeReason::NotAPointer(access.base)),
    }
}

/// The main function returns a number, and no action that is not taken; a local function what is
/// not a pointer to its own frame.
fn result(kind: Kind, state: &State, reg: Reg) -> Verdict {
    if state.frame() > 0 {
        return match written(state, reg)? {
            Value::Pointer(Pointer { region: Region::Stack(frame), .. })
                if frame >= state.frame() =>
            {
                Err(UnsafeReason::ReturnsPointer)
            }
            _ => Ok(()),
        };
    }
    let action = number(state, reg, UnsafeReason::ReturnsPointer)?;
    let redirect = u64::from(context::REDIRECT);
    if kind == Kind::Ash && action.as_constant() == Some(redirect) {
        return Err(UnsafeReason::Redirect);
    }
    Ok(())
}
