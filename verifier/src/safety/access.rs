//! Whether bytes of memory may be read or written.
//!
//! Every access is a pointer, an offset and a size; helpers' memory arguments are too. Bounds come
//! first, the content of the stack second: bytes that are not written, and parts of pointers, are
//! not read.

use ebpf::limits::STACK_BYTES;
use ebpf::{Kind, Program};

use super::require::Access;
use super::stack::{Found, SLOTS, Slot};
use super::state::State;
use super::value::{Pointer, Region};
use crate::refusal::UnsafeReason;

type Verdict = Result<(), UnsafeReason>;

/// The bytes may be read.
pub(super) fn read(program: &Program, state: &State, pointer: Pointer, access: Access) -> Verdict {
    bounds(program, state, pointer, access)?;
    let Region::Stack(frame) = pointer.region else { return Ok(()) };
    if let Some(at) = pointer.constant()
        && access.size <= 8
    {
        return match state.stack.find(index(frame, at + access.offset), access.size) {
            Found::Value(_) | Found::Bytes(_) => Ok(()),
            Found::PartOfPointer => Err(UnsafeReason::PointerLeak(access.base)),
            Found::Hole(byte) => Err(UnsafeReason::UninitialisedStack(offset_of(byte))),
        };
    }
    let first = index(frame, pointer.least() + access.offset);
    let end = index(frame, pointer.most() + access.offset) + access.size;
    written(state, first, end, access)
}

/// The bytes may be read by a helper: as bytes, so that no pointer is among them.
pub(super) fn read_bytes(
    program: &Program,
    state: &State,
    pointer: Pointer,
    access: Access,
) -> Verdict {
    bounds(program, state, pointer, access)?;
    let Region::Stack(frame) = pointer.region else { return Ok(()) };
    let first = index(frame, pointer.least() + access.offset);
    let end = index(frame, pointer.most() + access.offset) + access.size;
    written(state, first, end, access)
}

/// Every byte of a range of the stack is written and no part of a pointer.
fn written(state: &State, first: usize, end: usize, access: Access) -> Verdict {
    for slot in first / 8..end.div_ceil(8) {
        let (from, to) = (first.max(slot * 8), end.min(slot * 8 + 8));
        for byte in from..to {
            match state.stack.slot(slot) {
                Slot::Pointer(_) => return Err(UnsafeReason::PointerLeak(access.base)),
                Slot::Number(mask, _) if mask & 1 << (byte % 8) == 0 => {
                    return Err(UnsafeReason::UninitialisedStack(offset_of(byte)));
                }
                Slot::Number(..) => {}
            }
        }
    }
    Ok(())
}

/// The bytes may be written.
pub(super) fn write(program: &Program, state: &State, pointer: Pointer, access: Access) -> Verdict {
    let constant = |map: u32| program.maps().get(map as usize).is_none_or(|spec| spec.read_only);
    match pointer.region {
        Region::Packet if program.kind() == Kind::Filter => {
            return Err(UnsafeReason::WriteToReadOnly(access.base));
        }
        Region::Map(map) if constant(map) => {
            return Err(UnsafeReason::WriteToReadOnly(access.base));
        }
        _ => {}
    }
    bounds(program, state, pointer, access)
}

/// The address is a multiple of the size. Stack, values and the buffer begin at multiples of 8.
pub(super) fn aligned(pointer: &Pointer, access: Access) -> Verdict {
    let known = 1i64 << pointer.align.min(3);
    let size = access.size as i64;
    if (pointer.bytes + access.offset) % size == 0
        && (pointer.low == pointer.high && pointer.low % size == 0 || known % size == 0)
    {
        return Ok(());
    }
    let at = i32::try_from(pointer.least() + access.offset).unwrap_or(i32::MAX);
    match pointer.region {
        // The buffer of a `Memory` program may begin anywhere; so may its atomics.
        Region::Packet => Ok(()),
        Region::Stack(_) | Region::Map(_) => Err(UnsafeReason::UnalignedAtomic(at)),
    }
}

/// What is in the bytes is no pointer.
pub(super) fn no_pointer(state: &State, pointer: Pointer, access: Access) -> Verdict {
    let (Region::Stack(frame), Some(at)) = (pointer.region, pointer.constant()) else {
        return Ok(());
    };
    match state.stack.slot(index(frame, at + access.offset) / 8) {
        Slot::Pointer(_) => Err(UnsafeReason::PointerLeak(access.base)),
        Slot::Number(..) => Ok(()),
    }
}

/// The access lies inside its region.
pub(super) fn bounds(
    program: &Program,
    state: &State,
    pointer: Pointer,
    access: Access,
) -> Verdict {
    let (first, last) = (pointer.least() + access.offset, pointer.most() + access.offset);
    let end = last + access.size as i64;
    match pointer.region {
        Region::Packet => in_packet(state, pointer, access),
        Region::Stack(_) if first >= -(STACK_BYTES as i64) && end <= 0 => Ok(()),
        Region::Stack(_) => {
            let outside = if end > 0 { last } else { first };
            Err(UnsafeReason::StackOutOfBounds(i32::try_from(outside).unwrap_or(i32::MAX)))
        }
        Region::Map(map) => {
            let size = program.maps().get(map as usize).map_or(0, |spec| spec.value_size);
            if first >= 0 && end <= i64::from(size) {
                return Ok(());
            }
            Err(UnsafeReason::MapValueOutOfBounds {
                reg: access.base,
                end: i32::try_from(if first < 0 { first } else { end }).unwrap_or(i32::MAX),
                size,
            })
        }
    }
}

/// The access lies behind the packet's first byte and before its end.
fn in_packet(state: &State, pointer: Pointer, access: Access) -> Verdict {
    if pointer.least() + access.offset < 0 {
        return Err(UnsafeReason::BeforePacket(access.base));
    }
    let reach = access.offset + access.size as i64;
    let behind_base = state.span(pointer.base).is_some_and(|span| pointer.bytes + reach <= span);
    if behind_base || pointer.most() + reach <= state.length.0 {
        return Ok(());
    }
    let end = i32::try_from(reach).unwrap_or(i32::MAX);
    Err(UnsafeReason::PacketOutOfBounds { reg: access.base, end })
}

/// The index of the byte at an offset from the top of a frame that is inside it.
pub(super) fn index(frame: u8, offset: i64) -> usize {
    let within = offset.saturating_add(STACK_BYTES as i64).clamp(0, STACK_BYTES as i64);
    usize::from(frame) * SLOTS * 8 + within.cast_unsigned() as usize
}

/// The offset from the top of its frame of the byte at an index.
fn offset_of(index: usize) -> i32 {
    (index % STACK_BYTES) as i32 - STACK_BYTES as i32
}
