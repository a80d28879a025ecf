//! Holds a proof against a run: every concrete value must lie inside the abstract state.
//!
//! For fuzzing only. The proof is done once more with a copy of each instruction's state kept; then
//! the program runs in the reference interpreter, and before each instruction everything the state
//! says is compared with what is.

use alloc::string::String;
use alloc::vec::Vec;

use ebpf::interp::{CONTEXT_BASE, DATA_BASE, STACK_BASE, trace_packet};
use ebpf::limits::STACK_BYTES;
use ebpf::{Program, Reg};

use super::Flow;
use super::name::Name;
use super::state::State;
use super::value::Value;
use crate::fuel::Fuel;
use crate::graph::Walk;

/// The states of a safe program, by slot.
pub(crate) struct Audit {
    states: Vec<Option<State>>,
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

fn states(program: &Program) -> Option<Vec<Option<State>>> {
    let mut fuel = Fuel::UNLIMITED;
    let core::task::Poll::Ready(Ok(graph)) = Walk::new(program).step(program, &mut fuel) else {
        return None;
    };
    let mut kept: Vec<Option<State>> = Vec::new();
    kept.resize_with(program.len(), || None);
    let order = graph.order.clone();
    let mut flow = Flow::new(program, graph);
    for pc in order {
        let waiting = flow.waiting.get_mut(pc as usize).and_then(Option::take);
        let Some(state) = waiting else { continue };
        flow.count -= 1;
        if let Some(seat) = kept.get_mut(pc as usize) {
            *seat = Some(State::clone(&state));
        }
        flow.visit(program, pc, state, &mut fuel).ok()?;
    }
    Some(kept)
}

fn compare(program: &Program, states: &[Option<State>], packet: &mut [u8]) -> Option<String> {
    let length = packet.len();
    let mut wrong = None;
    let result = trace_packet(program, packet, &mut |pc, registers| {
        if wrong.is_none() {
            let state = states.get(pc as usize).and_then(Option::as_ref);
            wrong = match state {
                None => Some(alloc::format!("{pc}: said to be out of reach")),
                Some(state) => {
                    outside(state, registers, length).map(|text| alloc::format!("{pc}: {text}"))
                }
            };
        }
    });
    wrong.or_else(|| result.err().map(|trap| alloc::format!("{trap}")))
}

fn outside(state: &State, registers: &[u64; 11], length: usize) -> Option<String> {
    let bytes = length as i64;
    if !(state.length.0..=state.length.1).contains(&bytes) {
        return Some(alloc::format!("length {bytes} is not in {:?}", state.length));
    }
    for reg in Reg::ALL {
        let number = registers[reg.index()];
        let offset = number.wrapping_sub(u64::from(DATA_BASE)).cast_signed();
        let inside = match state.get(reg) {
            Value::Uninit | Value::Mixed => true,
            Value::Scalar(scalar) => {
                let distance = scalar.distance.filter(|distance| distance.base == Name::DATA);
                scalar.contains(number)
                    && distance.is_none_or(|it| number.cast_signed() == bytes - it.bytes)
            }
            Value::Packet(place) => {
                let base = offset - place.bytes;
                (place.low..=place.high).contains(&base)
                    && state.span(place.base).is_none_or(|span| base + span <= bytes)
            }
            Value::End => offset == bytes,
            Value::Context => number == u64::from(CONTEXT_BASE),
            Value::Stack(at) => {
                let top = i64::from(STACK_BASE) + STACK_BYTES as i64;
                number.cast_signed() == top + at
            }
        };
        if !inside {
            let value = state.get(reg);
            return Some(alloc::format!("r{} = {number:#x} is not in {value:x?}", reg.number()));
        }
    }
    None
}
