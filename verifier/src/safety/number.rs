//! A set of 64-bit numbers: known bits, and signed and unsigned ranges of the whole and of its low
//! half.
//!
//! The five views describe one number; [`Num::settle`] lets each sharpen the others. What is known
//! of the low half is kept apart, so that 32-bit comparisons teach something also where the upper
//! half is not known, and nothing learnt about the low half is ever taken for the whole.
//!
//! Invariant: no view excludes a number that the set is said to contain.

use super::bits::Bits;

/// A set of 64-bit numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Num {
    pub(crate) bits: Bits,
    pub(crate) umin: u64,
    pub(crate) umax: u64,
    pub(crate) smin: i64,
    pub(crate) smax: i64,
    /// The low 32 bits, unsigned.
    pub(crate) low: (u32, u32),
    /// The low 32 bits, signed.
    pub(crate) slow: (i32, i32),
}

const LOW: u64 = u32::MAX as u64;

impl Num {
    /// Any number.
    pub(crate) const UNKNOWN: Num = Num {
        bits: Bits::UNKNOWN,
        umin: 0,
        umax: u64::MAX,
        smin: i64::MIN,
        smax: i64::MAX,
        low: (0, u32::MAX),
        slow: (i32::MIN, i32::MAX),
    };

    /// One number.
    pub(crate) const fn constant(value: u64) -> Num {
        let low = value as u32;
        Num {
            bits: Bits::constant(value),
            umin: value,
            umax: value,
            smin: value.cast_signed(),
            smax: value.cast_signed(),
            low: (low, low),
            slow: (low.cast_signed(), low.cast_signed()),
        }
    }

    /// Numbers from `low` to `high`.
    pub(crate) fn unsigned(low: u64, high: u64) -> Num {
        Num { umin: low, umax: high, ..Num::UNKNOWN }.settled()
    }

    /// Numbers from `low` to `high`, signed.
    pub(crate) fn signed(low: i64, high: i64) -> Num {
        Num { smin: low, smax: high, ..Num::UNKNOWN }.settled()
    }

    /// Numbers whose bits are as given.
    pub(crate) fn of_bits(bits: Bits) -> Num {
        Num { bits, ..Num::UNKNOWN }.settled()
    }

    /// The only number it can be.
    pub(crate) const fn as_constant(&self) -> Option<u64> {
        if self.umin == self.umax { Some(self.umin) } else { None }
    }

    /// Whether the upper 32 bits are 0.
    pub(crate) const fn fits32(&self) -> bool {
        self.umax <= LOW
    }

    /// Whether a number is in the set.
    pub(crate) fn contains(&self, number: u64) -> bool {
        let low = number as u32;
        self.bits.contains(number)
            && (self.umin..=self.umax).contains(&number)
            && (self.smin..=self.smax).contains(&number.cast_signed())
            && (self.low.0..=self.low.1).contains(&low)
            && (self.slow.0..=self.slow.1).contains(&low.cast_signed())
    }

    /// Whether every number of `other` is in the set.
    pub(crate) const fn includes(&self, other: &Num) -> bool {
        self.umin <= other.umin
            && self.umax >= other.umax
            && self.smin <= other.smin
            && self.smax >= other.smax
            && self.low.0 <= other.low.0
            && self.low.1 >= other.low.1
            && self.slow.0 <= other.slow.0
            && self.slow.1 >= other.slow.1
            && self.bits.includes(other.bits)
    }

    /// The low 32 bits, zero-extended.
    pub(crate) fn low32(self) -> Num {
        if self.fits32() {
            return self;
        }
        let bits = self.bits.map(|part| part & LOW);
        let (umin, umax) = (u64::from(self.low.0), u64::from(self.low.1));
        let (smin, smax) = (umin.cast_signed(), umax.cast_signed());
        Num { bits, umin, umax, smin, smax, ..self }.settled()
    }

    /// The low 32 bits, sign-extended.
    pub(crate) fn sext32(self) -> Num {
        let (smin, smax) = (i64::from(self.slow.0), i64::from(self.slow.1));
        Num { bits: self.bits.sign_extend(32), smin, smax, ..Num::UNKNOWN }
            .with_low(&self)
            .unwrap_or(Num::UNKNOWN)
    }

    /// The same numbers, as far as their low half is one of `half`'s; `None` if there are none.
    pub(crate) fn with_low(self, half: &Num) -> Option<Num> {
        let bits = Bits { value: half.bits.value & LOW, unknown: half.bits.unknown | !LOW };
        Num {
            bits: self.bits.intersect(bits)?,
            low: (self.low.0.max(half.low.0), self.low.1.min(half.low.1)),
            slow: (self.slow.0.max(half.slow.0), self.slow.1.min(half.slow.1)),
            ..self
        }
        .settle()
    }

    /// Numbers in both; `None` if there are none.
    pub(crate) fn intersect(self, other: &Num) -> Option<Num> {
        Num {
            bits: self.bits.intersect(other.bits)?,
            umin: self.umin.max(other.umin),
            umax: self.umax.min(other.umax),
            smin: self.smin.max(other.smin),
            smax: self.smax.min(other.smax),
            low: (self.low.0.max(other.low.0), self.low.1.min(other.low.1)),
            slow: (self.slow.0.max(other.slow.0), self.slow.1.min(other.slow.1)),
        }
        .settle()
    }

    /// Numbers in either, and some more.
    pub(crate) fn join(&self, other: &Num) -> Num {
        Num {
            bits: self.bits.union(other.bits),
            umin: self.umin.min(other.umin),
            umax: self.umax.max(other.umax),
            smin: self.smin.min(other.smin),
            smax: self.smax.max(other.smax),
            low: (self.low.0.min(other.low.0), self.low.1.max(other.low.1)),
            slow: (self.slow.0.min(other.slow.0), self.slow.1.max(other.slow.1)),
        }
    }

    /// Lets each view sharpen the others; `None` if together they leave no number.
    pub(crate) fn settle(self) -> Option<Num> {
        let mut now = self;
        // Each round passes a fact on by one view at least; what is left after a few is kept loose.
        for _ in 0..4 {
            let before = now;
            now.settle_whole()?;
            now.settle_half()?;
            now.whole_to_half();
            now.half_to_whole()?;
            let low = Bits::range(u64::from(now.low.0), u64::from(now.low.1));
            let low = Bits { value: low.value & LOW, unknown: low.unknown | !LOW };
            now.bits = now.bits.intersect(Bits::range(now.umin, now.umax))?.intersect(low)?;
            if now == before {
                break;
            }
        }
        (now.umin <= now.umax
            && now.smin <= now.smax
            && now.low.0 <= now.low.1
            && now.slow.0 <= now.slow.1)
            .then_some(now)
    }

    /// [`Num::settle`] for what cannot be empty; if it were, nothing is known instead.
    pub(crate) fn settled(self) -> Num {
        self.settle().unwrap_or(Num::UNKNOWN)
    }

    /// Bits, unsigned and signed range of the whole.
    fn settle_whole(&mut self) -> Option<()> {
        self.umin = self.umin.max(self.bits.min());
        self.umax = self.umax.min(self.bits.max());
        self.smin = self.smin.max(self.bits.signed_min());
        self.smax = self.smax.min(self.bits.signed_max());
        if self.umin > self.umax || self.smin > self.smax {
            return None;
        }
        // Within one half of the number line the two orders agree.
        if self.umin.cast_signed() <= self.umax.cast_signed() {
            self.smin = self.smin.max(self.umin.cast_signed());
            self.smax = self.smax.min(self.umax.cast_signed());
        }
        if self.smin > self.smax {
            return None;
        }
        if self.smin.cast_unsigned() <= self.smax.cast_unsigned() {
            self.umin = self.umin.max(self.smin.cast_unsigned());
            self.umax = self.umax.min(self.smax.cast_unsigned());
        } else {
            // The signed range crosses zero: [0, smax] and [smin, MAX]. One part may be excluded.
            if self.umin > self.smax.cast_unsigned() {
                self.umin = self.umin.max(self.smin.cast_unsigned());
                self.smax = -1;
            }
            if self.umax < self.smin.cast_unsigned() {
                self.umax = self.umax.min(self.smax.cast_unsigned());
                self.smin = 0;
            }
        }
        (self.umin <= self.umax && self.smin <= self.smax).then_some(())
    }

    /// The same for the low half.
    fn settle_half(&mut self) -> Option<()> {
        self.low.0 = self.low.0.max(self.bits.min() as u32);
        self.low.1 = self.low.1.min(self.bits.max() as u32);
        if self.low.0 > self.low.1 || self.slow.0 > self.slow.1 {
            return None;
        }
        if self.low.0.cast_signed() <= self.low.1.cast_signed() {
            self.slow.0 = self.slow.0.max(self.low.0.cast_signed());
            self.slow.1 = self.slow.1.min(self.low.1.cast_signed());
        }
        if self.slow.0 > self.slow.1 {
            return None;
        }
        if self.slow.0.cast_unsigned() <= self.slow.1.cast_unsigned() {
            self.low.0 = self.low.0.max(self.slow.0.cast_unsigned());
            self.low.1 = self.low.1.min(self.slow.1.cast_unsigned());
        } else {
            if self.low.0 > self.slow.1.cast_unsigned() {
                self.low.0 = self.low.0.max(self.slow.0.cast_unsigned());
                self.slow.1 = -1;
            }
            if self.low.1 < self.slow.0.cast_unsigned() {
                self.low.1 = self.low.1.min(self.slow.1.cast_unsigned());
                self.slow.0 = 0;
            }
        }
        (self.low.0 <= self.low.1 && self.slow.0 <= self.slow.1).then_some(())
    }

    /// What the whole says of its low half.
    fn whole_to_half(&mut self) {
        if self.umin >> 32 == self.umax >> 32 {
            self.low.0 = self.low.0.max(self.umin as u32);
            self.low.1 = self.low.1.min(self.umax as u32);
        }
        if self.smin >= i64::from(i32::MIN) && self.smax <= i64::from(i32::MAX) {
            self.slow.0 = self.slow.0.max(self.smin as i32);
            self.slow.1 = self.slow.1.min(self.smax as i32);
        }
    }

    /// What the low half says of the whole: its ends move to numbers whose low half is possible.
    fn half_to_whole(&mut self) -> Option<()> {
        if self.low.0 > self.low.1 || self.slow.0 > self.slow.1 {
            return None;
        }
        let (first, last) = (u64::from(self.low.0), u64::from(self.low.1));
        let low = self.umin & LOW;
        if low < first {
            self.umin += first - low;
        } else if low > last {
            self.umin = (self.umin | LOW).checked_add(1 + first)?;
        }
        let high = self.umax & LOW;
        if high > last {
            self.umax -= high - last;
        } else if high < first {
            self.umax = (self.umax & !LOW).checked_sub(1 + (LOW - last))?;
        }
        // A number that is its own low half, sign-extended.
        if self.smin >= i64::from(i32::MIN) && self.smax <= i64::from(i32::MAX) {
            self.smin = self.smin.max(i64::from(self.slow.0));
            self.smax = self.smax.min(i64::from(self.slow.1));
        }
        (self.umin <= self.umax && self.smin <= self.smax).then_some(())
    }
}
