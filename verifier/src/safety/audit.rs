//! Holds a proof against a run: every concrete value must lie inside one of the abstract states.
//!
//! For fuzzing only. The proof is done once more with a copy of each instruction's states kept;
//! then the program runs in the reference interpreter, and before each instruction everything that
//! a state says of the registers is compared with what is.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use ebpf::interp::{CONTEXT_BASE, DATA_BASE, STACK_BASE, STACK_STRIDE, trace_packet};
use ebpf::limits::STACK_BYTES;
use ebpf::{Program, Reg};

use super::name::Name;
use super::shape::Builder;
use super::state::State;
use super::value::{Region, Value};
use super::{Walk, effort};
use crate::fuel::Fuel;
use crate::limits::EFFORTS;

/// The states of a safe program, by slot.
pub(crate) struct Audit {
    states: Vec<Vec<State>>,
}

impl Audit {
    /// Proves the program once more; `None` if it is refused.
    pub(crate) fn new(program: &Program) -> Option<Audit> {
        states(program).map(|states| Audit { states })
    }

    /// Runs the program on a packet and compares. Returns what is wrong, if anything is.
    pub(crate) fn compare(&self, program: &Program, packet: &mut [u8]) -> Option<String> {
        compare(program, &self.states, packet)
    }
}

fn states(program: &Program) -> Option<Vec<Vec<State>>> {
    let mut fuel = Fuel::UNLIMITED;
    let core::task::Poll::Ready(Ok(shape)) = Builder::new(program).step(program, &mut fuel) else {
        return None;
    };
    let mut walk = Walk::new(program, shape);
    for attempt in 0..EFFORTS.len() {
        walk.engine = super::Engine::new(program, &walk.shape, effort(attempt));
        walk.engine.kept = Some(alloc::vec![Vec::new(); program.len()]);
        loop {
            match walk.engine.advance(program, &walk.shape, &mut fuel) {
                Ok(None) => {}
                Ok(Some(_)) => return walk.engine.kept.take(),
                Err(_) => break,
            }
        }
    }
    None
}

fn compare(program: &Program, states: &[Vec<State>], packet: &mut [u8]) -> Option<String> {
    let length = packet.len();
    let mut wrong = None;
    let result = trace_packet(program, packet, &mut |pc, registers| {
        if wrong.is_none() {
            let states = states.get(pc as usize).map_or(&[][..], |states| states);
            wrong =
                outside_all(states, registers, length).map(|text| alloc::format!("{pc}: {text}"));
        }
    });
    wrong.or_else(|| result.err().map(|trap| alloc::format!("{trap}")))
}

fn outside_all(states: &[State], registers: &[u64; 11], length: usize) -> Option<String> {
    let mut wrong = Some(String::from("said to be out of reach"));
    for state in states {
        match outside(state, registers, length) {
            None => return None,
            text => wrong = text,
        }
    }
    wrong
}

fn outside(state: &State, registers: &[u64; 11], length: usize) -> Option<String> {
    let bytes = length as i64;
    if !(state.length.0..=state.length.1).contains(&bytes) {
        return Some(alloc::format!("length {bytes} is not in {:?}", state.length));
    }
    // What the names stand for; whoever has the same name must have the same value.
    let mut named: BTreeMap<Name, u64> = BTreeMap::new();
    named.insert(Name::ZERO, 0);
    for reg in Reg::ALL {
        let number = registers[reg.index()];
        if !fits(state, &mut named, state.get(reg), (number, bytes)) {
            let value = state.get(reg);
            return Some(alloc::format!("r{} = {number:#x} is not in {value:x?}", reg.number()));
        }
    }
    None
}

fn fits(
    state: &State,
    named: &mut BTreeMap<Name, u64>,
    value: Value,
    (number, bytes): (u64, i64),
) -> bool {
    let mut is = |name: Name, value: u64| *named.entry(name).or_insert(value) == value;
    match value {
        Value::Uninit | Value::Mixed | Value::Stale | Value::Map(_) => true,
        // Values of maps are nowhere that this knows.
        Value::Lookup(..) => true,
        Value::Scalar(scalar) => {
            let distance = scalar.distance.filter(|distance| distance.base == Name::ZERO);
            scalar.num.contains(number)
                && is(scalar.name, number.wrapping_sub(scalar.delta))
                && distance.is_none_or(|it| number.cast_signed() == bytes - it.bytes)
        }
        Value::Pointer(pointer) => {
            let first = match pointer.region {
                Region::Packet => u64::from(DATA_BASE),
                Region::Stack(frame) => {
                    let above = u64::from(STACK_STRIDE) * u64::from(frame);
                    u64::from(STACK_BASE) + above + STACK_BYTES as u64
                }
                Region::Map(_) => return true,
            };
            let base = number.wrapping_sub(first).cast_signed() - pointer.bytes;
            let span = state.span(pointer.base).filter(|_| pointer.region == Region::Packet);
            (pointer.low..=pointer.high).contains(&base)
                && is(pointer.base, base.cast_unsigned())
                && span.is_none_or(|span| base + span <= bytes)
        }
        Value::End => number.wrapping_sub(u64::from(DATA_BASE)).cast_signed() == bytes,
        Value::Context => number == u64::from(CONTEXT_BASE),
    }
}
