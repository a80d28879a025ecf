//! Where paths meet: a state that describes both, and whether one state describes all of another.
//!
//! Names need care. What two registers have in common survives a join if they have it on both
//! sides: a pair of names, at a fixed difference, becomes one new name. Spans behind bases survive
//! likewise. A name that means the same on both sides is kept.

use alloc::vec::Vec;

use super::name::{Name, Names};
use super::scalar::Scalar;
use super::stack::{Slot, Stack, bytes_of};
use super::state::{Span, State};
use super::value::{Pointer, Region, Value};

/// The state when control comes with `a` or with `b`.
pub(super) fn join(names: &mut Names, a: &State, b: &State) -> State {
    let mut pairs = Pairs { known: Vec::new(), names };
    let mut joined = a.clone();
    joined.length = (a.length.0.min(b.length.0), a.length.1.max(b.length.1));
    joined.cost = a.cost.max(b.cost);
    joined.trail = a.trail.shorter(b.trail);
    for reg in ebpf::Reg::ALL {
        joined.set(reg, pairs.meet(a.get(reg), b.get(reg)));
    }
    let kept = a.saved().iter().flatten().zip(b.saved().iter().flatten());
    for (seat, (&x, &y)) in joined.saved_mut().iter_mut().flatten().zip(kept) {
        *seat = pairs.meet(x, y);
    }
    joined.stack = stacks(&mut pairs, &a.stack, &b.stack);
    let pairs = pairs.known;
    spans(&mut joined, &pairs, a, b);
    joined
}

/// Pairs of names that one name stands for from here on.
struct Pairs<'a> {
    known: Vec<Pair>,
    names: &'a mut Names,
}

/// The value `made` is `a` on one side and `b + shift` on the other.
#[derive(Clone, Copy)]
struct Pair {
    a: Name,
    b: Name,
    shift: u64,
    made: Name,
    /// Whether it is the base of a pointer.
    base: bool,
}

/// Greatest constant that is taken for an offset.
const OFFSETS: u64 = 0xffff;

/// Pairs that one join remembers; behind that, values are not known to have anything in common.
const PAIRS_MAX: usize = 48;

impl Pairs<'_> {
    /// The name of what is `a` on one side and `b + shift` on the other.
    fn name(&mut self, a: Name, b: Name, shift: u64, base: bool) -> Name {
        if a == b && shift == 0 {
            return a;
        }
        let same = |pair: &&mut Pair| (pair.a, pair.b, pair.shift) == (a, b, shift);
        if let Some(pair) = self.known.iter_mut().find(same) {
            pair.base |= base;
            return pair.made;
        }
        let made = self.names.fresh();
        if self.known.len() < PAIRS_MAX {
            self.known.push(Pair { a, b, shift, made, base });
        }
        made
    }

    fn meet(&mut self, a: Value, b: Value) -> Value {
        match (a, b) {
            (x, y) if x == y => x,
            (Value::Uninit, _) | (_, Value::Uninit) => Value::Uninit,
            (Value::Scalar(x), Value::Scalar(y)) => Value::Scalar(self.numbers(&x, &y)),
            (Value::Pointer(x), Value::Pointer(y)) if x.region == y.region => {
                Value::Pointer(self.pointers(&x, &y))
            }
            (Value::Stale | Value::Old, _) | (_, Value::Stale | Value::Old) => Value::Stale,
            (x, y) => match (looked_up(x), looked_up(y)) {
                (Some(map), Some(other)) if map.or(other).is_some() && agree(map, other) => {
                    map.or(other).map_or(Value::Mixed, |map| Value::Lookup(map, self.names.fresh()))
                }
                _ => Value::Mixed,
            },
        }
    }

    fn numbers(&mut self, x: &Scalar, y: &Scalar) -> Scalar {
        let shift = y.delta.wrapping_sub(x.delta);
        // A small constant may be an offset that the packet was found to reach behind.
        let offset = x.as_constant().max(y.as_constant()).is_some_and(|most| most <= OFFSETS)
            && x.name == y.name;
        let name = self.name(x.name, y.name, shift, offset);
        let distance = if x.distance == y.distance { x.distance } else { None };
        let joined = Scalar { num: x.num.join(&y.num), name, delta: x.delta, distance };
        joined.refined(joined.num)
    }

    fn pointers(&mut self, x: &Pointer, y: &Pointer) -> Pointer {
        let shift = y.bytes - x.bytes;
        // Two values of one map have no first byte in common; a name that is kept says nothing of
        // the value, only of the offset.
        let base = self.name(x.base, y.base, shift.cast_unsigned(), true);
        let align = match shift {
            0 => x.align.min(y.align),
            _ => x.align.min(y.align).min(shift.trailing_zeros() as u8),
        };
        let (low, high) = (x.low.min(y.low + shift), x.high.max(y.high + shift));
        Pointer { region: x.region, base, low, high, bytes: x.bytes, align }
    }
}

/// What may come of a look-up: null (`Some(None)`), or the first byte of a value of this map.
fn looked_up(value: Value) -> Option<Option<u32>> {
    match value {
        Value::Scalar(zero) if zero.as_constant() == Some(0) => Some(None),
        Value::Lookup(map, _) => Some(Some(map)),
        Value::Pointer(pointer @ Pointer { region: Region::Map(map), .. }) => {
            (pointer.constant() == Some(0)).then_some(Some(map))
        }
        _ => None,
    }
}

/// Whether both, as far as they name a map, name the same.
fn agree(a: Option<u32>, b: Option<u32>) -> bool {
    a.is_none() || b.is_none() || a == b
}

fn stacks(pairs: &mut Pairs<'_>, a: &Stack, b: &Stack) -> Stack {
    let (mut ours, mut theirs) = (a.slots().iter().peekable(), b.slots().iter().peekable());
    let mut slots = Vec::with_capacity(a.slots().len().min(b.slots().len()));
    while let (Some(&&(at, x)), Some(&&(other, y))) = (ours.peek(), theirs.peek()) {
        if at < other {
            ours.next();
        } else if other < at {
            theirs.next();
        } else {
            ours.next();
            theirs.next();
            slots.extend(meet_slots(pairs, x, y).map(|slot| (at, slot)));
        }
    }
    Stack::from_slots(slots)
}

fn meet_slots(pairs: &mut Pairs<'_>, a: Slot, b: Slot) -> Option<Slot> {
    if a == b {
        return Some(a);
    }
    let whole = |slot| match slot {
        Slot::Pointer(value) => Some(value),
        Slot::Number(0xff, content) => Some(Value::Scalar(content)),
        Slot::Number(..) => None,
    };
    if let (Slot::Number(x, p), Slot::Number(y, q)) = (a, b) {
        let written = x & y;
        return (written != 0).then(|| Slot::Number(written, pairs.numbers(&p, &q)));
    }
    match pairs.meet(whole(a)?, whole(b)?) {
        // What is no number on every path cannot be read at all.
        Value::Mixed | Value::Uninit | Value::Stale => None,
        Value::Scalar(content) => Some(Slot::Number(0xff, content)),
        value => Some(Slot::Pointer(value)),
    }
}

/// What both sides know of the packet behind a base.
fn spans(joined: &mut State, pairs: &[Pair], a: &State, b: &State) {
    joined.forget_spans();
    for Span { base, bytes } in a.spans() {
        if let Some(other) = b.span(base) {
            joined.reaches(base, bytes.min(other));
        }
    }
    for pair in pairs.iter().filter(|pair| pair.base) {
        // On the other side the new base is `b + shift`, so the span behind it is shorter by that.
        let behind = b.span(pair.b).map(|span| span.saturating_sub(pair.shift.cast_signed()));
        if let (Some(ours), Some(theirs)) = (a.span(pair.a), behind) {
            joined.reaches(pair.made, ours.min(theirs));
        }
    }
}

/// Whether everything that `a` describes, `b` does too. Names below `mark` must mean the same in
/// both; later ones may be other names for the same.
pub(super) fn includes(b: &State, a: &State, mark: Name) -> bool {
    if b.length.0 > a.length.0 || b.length.1 < a.length.1 {
        return false;
    }
    let mut renamed = Renamed { known: Vec::new(), mark };
    let registers = ebpf::Reg::ALL.into_iter().all(|reg| renamed.covers(b.get(reg), a.get(reg)));
    let pairs = || b.saved().iter().flatten().zip(a.saved().iter().flatten());
    registers
        && pairs().all(|(&general, &special)| renamed.covers(general, special))
        && renamed.covers_stack(&b.stack, &a.stack)
        && b.spans().all(|span| renamed.covers_span(span, a))
}

/// What names of the general state stand for in the special one.
struct Renamed {
    /// `(general, special, shift)`: `general` is `special + shift`.
    known: Vec<(Name, Name, u64)>,
    mark: Name,
}

impl Renamed {
    /// Whether `general` may stand for `special + shift`, consistently.
    fn may_be(&mut self, general: Name, special: Name, shift: u64) -> bool {
        if general == Name::ZERO {
            // What has no other base is at one place, and that was compared.
            return true;
        }
        if general < self.mark {
            return general == special && shift == 0;
        }
        if let Some(&(_, name, by)) = self.known.iter().find(|known| known.0 == general) {
            return (name, by) == (special, shift);
        }
        if self.known.len() >= PAIRS_MAX {
            return false;
        }
        self.known.push((general, special, shift));
        true
    }

    fn covers(&mut self, general: Value, special: Value) -> bool {
        match (general, special) {
            (Value::Uninit, _) => true,
            // Good for nothing, whatever it is.
            (Value::Mixed | Value::Stale, other) => !matches!(other, Value::Uninit),
            (Value::Half(x), Value::Half(y)) => self.covers(Value::Pointer(x), Value::Pointer(y)),
            (Value::Scalar(x), Value::Scalar(y)) => self.covers_number(&x, &y),
            (Value::Pointer(x), Value::Pointer(y)) => {
                let shift = y.bytes - x.bytes;
                x.region == y.region
                    && x.low <= y.low + shift
                    && x.high >= y.high + shift
                    && x.align <= y.align
                    && (shift == 0 || u32::from(x.align) <= shift.trailing_zeros())
                    && self.may_be(x.base, y.base, shift.cast_unsigned())
            }
            (Value::Lookup(map, name), Value::Lookup(other, special)) => {
                map == other && self.may_be(name, special, 0)
            }
            (x, y) => x == y,
        }
    }

    fn covers_number(&mut self, x: &Scalar, y: &Scalar) -> bool {
        x.num.includes(&y.num)
            && x.distance
                .is_none_or(|far| x.distance == y.distance && self.may_be(far.base, far.base, 0))
            && self.may_be(x.name, y.name, y.delta.wrapping_sub(x.delta))
    }

    /// A slot that the general state does not have may hold anything.
    fn covers_stack(&mut self, general: &Stack, special: &Stack) -> bool {
        general.slots().iter().all(|&(at, x)| match (x, special.slot(at.into())) {
            (Slot::Pointer(x), Slot::Pointer(y)) => self.covers(x, y),
            (Slot::Pointer(x), Slot::Number(0xff, y)) => self.covers(x, Value::Scalar(y)),
            (Slot::Number(wanted, x), other) => bytes_of(other)
                .is_some_and(|(written, y)| wanted & !written == 0 && self.covers_number(&x, &y)),
            (Slot::Pointer(_), Slot::Number(..)) => false,
        })
    }

    /// A span whose base no value has says nothing.
    fn covers_span(&self, span: Span, special: &State) -> bool {
        let (base, shift) = match self.known.iter().find(|known| known.0 == span.base) {
            Some(&(_, name, shift)) => (name, shift.cast_signed()),
            None if span.base < self.mark => (span.base, 0),
            None => return true,
        };
        special.span(base).is_some_and(|known| known.saturating_sub(shift) >= span.bytes)
    }
}

/// How much joining two states would forget: what is kept apart longest is what a join cannot put
/// back together.
pub(super) fn apart(a: &State, b: &State) -> u32 {
    let registers: u32 = ebpf::Reg::ALL.into_iter().map(|reg| gap(a.get(reg), b.get(reg))).sum();
    let kept = a.saved().iter().flatten().zip(b.saved().iter().flatten());
    let kept: u32 = kept.map(|(&x, &y)| gap(x, y)).sum();
    let length = if a.length == b.length { 0 } else { 6 };
    registers + kept + length + stack_gap(&a.stack, &b.stack)
}

fn stack_gap(a: &Stack, b: &Stack) -> u32 {
    let slot = |slot: Slot| match slot {
        Slot::Pointer(value) => value,
        Slot::Number(0xff, content) => Value::Scalar(content),
        Slot::Number(..) => Value::Uninit,
    };
    let (mut ours, mut theirs) = (a.slots().iter().peekable(), b.slots().iter().peekable());
    let mut sum = 0;
    while let (Some(&&(at, x)), Some(&&(other, y))) = (ours.peek(), theirs.peek()) {
        if at <= other {
            ours.next();
        }
        if other <= at {
            theirs.next();
        }
        sum += if at == other { gap(slot(x), slot(y)) } else { 4 };
    }
    sum + 4 * (ours.count() + theirs.count()) as u32
}

fn gap(a: Value, b: Value) -> u32 {
    match (a, b) {
        (x, y) if x == y => 0,
        (Value::Scalar(x), Value::Scalar(y)) => match (x.as_constant(), y.as_constant()) {
            (Some(_), Some(_)) => 4,
            (None, None) if x.num == y.num => 1,
            _ if x.num.includes(&y.num) || y.num.includes(&x.num) => 2,
            _ => 3,
        },
        (Value::Pointer(x), Value::Pointer(y)) if x.region == y.region => 4,
        (Value::Uninit, _) | (_, Value::Uninit) => 8,
        _ => 12,
    }
}
