//! Known bits of a number.
//!
//! A [`Bits`] says of each of 64 bits whether it is 0, 1 or unknown: `value` holds the known ones,
//! `unknown` the unknown ones, and no bit is in both. The operations are those of Linux's *tnum*
//! (Vishwanathan et al., "Sound, Precise, and Fast Abstract Interpretation with Tristate
//! Numbers", CGO 2022), where addition and subtraction are proven sound and optimal.

/// What is known of each bit of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bits {
    /// Bits known to be 1.
    pub(crate) value: u64,
    /// Bits not known.
    pub(crate) unknown: u64,
}

impl Bits {
    /// Nothing known.
    pub(crate) const UNKNOWN: Bits = Bits { value: 0, unknown: u64::MAX };

    pub(crate) const fn constant(value: u64) -> Bits {
        Bits { value, unknown: 0 }
    }

    /// The bits that all numbers from `low` to `high` share.
    pub(crate) const fn range(low: u64, high: u64) -> Bits {
        let differ = low ^ high;
        let unknown = match differ.leading_zeros() {
            0 => u64::MAX,
            zeros => (1u64 << (64 - zeros)) - 1,
        };
        Bits { value: low & !unknown, unknown }
    }

    pub(crate) const fn min(self) -> u64 {
        self.value
    }

    pub(crate) const fn max(self) -> u64 {
        self.value | self.unknown
    }

    /// The least number, signed.
    pub(crate) const fn signed_min(self) -> i64 {
        (self.value | self.unknown & (1 << 63)).cast_signed()
    }

    /// The greatest number, signed.
    pub(crate) const fn signed_max(self) -> i64 {
        (self.value | self.unknown & !(1 << 63)).cast_signed()
    }

    /// Whether every number of `other` is one of these.
    pub(crate) const fn includes(self, other: Bits) -> bool {
        other.unknown & !self.unknown == 0 && other.value & !self.unknown == self.value
    }

    /// The lowest `width` bits, the highest of them in all places above.
    pub(crate) const fn sign_extend(self, width: u32) -> Bits {
        let unused = 64 - width;
        let value = ((self.value << unused).cast_signed() >> unused).cast_unsigned();
        let unknown = ((self.unknown << unused).cast_signed() >> unused).cast_unsigned();
        Bits { value, unknown }
    }

    /// Arithmetic shift; `count` is below 64.
    pub(crate) const fn shift_signed(self, count: u32) -> Bits {
        let value = (self.value.cast_signed() >> count).cast_unsigned();
        let unknown = (self.unknown.cast_signed() >> count).cast_unsigned();
        Bits { value, unknown }
    }

    /// The product: long multiplication, each bit of `self` adding a shifted `other` or not.
    pub(crate) const fn mul(self, other: Bits) -> Bits {
        let sum = Bits::constant(self.value.wrapping_mul(other.value));
        let (mut a, mut b) = (self, other);
        let mut doubt = Bits::constant(0);
        while a.value | a.unknown != 0 {
            if a.value & 1 != 0 {
                doubt = doubt.add(Bits { value: 0, unknown: b.unknown });
            } else if a.unknown & 1 != 0 {
                doubt = doubt.add(Bits { value: 0, unknown: b.value | b.unknown });
            }
            a = a.shift_right(1);
            b = b.shift_left(1);
        }
        sum.add(doubt)
    }

    pub(crate) const fn contains(self, number: u64) -> bool {
        number & !self.unknown == self.value
    }

    pub(crate) const fn add(self, other: Bits) -> Bits {
        let values = self.value.wrapping_add(other.value);
        let most = values.wrapping_add(self.unknown.wrapping_add(other.unknown));
        let unknown = (most ^ values) | self.unknown | other.unknown;
        Bits { value: values & !unknown, unknown }
    }

    pub(crate) const fn sub(self, other: Bits) -> Bits {
        let values = self.value.wrapping_sub(other.value);
        let most = values.wrapping_add(self.unknown);
        let least = values.wrapping_sub(other.unknown);
        let unknown = (most ^ least) | self.unknown | other.unknown;
        Bits { value: values & !unknown, unknown }
    }

    pub(crate) const fn and(self, other: Bits) -> Bits {
        let value = self.value & other.value;
        Bits { value, unknown: self.max() & other.max() & !value }
    }

    pub(crate) const fn or(self, other: Bits) -> Bits {
        let value = self.value | other.value;
        Bits { value, unknown: (self.unknown | other.unknown) & !value }
    }

    pub(crate) const fn xor(self, other: Bits) -> Bits {
        let unknown = self.unknown | other.unknown;
        Bits { value: (self.value ^ other.value) & !unknown, unknown }
    }

    /// `count` is below 64.
    pub(crate) const fn shift_left(self, count: u32) -> Bits {
        Bits { value: self.value << count, unknown: self.unknown << count }
    }

    /// `count` is below 64.
    pub(crate) const fn shift_right(self, count: u32) -> Bits {
        Bits { value: self.value >> count, unknown: self.unknown >> count }
    }

    /// Both parts mapped alike by a function that only moves or drops bits.
    pub(crate) fn map(self, mapped: impl Fn(u64) -> u64) -> Bits {
        Bits { value: mapped(self.value), unknown: mapped(self.unknown) }
    }

    /// Numbers in both; `None` if there are none.
    pub(crate) const fn intersect(self, other: Bits) -> Option<Bits> {
        if (self.value ^ other.value) & !self.unknown & !other.unknown != 0 {
            return None;
        }
        let unknown = self.unknown & other.unknown;
        Some(Bits { value: (self.value | other.value) & !unknown, unknown })
    }

    /// Numbers in either, and as few others as possible.
    pub(crate) const fn union(self, other: Bits) -> Bits {
        let unknown = self.unknown | other.unknown | (self.value ^ other.value);
        Bits { value: self.value & !unknown, unknown }
    }
}
