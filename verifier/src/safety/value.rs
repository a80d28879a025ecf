//! What a register or a stack slot holds.
//!
//! A pointer is a region and an offset, never a number: the only ways from one to the other are
//! the differences that reveal nothing but lengths (design decision 2).

use core::ops::RangeInclusive;

use super::name::{Name, Names};
use super::number::Num;
use super::scalar::{Distance, Scalar};
use crate::limits::{OFFSET_MAX, OFFSET_MIN, VARIABLE_OFFSET_MAX};

/// What is known of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Not written on some path.
    Uninit,
    /// A pointer on one path, something else on another.
    Mixed,
    /// A pointer to what is gone: the packet before its bounds moved, the frame of a function that
    /// returned.
    Stale,
    /// Pointed to the packet before its bounds moved: good for comparisons with pointers into it
    /// only. They tell how far the bounds moved, and no address.
    Old,
    /// A number.
    Scalar(Scalar),
    /// Into memory.
    Pointer(Pointer),
    /// Just past the packet's last byte.
    End,
    /// The low 32 bits of a pointer into the packet, the rest zero: good for 32-bit differences
    /// only, which are the low half of the pointers' difference.
    Half(Pointer),
    /// The low 32 bits of the packet's end, likewise.
    HalfEnd,
    /// The context's first byte.
    Context,
    /// A map, by its position in the program.
    Map(u32),
    /// What a look-up gave: null, or the first byte of a value of this map. Equal names are equal
    /// values.
    Lookup(u32, Name),
}

impl Value {
    /// What is left of a pointer into the packet when its upper half is cut off; `None` if this is
    /// none.
    pub(super) fn half(self) -> Option<Value> {
        match self {
            Value::Pointer(it) | Value::Half(it) if it.region == Region::Packet => {
                Some(Value::Half(it))
            }
            Value::End | Value::HalfEnd => Some(Value::HalfEnd),
            _ => None,
        }
    }

    /// The pointer of which this is the low half; anything else itself.
    pub(super) const fn whole(self) -> Value {
        match self {
            Value::Half(pointer) => Value::Pointer(pointer),
            Value::HalfEnd => Value::End,
            other => other,
        }
    }
}

/// What a pointer points into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Region {
    /// The packet, or the buffer of a `Memory` program.
    Packet,
    /// The stack of a frame, 0 the outermost; offsets are from its top, so they are negative.
    Stack(u8),
    /// A value of a map.
    Map(u32),
}

impl Region {
    /// Numbers that are not constant and may be added to or taken from a pointer.
    fn offsets(self) -> RangeInclusive<i64> {
        match self {
            // As in Linux.
            Region::Packet => 0..=VARIABLE_OFFSET_MAX,
            Region::Stack(_) | Region::Map(_) => OFFSET_MIN..=OFFSET_MAX,
        }
    }
}

/// A pointer: `bytes` behind a base, which is itself between `low` and `high` bytes behind the
/// region's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    pub(crate) region: Region,
    pub(crate) base: Name,
    pub(crate) low: i64,
    pub(crate) high: i64,
    pub(crate) bytes: i64,
    /// The base is a multiple of two to this power.
    pub(crate) align: u8,
}

impl Pointer {
    /// The region's first byte.
    pub(super) const fn first(region: Region) -> Pointer {
        Pointer { region, base: Name::ZERO, low: 0, high: 0, bytes: 0, align: 12 }
    }

    /// Least distance from the region's first byte.
    pub(super) const fn least(&self) -> i64 {
        self.low + self.bytes
    }

    /// Greatest distance from the region's first byte.
    pub(super) const fn most(&self) -> i64 {
        self.high + self.bytes
    }

    /// The only distance it can have.
    pub(super) const fn constant(&self) -> Option<i64> {
        if self.low == self.high { Some(self.least()) } else { None }
    }

    /// The pointer moved by a number; `None` if it may get too far away. Moved by a number that is
    /// not constant, its base is that number where the pointer was constant, otherwise a new one.
    pub(super) fn moved(self, by: &Scalar, names: &mut Names) -> Option<Pointer> {
        if let Some(bytes) = by.as_constant() {
            return Pointer { bytes: self.bytes.checked_add(bytes.cast_signed())?, ..self }.near();
        }
        let range = self.region.offsets();
        let (smin, smax) = (by.num.smin, by.num.smax);
        if !range.contains(&smin) || !range.contains(&smax) {
            return None;
        }
        let zeros = by.num.bits.max().trailing_zeros().min(12) as u8;
        let delta = by.delta.cast_signed();
        if self.constant().is_some() && (OFFSET_MIN..=OFFSET_MAX).contains(&delta) {
            // The base is what the number is called; the pointer is that plus the rest.
            let bytes = self.least() + delta;
            let (low, high) = (smin - delta, smax - delta);
            let align = zeros.min(delta.trailing_zeros().min(12) as u8);
            return Pointer { base: by.name, low, high, bytes, align, ..self }.near();
        }
        let (low, high) = (self.low + smin, self.high + smax);
        let align = zeros.min(self.align);
        Pointer { base: names.fresh(), low, high, align, ..self }.near()
    }

    /// The pointer moved back by a number.
    pub(super) fn moved_back(self, by: &Scalar, names: &mut Names) -> Option<Pointer> {
        if let Some(bytes) = by.as_constant() {
            return Pointer { bytes: self.bytes.checked_sub(bytes.cast_signed())?, ..self }.near();
        }
        let range = self.region.offsets();
        let (smin, smax) = (by.num.smin, by.num.smax);
        if !range.contains(&smin) || !range.contains(&smax) {
            return None;
        }
        let (low, high) = (self.low - smax, self.high - smin);
        let align = self.align.min(by.num.bits.max().trailing_zeros().min(12) as u8);
        Pointer { base: names.fresh(), low, high, align, ..self }.near()
    }

    fn near(self) -> Option<Pointer> {
        // Each part is checked, so that the sums cannot overflow.
        let range = OFFSET_MIN..=OFFSET_MAX;
        let near = [self.bytes, self.low, self.high].iter().all(|part| range.contains(part))
            && range.contains(&self.least())
            && range.contains(&self.most());
        near.then_some(self)
    }

    /// The difference of two pointers into one region.
    pub(super) fn minus(self, other: Pointer, names: &mut Names) -> Scalar {
        if self.base == other.base {
            return Scalar::constant((self.bytes - other.bytes).cast_unsigned());
        }
        let num = Num::signed(self.least() - other.most(), self.most() - other.least());
        Scalar::new(num, names)
    }

    /// How far the packet's end is, when the packet has between `min` and `max` bytes.
    pub(super) fn to_end(self, (min, max): (i64, i64), names: &mut Names) -> Scalar {
        let num = Num::signed(min.saturating_sub(self.most()), max.saturating_sub(self.least()));
        let distance = Some(Distance { base: self.base, bytes: self.bytes });
        Scalar { distance, ..Scalar::new(num, names) }
    }
}
