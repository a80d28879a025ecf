//! What going one way at a branch teaches, and whether that way can be gone at all.
//!
//! Comparisons of numbers sharpen both numbers and every copy of them; a number that is a distance
//! to the packet's end, and every comparison of a packet pointer with it, teach how long the packet
//! is. Addresses do not wrap here: packet pointers stay within `PACKET_OFFSET_MAX` of the packet.

use ebpf::{Cond, Operand, Reg, Width};

use super::name::Name;
use super::refine;
use super::scalar::Scalar;
use super::state::State;
use super::value::{Place, Value};

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
        (Value::Scalar(a), Value::Scalar(b)) => numbers(state, test, holds, (a, b)),
        (Value::Packet(place), Value::End) => {
            relation(test.cond, holds, false).is_none_or(|it| measure(state, place, it))
        }
        (Value::End, Value::Packet(place)) => {
            relation(test.cond, holds, true).is_none_or(|it| measure(state, place, it))
        }
        _ => true,
    }
}

fn numbers(state: &mut State, test: Test, holds: bool, (a, b): (Scalar, Scalar)) -> bool {
    let Some((left, right)) = refine::branch(test.width, test.cond, holds, a, b) else {
        return false;
    };
    // One register compared with itself has one refinement; the other is not lost by dropping it.
    state.set(test.dst, Value::Scalar(left));
    state.learn(left.name, left);
    let mut feasible = measure_distance(state, left);
    if let Operand::Reg(src) = test.src
        && src != test.dst
        && (right.name != left.name || right.name == Name::NONE)
    {
        state.set(src, Value::Scalar(right));
        state.learn(right.name, right);
        feasible = measure_distance(state, right) && feasible;
    }
    feasible
}

/// A number that is the distance to the end says how long the packet is.
fn measure_distance(state: &mut State, number: Scalar) -> bool {
    let Some(distance) = number.distance else { return true };
    if let Some(least) = number.smin.checked_add(distance.bytes) {
        state.reaches(distance.base, least);
    }
    if distance.base == Name::DATA
        && let Some(most) = number.smax.checked_add(distance.bytes)
    {
        state.length.1 = state.length.1.min(most);
    }
    state.length.0 <= state.length.1
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
fn measure(state: &mut State, place: Place, relation: Relation) -> bool {
    match relation {
        Relation::NotPast => at_least(state, place, 0),
        Relation::Before => at_least(state, place, 1),
        Relation::NotBefore => at_most(state, place, 0),
        Relation::Past => at_most(state, place, 1),
        Relation::At => at_least(state, place, 0) && at_most(state, place, 0),
    }
}

/// The end is at least `more` bytes behind the pointer.
fn at_least(state: &mut State, place: Place, more: i64) -> bool {
    state.reaches(place.base, place.bytes + more);
    state.reaches(Name::DATA, place.least() + more);
    state.length.0 <= state.length.1
}

/// The end is at least `less` bytes before the pointer.
fn at_most(state: &mut State, place: Place, less: i64) -> bool {
    state.length.1 = state.length.1.min(place.most() - less);
    let known = state.span(place.base).unwrap_or(i64::MIN);
    state.length.0 <= state.length.1 && known <= place.bytes - less
}
