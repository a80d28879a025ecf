//! Where paths meet: a state that describes both.
//!
//! Spans need care: what is known of a base survives only if both states know it, and a pointer
//! whose bases differ gets a base named after the meeting place, with what both know of it.

use alloc::vec::Vec;

use super::name::{Name, Seat};
use super::stack::{SLOTS, Slot, Stack};
use super::state::{Span, State};
use super::value::{Place, Value};

/// The state before `pc` when control comes there with `a` or with `b`.
pub(super) fn join(pc: u32, a: &State, b: &State) -> State {
    let mut joined = a.clone();
    joined.length = (a.length.0.min(b.length.0), a.length.1.max(b.length.1));
    joined.forget_spans();
    for Span { base, bytes } in a.spans() {
        if let Some(other) = b.span(base) {
            joined.reaches(base, bytes.min(other));
        }
    }
    let mut new_spans = Vec::new();
    for reg in ebpf::Reg::ALL {
        let seat = Name::met_at(pc, reg.number());
        let (value, span) = meet(seat, (a, a.get(reg)), (b, b.get(reg)));
        joined.set(reg, value);
        new_spans.extend(span);
    }
    let mut slots = Vec::new();
    for index in 0..SLOTS as Seat {
        let seat = Name::met_at(pc, 11 + index);
        let (ours, theirs) = (a.stack.slot(index.into()), b.stack.slot(index.into()));
        let (slot, span) = meet_slots(seat, (a, ours), (b, theirs));
        new_spans.extend(span);
        if slot != Slot::Bytes(0) {
            slots.push((index, slot));
        }
    }
    joined.stack = Stack::from_slots(slots);
    for Span { base, bytes } in new_spans {
        joined.reaches(base, bytes);
    }
    joined
}

fn meet(seat: Name, a: (&State, Value), b: (&State, Value)) -> (Value, Option<Span>) {
    match (a.1, b.1) {
        (x, y) if x == y => (x, None),
        (Value::Uninit, _) | (_, Value::Uninit) => (Value::Uninit, None),
        (Value::Scalar(x), Value::Scalar(y)) => (Value::Scalar(x.join(y)), None),
        (Value::Packet(x), Value::Packet(y)) => meet_places(seat, (a.0, x), (b.0, y)),
        _ => (Value::Mixed, None),
    }
}

fn meet_places(seat: Name, a: (&State, Place), b: (&State, Place)) -> (Value, Option<Span>) {
    let (x, y) = (a.1, b.1);
    if x.base == y.base && x.bytes == y.bytes {
        let (low, high) = (x.low.min(y.low), x.high.max(y.high));
        return (Value::Packet(Place { low, high, ..x }), None);
    }
    let (low, high) = (x.least().min(y.least()), x.most().max(y.most()));
    let behind = |state: &State, place: Place| state.span(place.base).map(|all| all - place.bytes);
    let span = match (behind(a.0, x), behind(b.0, y)) {
        (Some(ours), Some(theirs)) => Some(Span { base: seat, bytes: ours.min(theirs) }),
        _ => None,
    };
    (Value::Packet(Place { base: seat, low, high, bytes: 0 }), span)
}

fn meet_slots(seat: Name, a: (&State, Slot), b: (&State, Slot)) -> (Slot, Option<Span>) {
    match (a.1, b.1) {
        (x, y) if x == y => (x, None),
        (Slot::Whole(x), Slot::Whole(y)) => match meet(seat, (a.0, x), (b.0, y)) {
            // What is no number on every path cannot be read at all.
            (Value::Mixed | Value::Uninit, _) => (Slot::Bytes(0), None),
            (value, span) => (Slot::Whole(value), span),
        },
        (x, y) => (Slot::Bytes(written(x) & written(y)), None),
    }
}

/// The bytes of a slot that may be read as bytes.
fn written(slot: Slot) -> u8 {
    match slot {
        Slot::Bytes(written) => written,
        Slot::Whole(Value::Scalar(_)) => 0xff,
        Slot::Whole(_) => 0,
    }
}
