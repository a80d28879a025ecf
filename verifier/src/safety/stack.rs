//! The stack: which bytes are written, and which slots hold a whole value.
//!
//! A slot is eight aligned bytes. A value stored whole is remembered whole; a pointer exists on the
//! stack only like that. Whatever touches a part of a slot leaves bytes: of a number they stay
//! written, of a pointer the untouched ones count as not written, so that no part of an address can
//! be read.

use alloc::vec::Vec;

use ebpf::limits::STACK_BYTES;

use super::value::Value;
use crate::refusal::UnsafeReason;

/// The slots that were written to, by ascending index; the others are not written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stack {
    slots: Vec<(u8, Slot)>,
}

/// What one slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// Bit n: byte n is written.
    Bytes(u8),
    /// A value stored whole.
    Whole(Value),
}

/// What a load from the stack finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A value that was stored whole.
    Whole(Value),
    /// Written bytes of unknown content.
    Bytes,
    /// Part of a pointer.
    PartOfPointer,
    /// At least one byte that is not written.
    Hole,
}

/// Slots in the stack.
pub(super) const SLOTS: usize = STACK_BYTES / 8;

/// The lowest byte's index of an access at `r10 + offset`.
///
/// # Errors
/// The access is not wholly inside the stack.
pub(super) fn locate(offset: i64, size: usize) -> Result<usize, UnsafeReason> {
    let outside = UnsafeReason::StackOutOfBounds(i32::try_from(offset).unwrap_or(i32::MAX));
    let start = usize::try_from(offset.saturating_add(STACK_BYTES as i64)).map_err(|_| outside)?;
    if start.checked_add(size).is_none_or(|end| end > STACK_BYTES) {
        return Err(outside);
    }
    Ok(start)
}

impl Stack {
    /// The slots that were written to.
    pub(super) fn slots(&self) -> &[(u8, Slot)] {
        &self.slots
    }

    /// The values that are stored whole.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Value> {
        self.slots.iter_mut().filter_map(|(_, slot)| match slot {
            Slot::Whole(value) => Some(value),
            Slot::Bytes(_) => None,
        })
    }

    /// What `size` bytes from index `start` hold.
    pub(super) fn find(&self, start: usize, size: usize) -> Found {
        if start.is_multiple_of(8)
            && size == 8
            && let Slot::Whole(value) = self.slot(start / 8)
        {
            return Found::Whole(value);
        }
        let mut found = Found::Bytes;
        for byte in start..start + size {
            match self.slot(byte / 8) {
                Slot::Whole(Value::Scalar(_)) => {}
                Slot::Whole(_) => return Found::PartOfPointer,
                Slot::Bytes(written) if written & 1 << (byte % 8) != 0 => {}
                Slot::Bytes(_) => found = Found::Hole,
            }
        }
        found
    }

    /// Stores a value whole into the slot at index `start`, a multiple of 8.
    pub(super) fn store_whole(&mut self, start: usize, value: Value) {
        self.put(start / 8, Slot::Whole(value));
    }

    /// Stores `size` bytes of unknown content from index `start`.
    pub(super) fn store_bytes(&mut self, start: usize, size: usize) {
        for byte in start..start + size {
            let before = match self.slot(byte / 8) {
                Slot::Bytes(written) => written,
                Slot::Whole(Value::Scalar(_)) => 0xff,
                Slot::Whole(_) => 0,
            };
            self.put(byte / 8, Slot::Bytes(before | 1 << (byte % 8)));
        }
    }

    /// Replaces the slots, ascending by index.
    pub(super) fn from_slots(slots: Vec<(u8, Slot)>) -> Stack {
        Stack { slots }
    }

    pub(super) fn slot(&self, index: usize) -> Slot {
        match self.slots.binary_search_by_key(&index, |&(at, _)| usize::from(at)) {
            Ok(found) => self.slots.get(found).map_or(Slot::Bytes(0), |&(_, slot)| slot),
            Err(_) => Slot::Bytes(0),
        }
    }

    fn put(&mut self, index: usize, slot: Slot) {
        match self.slots.binary_search_by_key(&index, |&(at, _)| usize::from(at)) {
            Ok(found) => {
                if let Some(entry) = self.slots.get_mut(found) {
                    entry.1 = slot;
                }
            }
            // At most SLOTS = 64 indices exist.
            Err(place) => self.slots.insert(place, (index as u8, slot)),
        }
    }
}
