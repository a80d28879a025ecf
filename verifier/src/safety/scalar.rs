//! What is known of a number: bits, unsigned range, signed range, and what else holds it.
//!
//! The three views describe one 64-bit value; [`Scalar::settle`] lets each sharpen the others.
//! 32-bit arithmetic is done on values cut to 32 bits and cut again afterwards, so that nothing
//! learnt about the low half is ever taken for the whole.
//!
//! Invariant: whatever value a register has in a run, it is contained in its scalar.

use super::bits::Bits;
use super::name::Name;

/// A set of 64-bit numbers, and the number's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scalar {
    pub(super) bits: Bits,
    pub(super) umin: u64,
    pub(super) umax: u64,
    pub(super) smin: i64,
    pub(super) smax: i64,
    /// Equal names are equal numbers.
    pub(super) name: Name,
    /// The number is `data_end - base - bytes`.
    pub(super) distance: Option<Distance>,
}

/// How far the end of the packet is from `bytes` behind a base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Distance {
    pub(super) base: Name,
    pub(super) bytes: i64,
}

impl Scalar {
    /// Any number.
    pub(super) const UNKNOWN: Scalar = Scalar {
        bits: Bits::UNKNOWN,
        umin: 0,
        umax: u64::MAX,
        smin: i64::MIN,
        smax: i64::MAX,
        name: Name::NONE,
        distance: None,
    };

    pub(super) const fn constant(value: u64) -> Scalar {
        Scalar {
            bits: Bits::constant(value),
            umin: value,
            umax: value,
            smin: value.cast_signed(),
            smax: value.cast_signed(),
            name: Name::NONE,
            distance: None,
        }
    }

    /// Numbers from `low` to `high`.
    pub(super) fn unsigned(low: u64, high: u64) -> Scalar {
        Scalar { umin: low, umax: high, ..Scalar::UNKNOWN }.settled()
    }

    /// Numbers from `low` to `high`, signed.
    pub(super) fn signed(low: i64, high: i64) -> Scalar {
        Scalar { smin: low, smax: high, ..Scalar::UNKNOWN }.settled()
    }

    /// Numbers whose bits are as given.
    pub(super) fn of_bits(bits: Bits) -> Scalar {
        Scalar { bits, ..Scalar::UNKNOWN }.settled()
    }

    /// The same number known by `name`.
    pub(super) const fn named(self, name: Name) -> Scalar {
        Scalar { name, ..self }
    }

    /// The only number it can be.
    pub(super) const fn as_constant(&self) -> Option<u64> {
        if self.umin == self.umax { Some(self.umin) } else { None }
    }

    /// Whether the upper 32 bits are 0.
    pub(super) const fn fits32(&self) -> bool {
        self.umax <= u32::MAX as u64
    }

    /// The identity removed: for results that are other numbers.
    pub(super) const fn anonymous(self) -> Scalar {
        Scalar { name: Name::NONE, distance: None, ..self }
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.bits.contains(number)
            && (self.umin..=self.umax).contains(&number)
            && (self.smin..=self.smax).contains(&number.cast_signed())
    }

    /// The low 32 bits, zero-extended.
    pub(super) fn low32(self) -> Scalar {
        if self.fits32() {
            return self;
        }
        let bits = self.bits.map(|part| part & u64::from(u32::MAX));
        let same_upper = self.umin >> 32 == self.umax >> 32;
        let low = |number: u64| number & u64::from(u32::MAX);
        let (umin, umax) = match same_upper {
            true => (low(self.umin), low(self.umax)),
            false => (0, u64::from(u32::MAX)),
        };
        Scalar { bits, umin, umax, ..Scalar::UNKNOWN }.settled()
    }

    /// Numbers in both; `None` if there are none. Keeps this one's identity.
    pub(super) fn intersect(self, other: Scalar) -> Option<Scalar> {
        Scalar {
            bits: self.bits.intersect(other.bits)?,
            umin: self.umin.max(other.umin),
            umax: self.umax.min(other.umax),
            smin: self.smin.max(other.smin),
            smax: self.smax.min(other.smax),
            ..self
        }
        .settle()
    }

    /// Numbers in either, and some more.
    pub(super) fn join(self, other: Scalar) -> Scalar {
        Scalar {
            bits: self.bits.union(other.bits),
            umin: self.umin.min(other.umin),
            umax: self.umax.max(other.umax),
            smin: self.smin.min(other.smin),
            smax: self.smax.max(other.smax),
            name: if self.name == other.name { self.name } else { Name::NONE },
            distance: if self.distance == other.distance { self.distance } else { None },
        }
    }

    /// Lets each view sharpen the others; `None` if together they leave no number.
    pub(super) fn settle(self) -> Option<Scalar> {
        let mut now = self;
        // Each round passes a fact on by one view; two pass it all the way round.
        for _ in 0..2 {
            now.umin = now.umin.max(now.bits.min());
            now.umax = now.umax.min(now.bits.max());
            if now.umin > now.umax || now.smin > now.smax {
                return None;
            }
            // Within one half of the number line the two orders agree.
            if now.umin.cast_signed() <= now.umax.cast_signed() {
                now.smin = now.smin.max(now.umin.cast_signed());
                now.smax = now.smax.min(now.umax.cast_signed());
            }
            if now.smin > now.smax {
                return None;
            }
            if now.smin.cast_unsigned() <= now.smax.cast_unsigned() {
                now.umin = now.umin.max(now.smin.cast_unsigned());
                now.umax = now.umax.min(now.smax.cast_unsigned());
            }
            if now.umin > now.umax {
                return None;
            }
            now.bits = now.bits.intersect(Bits::range(now.umin, now.umax))?;
        }
        Some(now)
    }

    /// [`Scalar::settle`] for what cannot be empty; if it were, nothing is known instead.
    pub(super) fn settled(self) -> Scalar {
        self.settle().unwrap_or(Scalar::UNKNOWN)
    }
}
