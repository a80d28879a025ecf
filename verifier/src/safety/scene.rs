//! What was known where an obligation was not met, as plain data for whoever shows the refusal.

use alloc::vec::Vec;

use ebpf::{Insn, Program, Reg};

use super::engine::involved;
use super::number::Num;
use super::state::State;
use super::value::{Pointer, Region, Value};
use crate::refusal::{Fact, Known, Numbers, Refusal, Scene, UnsafeReason};

/// The refusal of an instruction in a state.
pub(super) fn refusal(
    program: &Program,
    (pc, insn): (u32, &Insn),
    state: &State,
    reason: UnsafeReason,
) -> Refusal {
    // Of a loop as a whole nothing is said where a register is not the same in all of it.
    let told =
        |reg: &Reg| reason != UnsafeReason::UnboundedLoop || state.get(*reg) != Value::Uninit;
    let facts: Vec<Fact> = involved(insn)
        .filter(told)
        .map(|reg| Fact { reg, known: known(program, state, state.get(reg)) })
        .collect();
    // A loop as a whole is at its head, not at the instruction that goes back.
    let path = match reason {
        UnsafeReason::UnboundedLoop => Vec::new(),
        _ => state.trail.path(program, pc),
    };
    Refusal::unsafety(pc, reason).with_scene(Scene { facts, path })
}

fn known(program: &Program, state: &State, value: Value) -> Known {
    match value {
        Value::Uninit => Known::Unwritten,
        Value::Mixed | Value::Stale | Value::Old => Known::Mixed,
        Value::Scalar(number) => Known::Number(numbers(&number.num)),
        Value::Pointer(pointer) | Value::Half(pointer) => pointed(program, state, &pointer),
        Value::End | Value::HalfEnd => Known::PacketEnd,
        Value::Context => Known::Context,
        Value::Map(map) => Known::Map(map),
        Value::Lookup(map, _) => value_of(program, map, (0, 0), true),
    }
}

fn pointed(program: &Program, state: &State, pointer: &Pointer) -> Known {
    let (least, most) = (pointer.least(), pointer.most());
    match pointer.region {
        Region::Packet => {
            let behind_base = state.span(pointer.base).map(|span| span - pointer.bytes);
            let proven = behind_base.unwrap_or(i64::MIN).max(state.length.0 - most);
            Known::Packet { least, most, proven }
        }
        Region::Stack(_) => Known::Stack { least, most },
        Region::Map(map) => value_of(program, map, (least, most), false),
    }
}

fn value_of(program: &Program, map: u32, (least, most): (i64, i64), maybe_null: bool) -> Known {
    let size = program.maps().get(map as usize).map_or(0, |spec| spec.value_size);
    Known::MapValue { map, least, most, size, maybe_null }
}

fn numbers(num: &Num) -> Numbers {
    Numbers {
        unsigned: (num.umin, num.umax),
        signed: (num.smin, num.smax),
        ones: num.bits.value,
        unknown: num.bits.unknown,
    }
}
