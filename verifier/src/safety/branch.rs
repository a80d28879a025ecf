//! What going one way at a branch teaches, and whether that way can be gone at all.
//!
//! Comparisons of numbers sharpen both numbers and everything known to be at a fixed distance from
//! them; a number that is a distance to the packet's end, and every comparison of a packet pointer
//! with it, teach how long the packet is. Addresses do not wrap here: packet pointers stay within
//! `OFFSET_MAX` of the packet.

use ebpf::{Cond, Operand, Reg, Width};

use super::name::Name;
use super::number::Num;
use super::refine;
use super::scalar::Scalar;
use super::state::State;
use super::value::{Pointer, Region, Value};

/// A comparison as it stands in a branch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Test {
    pub(super) width: Width,
    pub(super) cond: Cond,
    pub(super) dst: Reg,
    pub(super) src: Operand,
}

/// Lets `state` learn that `test` came out as `holds`. `false`: it cannot.
pub(super) fn follow(state: &mut State, test: Test, holds: bool) -> bool {
    let left = state.get(test.dst);
    let right = match test.src {
        Operand::Reg(reg) => state.get(reg),
        Operand::Imm(imm) => Value::Scalar(Scalar::constant(i64::from(imm).cast_unsigned())),
    };
    match (left, right) {
        (Value::Scalar(a), Value::Scalar(b)) => numbers(state, test, holds, (&a, &b)),
        (Value::Pointer(pointer), Value::End) => {
            relation(test.cond, holds, false).is_none_or(|it| measure(state, pointer, it))
        }
        (Value::End, Value::Pointer(pointer)) => {
            relation(test.cond, holds, true).is_none_or(|it| measure(state, pointer, it))
        }
        (Value::Pointer(a), Value::Pointer(b)) => pointers(test.cond, holds, &a, &b),
        (Value::End, Value::End) => ordered(test.cond, holds, 0, 0),
        (Value::Lookup(_, name), Value::Scalar(_)) | (Value::Scalar(_), Value::Lookup(_, name)) => {
            state.learn_null(name, (test.cond == Cond::Eq) == holds);
            true
        }
        // The low half of an address may be anything.
        (_, Value::Scalar(_)) if test.width == Width::W32 => true,
        (_, Value::Scalar(_)) => (test.cond == Cond::Ne) == holds,
        (Value::Scalar(_), _) => (test.cond == Cond::Ne) == holds,
        _ => true,
    }
}

fn numbers(state: &mut State, test: Test, holds: bool, (a, b): (&Scalar, &Scalar)) -> bool {
    // A value and itself, or what is at a fixed distance from it.
    if a.name == b.name && test.width == Width::W64 && matches!(test.cond, Cond::Eq | Cond::Ne) {
        return ((a.delta == b.delta) == (test.cond == Cond::Eq)) == holds;
    }
    if a.name == b.name && a.delta == b.delta {
        let same = matches!(test.cond, Cond::Eq | Cond::Ge | Cond::Le | Cond::Sge | Cond::Sle);
        return test.cond == Cond::Set || same == holds;
    }
    let Some((left, right)) = refine::branch(test.width, test.cond, holds, a.num, b.num) else {
        return false;
    };
    learn(state, a, left) && learn(state, b, right)
}

/// The number is one of these; so a distance to the end says how long the packet is.
fn learn(state: &mut State, before: &Scalar, num: Num) -> bool {
    if num == before.num {
        return true;
    }
    if !state.learn(&Scalar { num, ..*before }) {
        return false;
    }
    let Some(distance) = before.distance else { return true };
    if let Some(least) = num.smin.checked_add(distance.bytes) {
        state.reaches(distance.base, least);
    }
    if distance.base == Name::ZERO
        && let Some(most) = num.smax.checked_add(distance.bytes)
    {
        state.length.1 = state.length.1.min(most);
    }
    state.length.0 <= state.length.1
}

/// Two pointers into one region: what their distance says, if that is known.
fn pointers(cond: Cond, holds: bool, a: &Pointer, b: &Pointer) -> bool {
    if a.base == b.base {
        return ordered(cond, holds, a.bytes, b.bytes);
    }
    // All pairs come out one way.
    let always = [(a.least(), b.most()), (a.most(), b.least())];
    always.into_iter().any(|(a, b)| ordered(cond, holds, a, b)) || !strict(cond)
}

/// Whether the ends of two ranges decide a comparison.
const fn strict(cond: Cond) -> bool {
    matches!(cond, Cond::Gt | Cond::Ge | Cond::Lt | Cond::Le)
}

fn ordered(cond: Cond, holds: bool, a: i64, b: i64) -> bool {
    match cond {
        Cond::Eq => (a == b) == holds,
        Cond::Ne => (a != b) == holds,
        Cond::Gt => (a > b) == holds,
        Cond::Ge => (a >= b) == holds,
        Cond::Lt => (a < b) == holds,
        Cond::Le => (a <= b) == holds,
        _ => true,
    }
}

/// How a packet pointer stands to the packet's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    /// `pointer <= end`
    NotPast,
    /// `pointer < end`
    Before,
    /// `pointer >= end`
    NotBefore,
    /// `pointer > end`
    Past,
    /// `pointer == end`
    At,
}

/// What `pointer cond end` being `holds` says; `flipped` where it reads `end cond pointer`.
const fn relation(cond: Cond, holds: bool, flipped: bool) -> Option<Relation> {
    Some(match (cond, holds, flipped) {
        (Cond::Gt, true, false) | (Cond::Le, false, false) => Relation::Past,
        (Cond::Ge, true, false) | (Cond::Lt, false, false) => Relation::NotBefore,
        (Cond::Lt, true, false) | (Cond::Ge, false, false) => Relation::Before,
        (Cond::Le, true, false) | (Cond::Gt, false, false) => Relation::NotPast,
        (Cond::Gt, true, true) | (Cond::Le, false, true) => Relation::Before,
        (Cond::Ge, true, true) | (Cond::Lt, false, true) => Relation::NotPast,
        (Cond::Lt, true, true) | (Cond::Ge, false, true) => Relation::Past,
        (Cond::Le, true, true) | (Cond::Gt, false, true) => Relation::NotBefore,
        (Cond::Eq, true, _) | (Cond::Ne, false, _) => Relation::At,
        _ => return None,
    })
}

/// Learns the packet's length from one of its pointers. `false`: no packet is so.
fn measure(state: &mut State, pointer: Pointer, relation: Relation) -> bool {
    if pointer.region != Region::Packet {
        return true;
    }
    match relation {
        Relation::NotPast => at_least(state, pointer, 0),
        Relation::Before => at_least(state, pointer, 1),
        Relation::NotBefore => at_most(state, pointer, 0),
        Relation::Past => at_most(state, pointer, 1),
        Relation::At => at_least(state, pointer, 0) && at_most(state, pointer, 0),
    }
}

/// The end is at least `more` bytes behind the pointer.
fn at_least(state: &mut State, pointer: Pointer, more: i64) -> bool {
    state.reaches(pointer.base, pointer.bytes + more);
    state.reaches(Name::ZERO, pointer.least() + more);
    // The base is no farther than the longest packet allows.
    let most = state.length.1 - pointer.bytes - more;
    let base = Scalar {
        num: Num::signed(pointer.low, pointer.high.min(most).max(pointer.low)),
        name: pointer.base,
        delta: 0,
        distance: None,
    };
    let narrower = most < pointer.high;
    most >= pointer.low && state.length.0 <= state.length.1 && (!narrower || state.learn(&base))
}

/// The end is at least `less` bytes before the pointer.
fn at_most(state: &mut State, pointer: Pointer, less: i64) -> bool {
    state.length.1 = state.length.1.min(pointer.most() - less);
    let known = state.span(pointer.base).unwrap_or(i64::MIN);
    state.length.0 <= state.length.1 && known <= pointer.bytes - less
}
