//! What a register or a stack slot holds.
//!
//! A pointer is a region and an offset, never a number: the only ways from one to the other are
//! the differences that reveal nothing but lengths (design decision 2).

use super::name::Name;
use super::scalar::{Distance, Scalar};
use crate::limits::{PACKET_OFFSET_MAX, PACKET_OFFSET_MIN, VARIABLE_OFFSET_MAX};

/// What is known of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Not written on some path.
    Uninit,
    /// A pointer on one path, something else on another.
    Mixed,
    /// A number.
    Scalar(Scalar),
    /// Into the packet (or the buffer of a `Memory` program).
    Packet(Place),
    /// Just past the packet's last byte.
    End,
    /// The context's first byte.
    Context,
    /// `r10` plus so many bytes.
    Stack(i64),
}

/// A packet pointer: `bytes` behind a base, which is itself between `low` and `high` bytes behind
/// the packet's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) base: Name,
    pub(super) low: i64,
    pub(super) high: i64,
    pub(super) bytes: i64,
}

impl Place {
    /// The packet's first byte.
    pub(super) const START: Place = Place { base: Name::DATA, low: 0, high: 0, bytes: 0 };

    /// Least distance from the packet's first byte.
    pub(super) const fn least(self) -> i64 {
        self.low + self.bytes
    }

    /// Greatest distance from the packet's first byte.
    pub(super) const fn most(self) -> i64 {
        self.high + self.bytes
    }

    /// The pointer moved by a number of bytes; `None` if it may get too far away. Moved by a number
    /// that is not constant it gets a base of its own, called `name`.
    pub(super) fn moved(self, by: &Scalar, name: Name) -> Option<Place> {
        let place = match by.as_constant() {
            Some(bytes) => Place { bytes: self.bytes.checked_add(bytes.cast_signed())?, ..self },
            None if by.umax > VARIABLE_OFFSET_MAX => return None,
            None => {
                let low = self.least() + by.umin.cast_signed();
                let high = self.most() + by.umax.cast_signed();
                Place { base: name, low, high, bytes: 0 }
            }
        };
        place.near()
    }

    /// The pointer moved back by a constant.
    pub(super) fn moved_back(self, by: &Scalar) -> Option<Place> {
        let bytes = self.bytes.checked_sub(by.as_constant()?.cast_signed())?;
        Place { bytes, ..self }.near()
    }

    fn near(self) -> Option<Place> {
        // The bytes alone are checked first, so that the sums cannot overflow.
        let range = PACKET_OFFSET_MIN..=PACKET_OFFSET_MAX;
        let near = range.contains(&self.bytes)
            && range.contains(&self.least())
            && range.contains(&self.most());
        near.then_some(self)
    }

    /// The difference of two packet pointers.
    pub(super) fn minus(self, other: Place) -> Scalar {
        if self.base == other.base {
            return Scalar::constant((self.bytes - other.bytes).cast_unsigned());
        }
        Scalar::signed(self.least() - other.most(), self.most() - other.least())
    }

    /// How far the packet's end is, when the packet has between `min` and `max` bytes.
    pub(super) fn to_end(self, min: i64, max: i64) -> Scalar {
        let low = min - self.most();
        let high = max - self.least();
        let distance = Some(Distance { base: self.base, bytes: self.bytes });
        Scalar { distance, ..Scalar::signed(low, high) }
    }
}
