//! Making a loop's state hold for every way round: what changed goes to the next value that a
//! comparison in the loop stops at, or as far as it can go.

use alloc::vec::Vec;

use super::bits::Bits;
use super::number::Num;
use super::state::State;
use super::value::{Pointer, Region, Value};
use crate::limits::{OFFSET_MAX, OFFSET_MIN, THRESHOLDS_MAX};

/// Numbers that comparisons in a loop stop at, ascending.
#[derive(Clone, Debug, Default)]
pub(super) struct Thresholds {
    numbers: Vec<u64>,
}

impl Thresholds {
    /// A comparison with `number` stops at it or beside it; so do values that differ from what was
    /// compared by `delta`.
    pub(super) fn add(&mut self, number: u64, delta: u64) {
        for wide in [number, number.wrapping_sub(delta), number & u64::from(u32::MAX)] {
            for near in [wide.wrapping_sub(1), wide, wide.wrapping_add(1)] {
                if let Err(at) = self.numbers.binary_search(&near)
                    && self.numbers.len() < THRESHOLDS_MAX
                {
                    self.numbers.insert(at, near);
                }
            }
        }
    }

    fn at_least(&self, number: u64) -> u64 {
        let at = self.numbers.partition_point(|&it| it < number);
        self.numbers.get(at).copied().unwrap_or(u64::MAX)
    }

    fn at_most(&self, number: u64) -> u64 {
        let at = self.numbers.partition_point(|&it| it <= number);
        at.checked_sub(1).and_then(|at| self.numbers.get(at)).copied().unwrap_or(0)
    }

    fn at_least_signed(&self, number: i64) -> i64 {
        let above = self.numbers.iter().map(|it| it.cast_signed()).filter(|&it| it >= number);
        above.min().unwrap_or(i64::MAX)
    }

    fn at_most_signed(&self, number: i64) -> i64 {
        let below = self.numbers.iter().map(|it| it.cast_signed()).filter(|&it| it <= number);
        below.max().unwrap_or(i64::MIN)
    }
}

/// Widens what `joined` has beyond `old`, to thresholds, or without them.
pub(super) fn widen(old: &State, joined: &mut State, thresholds: Option<&Thresholds>) {
    let none = Thresholds::default();
    let stops = thresholds.unwrap_or(&none);
    let length = joined.length.1;
    for reg in ebpf::Reg::ALL {
        joined.set(reg, value(old.get(reg), joined.get(reg), stops, length));
    }
    for (seat, &before) in joined.saved_mut().iter_mut().flatten().zip(old.saved().iter().flatten())
    {
        *seat = value(before, *seat, stops, length);
    }
    joined.stack.widen(&old.stack, |before, after| value(before, after, stops, length));
    if thresholds.is_none() {
        if joined.length.0 < old.length.0 {
            joined.length.0 = 0;
        }
        let kept = |state: &State| state.spans().count();
        let shrunk = joined.spans().any(|span| old.span(span.base) != Some(span.bytes));
        if shrunk || kept(joined) != kept(old) {
            joined.forget_spans();
        }
    }
}

fn value(old: Value, new: Value, stops: &Thresholds, length: i64) -> Value {
    match (old, new) {
        (Value::Scalar(a), Value::Scalar(b)) if a.num != b.num => {
            Value::Scalar(b.refined(number(&a.num, &b.num, stops)))
        }
        (Value::Pointer(a), Value::Pointer(b)) if a != b => Value::Pointer(pointer(&a, b, length)),
        (_, new) => new,
    }
}

fn number(old: &Num, new: &Num, stops: &Thresholds) -> Num {
    let mut wide = *new;
    if new.umax > old.umax {
        wide.umax = stops.at_least(new.umax);
    }
    if new.umin < old.umin {
        wide.umin = stops.at_most(new.umin);
    }
    if new.smax > old.smax {
        wide.smax = stops.at_least_signed(new.smax);
    }
    if new.smin < old.smin {
        wide.smin = stops.at_most_signed(new.smin);
    }
    if new.low != old.low {
        wide.low = (0, u32::MAX);
    }
    if new.slow != old.slow {
        wide.slow = (i32::MIN, i32::MAX);
    }
    if new.bits != old.bits {
        // Multiples stay multiples.
        let known = match new.bits.unknown.trailing_zeros() {
            64 => u64::MAX,
            zeros => (1 << zeros) - 1,
        };
        wide.bits = Bits { value: new.bits.value & known, unknown: !known };
    }
    wide.settled()
}

fn pointer(old: &Pointer, new: Pointer, length: i64) -> Pointer {
    let (mut low, mut high) = (new.low, new.high);
    // The old base may be another one; what counts is where the pointer can be.
    if new.least() < old.least() {
        low = match new.region {
            Region::Packet if new.least() >= 0 => -new.bytes,
            _ => OFFSET_MIN - new.bytes.min(0),
        };
    }
    if new.most() > old.most() {
        high = match new.region {
            Region::Packet if new.most() <= length => length - new.bytes,
            Region::Stack(_) if new.most() <= 0 => -new.bytes,
            _ => OFFSET_MAX - new.bytes.max(0),
        };
    }
    let (low, high) = (low.clamp(OFFSET_MIN, new.low), high.clamp(new.high, OFFSET_MAX));
    Pointer { low, high, ..new }
}
