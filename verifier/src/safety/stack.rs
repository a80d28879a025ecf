//! The stack: which bytes are written, and what the slots hold.
//!
//! A slot is eight aligned bytes. It holds one pointer, whole, or a number of which some bytes are
//! written. The parts of a number are numbers too: what is known of its bits and of both halves
//! serves loads of any size. Whatever overwrites a part of a pointer leaves the rest of it not
//! written, so that no part of an address can be read.

use alloc::vec::Vec;

use ebpf::Size;
use ebpf::limits::STACK_BYTES;

use super::arith;
use super::bits::Bits;
use super::name::Names;
use super::number::Num;
use super::scalar::Scalar;
use super::value::Value;

/// The slots of all frames that were written to, ascending; the others are not written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stack {
    slots: Vec<(u16, Slot)>,
}

/// What one slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// A pointer, whole. Never a number.
    Pointer(Value),
    /// A number; bit n of the mask: byte n is written.
    Number(u8, Scalar),
}

/// What a load from the stack finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A value; a number that is cut out of a slot has no name of its own.
    Value(Value),
    /// Written bytes.
    Bytes(Num),
    /// Part of a pointer.
    PartOfPointer,
    /// The byte at this index is not written.
    Hole(usize),
}

/// Slots in the stack of one frame.
pub(super) const SLOTS: usize = STACK_BYTES / 8;

/// Nothing written.
const EMPTY: Slot = Slot::Number(0, Scalar::constant(0));

impl Slot {
    fn written(self) -> u8 {
        match self {
            Slot::Pointer(_) => 0,
            Slot::Number(written, _) => written,
        }
    }
}

impl Stack {
    /// The slots that were written to.
    pub(super) fn slots(&self) -> &[(u16, Slot)] {
        &self.slots
    }

    /// The same, to be changed: indices stay as they are.
    pub(super) fn slots_mut(&mut self) -> &mut [(u16, Slot)] {
        &mut self.slots
    }

    /// Replaces the slots, ascending by index.
    pub(super) fn from_slots(slots: Vec<(u16, Slot)>) -> Stack {
        Stack { slots }
    }

    /// Forgets the slots from an index on.
    pub(super) fn truncate(&mut self, index: usize) {
        let keep = self.slots.partition_point(|&(at, _)| usize::from(at) < index);
        self.slots.truncate(keep);
    }

    /// What `size` bytes from index `start` hold.
    pub(super) fn find(&self, start: usize, size: usize) -> Found {
        if let Slot::Pointer(value) = self.slot(start / 8)
            && start.is_multiple_of(8)
            && size == 8
        {
            return Found::Value(value);
        }
        for byte in start..start + size {
            match self.slot(byte / 8) {
                Slot::Pointer(_) => return Found::PartOfPointer,
                Slot::Number(written, _) if written & 1 << (byte % 8) != 0 => {}
                Slot::Number(..) => return Found::Hole(byte),
            }
        }
        let (Slot::Number(_, content), within) = (self.slot(start / 8), start % 8) else {
            return Found::PartOfPointer;
        };
        if size == 8 && within == 0 {
            return Found::Value(Value::Scalar(content));
        }
        if within + size > 8 {
            return Found::Bytes(any(size));
        }
        // A number that was stored with this size, and fits it, is found whole.
        let whole = within == 0 && size < 8 && content.num.umax < 1 << (8 * size);
        if whole {
            Found::Value(Value::Scalar(content))
        } else {
            Found::Bytes(part(&content.num, within, size))
        }
    }

    /// Stores a pointer whole into the slot at index `start`, a multiple of 8.
    pub(super) fn store_pointer(&mut self, start: usize, value: Value) {
        self.put(start / 8, Slot::Pointer(value));
    }

    /// Stores the low `size` bytes of a number from index `start`.
    pub(super) fn store(&mut self, start: usize, size: Size, number: Scalar, names: &mut Names) {
        let (within, bytes) = (start % 8, size.bytes());
        if bytes == 8 && within == 0 {
            return self.put(start / 8, Slot::Number(0xff, number));
        }
        if within + bytes > 8 {
            return self.store_unknown(start, bytes, bytes, names);
        }
        let before = self.slot(start / 8);
        let written = before.written() | mask(within, bytes);
        let fits = number.num.umax < 1 << (8 * bytes);
        let content = match before {
            // Nothing else is in the slot: what is not written may be taken for zero.
            _ if fits && within == 0 && before.written() & !mask(within, bytes) == 0 => number,
            Slot::Number(_, old) if before.written() != 0 => {
                Scalar::new(placed(&old.num, &number.num, within, bytes), names)
            }
            _ => Scalar::new(placed(&Num::constant(0), &number.num, within, bytes), names),
        };
        self.put(start / 8, Slot::Number(written, content));
    }

    /// Stores bytes of unknown content from index `start`: `least` of them for certain, up to
    /// `most`.
    pub(super) fn store_unknown(
        &mut self,
        start: usize,
        least: usize,
        most: usize,
        names: &mut Names,
    ) {
        for slot in start / 8..(start + most).div_ceil(8) {
            let (from, to) = (start.max(slot * 8), (start + most).min(slot * 8 + 8));
            let certain = (start + least).clamp(from, to);
            let before = self.slot(slot);
            if before.written() == 0 && from == certain && matches!(before, Slot::Number(..)) {
                continue;
            }
            let written = before.written() | mask(from % 8, certain - from);
            let doubt = mask(from % 8, to - from);
            let content = match before {
                Slot::Number(_, old) => blurred(&old.num, doubt),
                Slot::Pointer(_) => Num::UNKNOWN,
            };
            self.put(slot, Slot::Number(written, Scalar::new(content, names)));
        }
    }

    /// Changes the whole values that this stack and an older one both have.
    pub(super) fn widen(&mut self, old: &Stack, change: impl Fn(Value, Value) -> Value) {
        for (at, slot) in &mut self.slots {
            let changed = match (old.slot((*at).into()), *slot) {
                (Slot::Pointer(before), Slot::Pointer(after)) => change(before, after),
                (Slot::Number(_, before), Slot::Number(_, after)) => {
                    change(Value::Scalar(before), Value::Scalar(after))
                }
                _ => continue,
            };
            *slot = match (changed, *slot) {
                (Value::Scalar(content), Slot::Number(written, _)) => {
                    Slot::Number(written, content)
                }
                (value, _) => Slot::Pointer(value),
            };
        }
    }

    /// Slots that are allocated.
    pub(super) fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    pub(super) fn slot(&self, index: usize) -> Slot {
        match self.slots.binary_search_by_key(&index, |&(at, _)| usize::from(at)) {
            Ok(found) => self.slots.get(found).map_or(EMPTY, |&(_, slot)| slot),
            Err(_) => EMPTY,
        }
    }

    fn put(&mut self, index: usize, slot: Slot) {
        match self.slots.binary_search_by_key(&index, |&(at, _)| usize::from(at)) {
            Ok(found) => {
                if let Some(entry) = self.slots.get_mut(found) {
                    entry.1 = slot;
                }
            }
            // At most SLOTS * CALL_DEPTH = 512 indices exist.
            Err(place) => self.slots.insert(place, (index as u16, slot)),
        }
    }
}

/// Where paths meet: bytes that both have written, values that both may hold.
pub(super) fn bytes_of(slot: Slot) -> Option<(u8, Scalar)> {
    match slot {
        Slot::Number(written, content) => Some((written, content)),
        Slot::Pointer(_) => None,
    }
}

/// The mask of `size` bytes from `within`.
fn mask(within: usize, size: usize) -> u8 {
    (((1u16 << size) - 1) << within) as u8
}

/// The bits of the bytes in a mask.
fn bits_of(mask: u8) -> u64 {
    (0..8).filter(|byte| mask & 1 << byte != 0).fold(0, |bits, byte| bits | 0xff << (8 * byte))
}

fn any(size: usize) -> Num {
    if size >= 8 { Num::UNKNOWN } else { Num::unsigned(0, (1 << (8 * size)) - 1) }
}

/// `size` bytes of a number from byte `within` on.
fn part(num: &Num, within: usize, size: usize) -> Num {
    let moved =
        arith::alu(ebpf::Width::W64, ebpf::AluOp::Rsh, *num, Num::constant(8 * within as u64));
    match size {
        4 => moved.low32(),
        _ => arith::alu(
            ebpf::Width::W64,
            ebpf::AluOp::And,
            moved,
            Num::constant((1 << (8 * size)) - 1),
        ),
    }
}

/// A number with `size` bytes from byte `within` on replaced by the low ones of another.
fn placed(old: &Num, new: &Num, within: usize, size: usize) -> Num {
    let hole = bits_of(mask(within, size));
    let moved = part(new, 0, size).bits.shift_left(8 * within as u32);
    let bits = Bits {
        value: old.bits.value & !hole | moved.value,
        unknown: old.bits.unknown & !hole | moved.unknown,
    };
    let whole = Num { bits, ..Num::UNKNOWN };
    match (within, size) {
        // Each half has a range of its own.
        (0, 4) => {
            let (low, high) = (old.umin >> 32, old.umax >> 32);
            let (umin, umax) =
                (low << 32 | u64::from(new.low.0), high << 32 | u64::from(new.low.1));
            Num { low: new.low, slow: new.slow, umin, umax, ..whole }.settled()
        }
        (4, 4) => {
            let (umin, umax) = (
                u64::from(new.low.0) << 32 | u64::from(old.low.0),
                u64::from(new.low.1) << 32 | u64::from(old.low.1),
            );
            Num { low: old.low, slow: old.slow, umin, umax, ..whole }.settled()
        }
        _ => whole.settled(),
    }
}

/// A number of which some bytes may have become anything.
fn blurred(old: &Num, mask: u8) -> Num {
    let doubt = bits_of(mask);
    let bits = Bits { value: old.bits.value & !doubt, unknown: old.bits.unknown | doubt };
    Num::of_bits(bits)
}
