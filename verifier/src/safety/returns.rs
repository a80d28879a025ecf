//! What a helper leaves behind: its result, written buffers, lost registers.

use ebpf::helper::{self, Arg, Return};
use ebpf::{Program, Reg, Size};

use super::access::index;
use super::argument::{ARGUMENTS, size};
use super::arith;
use super::name::Names;
use super::number::Num;
use super::scalar::Scalar;
use super::state::State;
use super::value::{Region, Value};

/// Changes `state` as a call of helper `id` does.
pub(super) fn helper(program: &Program, state: &mut State, names: &mut Names, id: u32) {
    let Some(helper) = helper::by_id(id) else { return };
    for (place, &arg) in helper.args.iter().enumerate() {
        if arg == Arg::Buffer {
            buffer(state, names, helper.args, place);
        }
    }
    let map = state.get(Reg::R1);
    for reg in ARGUMENTS {
        state.set(reg, Value::Uninit);
    }
    if helper.moves_packet {
        state.packet_moved(program.kind());
    }
    let value = match (helper.returns, map) {
        (Return::Scalar, _) => Value::Scalar(Scalar::new(Num::UNKNOWN, names)),
        (Return::Scalar32, _) => Value::Scalar(Scalar::new(arith::loaded(Size::B4, false), names)),
        (Return::Status, _) => Value::Scalar(Scalar::new(arith::loaded(Size::B4, true), names)),
        (Return::MapValueOrNull, Value::Map(map)) => Value::Lookup(map, names.fresh()),
        (Return::MapValueOrNull, _) => Value::Mixed,
    };
    state.set(Reg::R0, value);
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
