//! What a helper leaves behind: its result, written buffers, lost registers.

use ebpf::helper::{self, Arg, Return};
use ebpf::{Program, Reg, Size};

use super::access::index;
use super::argument::{ARGUMENTS, size};
use super::arith;
use super::name::Names;
use super::number::Num;
use super::scalar::Scalar;
use super::stack::Found;
use super::state::State;
use super::value::{Pointer, Region, Value};

/// Changes `state` as a call of helper `id` does.
pub(super) fn helper(program: &Program, state: &mut State, names: &mut Names, id: u32) {
    let Some(helper) = helper::by_id(id) else { return };
    for (place, &arg) in helper.args.iter().enumerate() {
        if arg == Arg::Buffer {
            buffer(state, names, helper.args, place);
        }
    }
    let map = state.get(Reg::R1);
    let looked = match (helper.returns, map) {
        (Return::MapValueOrNull, Value::Map(map)) => looked_up(program, state, names, map),
        _ => Value::Mixed,
    };
    for reg in ARGUMENTS {
        state.set(reg, Value::Uninit);
    }
    if helper.moves_packet {
        state.packet_moved(program.kind());
    }
    let value = match helper.returns {
        Return::Scalar => Value::Scalar(Scalar::new(Num::UNKNOWN, names)),
        Return::Scalar32 => Value::Scalar(Scalar::new(arith::loaded(Size::B4, false), names)),
        Return::Status => Value::Scalar(Scalar::new(arith::loaded(Size::B4, true), names)),
        Return::MapValueOrNull => looked,
    };
    state.set(Reg::R0, value);
}

/// What a look-up in a map gives. Every entry of an array exists, in every run, and no other: the
/// kernel makes them with the map, and nothing deletes them.
fn looked_up(program: &Program, state: &State, names: &mut Names, map: u32) -> Value {
    let array =
        program.maps().get(map as usize).filter(|spec| spec.kind.is_array() && spec.key_size == 4);
    if let Some(spec) = array
        && let Some(key) = key(state)
    {
        let entries = u64::from(spec.max_entries);
        if key.umax < entries {
            return Value::Pointer(Pointer::first(Region::Map(map)));
        }
        if key.umin >= entries {
            return Value::Scalar(Scalar::constant(0));
        }
    }
    Value::Lookup(map, names.fresh())
}

/// What is known of the four bytes that `r2` points to, where that is one place on the stack.
fn key(state: &State) -> Option<Num> {
    let Value::Pointer(pointer) = state.get(Reg::R2) else { return None };
    let (Region::Stack(frame), Some(at)) = (pointer.region, pointer.constant()) else {
        return None;
    };
    match state.stack.find(index(frame, at), Size::B4.bytes()) {
        Found::Value(Value::Scalar(number)) => Some(number.num),
        Found::Bytes(num) => Some(num),
        _ => None,
    }
}

/// The helper writes the whole buffer, whatever its size turns out to be.
fn buffer(state: &mut State, names: &mut Names, args: &[Arg], place: usize) {
    let Some(&reg) = ARGUMENTS.get(place) else { return };
    let (Value::Pointer(pointer), Ok((least, most))) = (state.get(reg), size(state, args, place))
    else {
        return;
    };
    let Region::Stack(frame) = pointer.region else { return };
    let spread = (pointer.most() - pointer.least()).unsigned_abs() as usize;
    let certain = if spread == 0 { least } else { 0 };
    let start = index(frame, pointer.least());
    state.stack.store_unknown(start, certain, most + spread, names);
}
