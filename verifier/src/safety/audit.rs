//! Holds a proof against a run: every concrete value must lie inside one of the abstract states.
//!
//! For fuzzing only. The proof is done once more with a copy of each instruction's states kept;
//! then the program runs in the reference interpreter, and before each instruction everything that
//! a state says of the registers is compared with what is: numbers, where pointers point, what
//! registers that share a name have in common, how long the packet is.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use ebpf::interp::{
    CONTEXT_BASE, MAP_BASE, MAP_STRIDE, STACK_BASE, STACK_STRIDE, VALUE_BASE, VALUE_STRIDE,
    VALUES_STRIDE, View,
};
use ebpf::limits::STACK_BYTES;
use ebpf::{Program, Reg};

use super::engine::Ground;
use super::name::Name;
use super::shape::Builder;
use super::state::State;
use super::value::{Pointer, Region, Value};
use super::{Walk, effort};
use crate::fuel::Fuel;
use crate::limits::EFFORTS;

/// The states of a safe program, by slot.
#[derive(Debug)]
pub struct Audit {
    states: Vec<Vec<State>>,
}

impl Audit {
    /// Proves the program once more; `None` if it is refused.
    #[must_use]
    pub fn new(program: &Program) -> Option<Audit> {
        states(program).map(|states| Audit { states })
    }

    /// What is not as any of the instruction's states says, if so.
    #[must_use]
    pub fn see(&self, view: &View<'_>) -> Option<String> {
        let states = self.states.get(view.pc as usize).map_or(&[][..], |states| states);
        let mut wrong = Some(String::from("said to be out of reach"));
        for state in states {
            match outside(state, view) {
                None => return None,
                text => wrong = text,
            }
        }
        wrong.map(|text| alloc::format!("{}: {text}", view.pc))
    }
}

fn states(program: &Program) -> Option<Vec<Vec<State>>> {
    let mut fuel = Fuel::UNLIMITED;
    let core::task::Poll::Ready(Ok(shape)) = Builder::new(program).step(program, &mut fuel) else {
        return None;
    };
    let mut walk = Walk::new(program, shape);
    for attempt in 0..EFFORTS.len() {
        let ground = Ground { program, shape: &walk.shape };
        walk.engine = super::Engine::new(ground, effort(attempt));
        walk.engine.kept = Some(alloc::vec![Vec::new(); program.len()]);
        loop {
            match walk.engine.advance(Ground { program, shape: &walk.shape }, &mut fuel) {
                Ok(None) => {}
                Ok(Some(_)) => return walk.engine.kept.take(),
                Err(_) => break,
            }
        }
    }
    None
}

fn outside(state: &State, view: &View<'_>) -> Option<String> {
    let bytes = view.data_end.wrapping_sub(view.data).cast_signed();
    if !(state.length.0..=state.length.1).contains(&bytes) {
        return Some(alloc::format!("length {bytes} is not in {:?}", state.length));
    }
    if usize::from(state.frame()) + 1 != view.depth {
        return Some(alloc::format!("{} frames, not {}", view.depth, state.frame() + 1));
    }
    // What the names stand for; whoever has the same name must have the same value.
    let mut named: BTreeMap<Name, u64> = BTreeMap::new();
    named.insert(Name::ZERO, 0);
    for reg in Reg::ALL {
        let (number, value) = (view.registers[reg.index()], state.get(reg));
        let unwritten = value != Value::Uninit && view.written & 1 << reg.index() == 0;
        if unwritten || !fits(state, &mut named, value, (number, view)) {
            return Some(alloc::format!("r{} = {number:#x} is not in {value:x?}", reg.number()));
        }
    }
    None
}

fn fits(
    state: &State,
    named: &mut BTreeMap<Name, u64>,
    value: Value,
    (number, view): (u64, &View<'_>),
) -> bool {
    let mut is = |name: Name, value: u64| *named.entry(name).or_insert(value) == value;
    let bytes = view.data_end.wrapping_sub(view.data).cast_signed();
    match value {
        Value::Uninit | Value::Mixed | Value::Stale | Value::Old => true,
        // Addresses are short here, so the half is the whole.
        Value::Half(_) | Value::HalfEnd => fits(state, named, value.whole(), (number, view)),
        Value::Map(map) => number == MAP_BASE + u64::from(map) * MAP_STRIDE,
        // Null, or the first byte of some value of the map.
        Value::Lookup(map, name) => {
            is(name, number)
                && (number == 0 || number.wrapping_sub(values(map)).is_multiple_of(VALUE_STRIDE))
        }
        Value::Scalar(scalar) => {
            let distance = scalar.distance.filter(|distance| distance.base == Name::ZERO);
            scalar.num.contains(number)
                && is(scalar.name, number.wrapping_sub(scalar.delta))
                && distance.is_none_or(|it| number.cast_signed() == bytes - it.bytes)
        }
        // So far that it may be seen from several values, or beside the map.
        Value::Pointer(pointer) if is_anywhere(&pointer) => true,
        // So far around a value others of the map are, too: which is meant cannot be told.
        Value::Pointer(Pointer { region: Region::Map(_), low, high, .. })
            if (high - low).unsigned_abs() >= VALUE_STRIDE / 2 =>
        {
            true
        }
        Value::Pointer(pointer) => {
            let base = number.wrapping_sub(first(&pointer, number, view)).cast_signed();
            let base = base - pointer.bytes;
            let span = state.span(pointer.base).filter(|_| pointer.region == Region::Packet);
            (pointer.low..=pointer.high).contains(&base)
                && is(pointer.base, base.cast_unsigned())
                && span.is_none_or(|span| base + span <= bytes)
        }
        Value::End => number == view.data_end,
        Value::Context => number == u64::from(CONTEXT_BASE),
    }
}

/// The first value of a map.
fn values(map: u32) -> u64 {
    VALUE_BASE + u64::from(map) * VALUES_STRIDE
}

/// Whether a pointer to a map's value may be farther from it than to the next value. No access
/// through it is accepted.
fn is_anywhere(pointer: &Pointer) -> bool {
    let half = (VALUE_STRIDE / 2) as i64;
    matches!(pointer.region, Region::Map(_)) && (pointer.least() <= -half || pointer.most() >= half)
}

/// The address that a pointer's distances are from. Values of a map stand `VALUE_STRIDE` apart,
/// which no pointer that is asked about leaves by half.
fn first(pointer: &Pointer, number: u64, view: &View<'_>) -> u64 {
    match pointer.region {
        Region::Packet => view.data,
        Region::Stack(frame) => {
            let above = u64::from(STACK_STRIDE) * u64::from(frame);
            u64::from(STACK_BASE) + above + STACK_BYTES as u64
        }
        Region::Map(map) => {
            let least = number.wrapping_sub(pointer.least().cast_unsigned());
            let into = least.wrapping_sub(values(map)).wrapping_add(VALUE_STRIDE / 2);
            values(map).wrapping_add(into / VALUE_STRIDE * VALUE_STRIDE)
        }
    }
}
