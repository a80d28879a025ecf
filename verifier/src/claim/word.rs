//! Numbers as bits of the frame.
//!
//! A [`Word`] is 64 bits, each of which is 0, 1, or a bit of a cell, possibly inverted; plus a
//! constant; modulo a power of two: `(bits + plus) mod 2^width`. That covers loads, byte order,
//! masks, shifts and the constants that compilers add before they compare ("is `x - 5` below 3"),
//! exactly. What it cannot express is `None`, and whoever depends on it is undecided.

use ebpf::{ByteOrder, Size};

/// One bit: of the frame, or constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Bit(u32);

impl Bit {
    pub(super) const ZERO: Bit = Bit(0);
    pub(super) const ONE: Bit = Bit(1);

    /// Bit `bit` (0 to 7) of the cell with this number.
    pub(super) const fn of(cell: u32, bit: u32) -> Bit {
        Bit((cell + 1) << 4 | bit << 1)
    }

    const fn constant(one: bool) -> Bit {
        if one { Bit::ONE } else { Bit::ZERO }
    }

    pub(super) const fn not(self) -> Bit {
        Bit(self.0 ^ 1)
    }

    /// The cell's number, the bit's number, and whether it is inverted; `None` for a constant.
    pub(super) const fn source(self) -> Option<(u32, u32, bool)> {
        match (self.0 >> 4).checked_sub(1) {
            Some(cell) => Some((cell, self.0 >> 1 & 7, self.0 & 1 == 1)),
            None => None,
        }
    }

    fn and(self, other: Bit) -> Option<Bit> {
        match (self, other) {
            (Bit::ZERO, _) | (_, Bit::ZERO) => Some(Bit::ZERO),
            (Bit::ONE, bit) | (bit, Bit::ONE) => Some(bit),
            (a, b) if a == b => Some(a),
            (a, b) if a == b.not() => Some(Bit::ZERO),
            _ => None,
        }
    }

    fn or(self, other: Bit) -> Option<Bit> {
        self.not().and(other.not()).map(Bit::not)
    }

    fn xor(self, other: Bit) -> Option<Bit> {
        match (self, other) {
            (Bit::ZERO, bit) | (bit, Bit::ZERO) => Some(bit),
            (Bit::ONE, bit) | (bit, Bit::ONE) => Some(bit.not()),
            (a, b) if a == b => Some(Bit::ZERO),
            (a, b) if a == b.not() => Some(Bit::ONE),
            _ => None,
        }
    }
}

/// `(bits + plus) mod 2^width`.
///
/// Normal form: bits at and above `width` are 0 and `plus` is below `2^width`; a sum that cannot
/// wrap has width 64; a `plus` of 0 has width 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Word {
    pub(super) bits: [Bit; 64],
    pub(super) plus: u64,
    pub(super) width: u32,
}

/// The numbers below `2^width`.
pub(super) const fn low_mask(width: u32) -> u64 {
    if width >= 64 { u64::MAX } else { (1 << width) - 1 }
}

impl Word {
    pub(super) fn constant(value: u64) -> Word {
        let bits = core::array::from_fn(|at| Bit::constant(value >> at & 1 == 1));
        Word { bits, plus: 0, width: 64 }
    }

    /// The bytes of `cells`, first the lowest.
    pub(super) fn loaded(cells: &[u32]) -> Word {
        let bits = core::array::from_fn(|at| match cells.get(at / 8) {
            Some(&cell) => Bit::of(cell, (at % 8) as u32),
            None => Bit::ZERO,
        });
        Word { bits, plus: 0, width: 64 }
    }

    /// The same, where the bits of `mask` in the byte number `at` are those of `value`.
    pub(super) fn with_byte(mut self, at: usize, value: u8, mask: u8) -> Word {
        for (number, bit) in self.bits.iter_mut().skip(at * 8).take(8).enumerate() {
            if mask >> number & 1 == 1 {
                *bit = Bit::constant(value >> number & 1 == 1);
            }
        }
        self
    }

    /// Its value, if it does not depend on the frame.
    pub(super) fn as_constant(&self) -> Option<u64> {
        let (ones, maybe) = self.known();
        (maybe == ones).then(|| ones.wrapping_add(self.plus) & low_mask(self.width))
    }

    /// The bits that are 1, and those that are not 0.
    pub(super) fn known(&self) -> (u64, u64) {
        let mut known = (0, 0);
        for (at, &bit) in self.bits.iter().enumerate() {
            known.0 |= u64::from(bit == Bit::ONE) << at;
            known.1 |= u64::from(bit != Bit::ZERO) << at;
        }
        known
    }

    /// The low `width` bits.
    pub(super) fn cut(mut self, width: u32) -> Word {
        if width < 64 {
            self.bits[width as usize..].fill(Bit::ZERO);
            self.width = self.width.min(width);
        }
        self.normal()
    }

    /// The same number in normal form.
    pub(super) fn normal(mut self) -> Word {
        let mask = low_mask(self.width);
        self.plus &= mask;
        if self.width < 64 {
            self.bits[self.width as usize..].fill(Bit::ZERO);
        }
        let (_, maybe) = self.known();
        if self.plus & maybe == 0 {
            // No carry: the constant's bits stand where nothing else does.
            for (at, bit) in self.bits.iter_mut().enumerate() {
                if self.plus >> at & 1 == 1 {
                    *bit = Bit::ONE;
                }
            }
            self.plus = 0;
        }
        if self.plus == 0 || maybe.checked_add(self.plus).is_some_and(|most| most <= mask) {
            self.width = 64;
        }
        self
    }

    /// `self + other mod 2^width`.
    pub(super) fn add(&self, other: &Word, width: u32) -> Option<Word> {
        let (a, b) = (self.cut(width), other.cut(width));
        if a.width < width || b.width < width || a.known().1 & b.known().1 != 0 {
            let (variable, constant) = match (a.as_constant(), b.as_constant()) {
                (_, Some(constant)) => (a, constant),
                (Some(constant), _) => (b, constant),
                (None, None) => return None,
            };
            if variable.width < width {
                return None;
            }
            let plus = variable.plus.wrapping_add(constant);
            return Some(Word { plus, width, ..variable }.normal());
        }
        let bits = zip(&a, &b, Bit::or)?;
        Some(Word { bits, plus: a.plus.wrapping_add(b.plus), width }.normal())
    }

    /// `self - other mod 2^width`.
    pub(super) fn sub(&self, other: &Word, width: u32) -> Option<Word> {
        let other = other.cut(width);
        if self.cut(width) == other {
            return Some(Word::constant(0));
        }
        if other.width < width {
            return None;
        }
        // -(bits + plus) = !bits + 1 - plus
        let mut inverted = other;
        for bit in inverted.bits.iter_mut().take(width as usize) {
            *bit = bit.not();
        }
        inverted.plus = 1u64.wrapping_sub(other.plus);
        inverted.width = width;
        self.add_inverted(&inverted, width)
    }

    /// A sum in which one side's upper bits are all ones: only a constant can be added.
    fn add_inverted(&self, inverted: &Word, width: u32) -> Option<Word> {
        if let Some(constant) = inverted.as_constant() {
            return self.add(&Word::constant(constant), width);
        }
        let constant = self.cut(width).as_constant()?;
        let plus = inverted.plus.wrapping_add(constant);
        Some(Word { plus, ..*inverted }.normal())
    }

    pub(super) fn and(&self, other: &Word, width: u32) -> Option<Word> {
        let (a, b) = (self.cut(width), other.cut(width));
        if let Some(low) = b.as_constant().and_then(low_bits) {
            return Some(a.cut(low));
        }
        plain(&a, &b, Bit::and)
    }

    pub(super) fn or(&self, other: &Word, width: u32) -> Option<Word> {
        plain(&self.cut(width), &other.cut(width), Bit::or)
    }

    pub(super) fn xor(&self, other: &Word, width: u32) -> Option<Word> {
        plain(&self.cut(width), &other.cut(width), Bit::xor)
    }

    /// `count` is below `width`.
    pub(super) fn shift_left(&self, count: u32, width: u32) -> Word {
        let a = self.cut(width);
        let bits = core::array::from_fn(|at| match at.checked_sub(count as usize) {
            Some(from) => a.bits[from],
            None => Bit::ZERO,
        });
        let wide = (a.width + count).min(64);
        Word { bits, plus: a.plus << count, width: wide }.normal().cut(width)
    }

    /// `count` is below `width`.
    pub(super) fn shift_right(&self, count: u32, width: u32, signed: bool) -> Option<Word> {
        let a = self.cut(width);
        if a.plus != 0 {
            return None;
        }
        let fill = if signed { a.bits[width as usize - 1] } else { Bit::ZERO };
        let bits = core::array::from_fn(|at| {
            let from = at + count as usize;
            match at < width as usize {
                true if from < width as usize => a.bits[from],
                true => fill,
                false => Bit::ZERO,
            }
        });
        Some(Word { bits, plus: 0, width: 64 })
    }

    pub(super) fn sign_extend(&self, from: Size, width: u32) -> Option<Word> {
        let a = self.cut(from.bits());
        if a.plus != 0 {
            return None;
        }
        let top = from.bits() as usize - 1;
        let bits = core::array::from_fn(|at| a.bits[at.min(top)]);
        Some(Word { bits, plus: 0, width: 64 }.cut(width))
    }

    pub(super) fn endian(&self, order: ByteOrder, bits: u8) -> Option<Word> {
        let a = self.cut(bits.into());
        if order == ByteOrder::Le {
            return Some(a);
        }
        if a.plus != 0 {
            return None;
        }
        let bytes = usize::from(bits) / 8;
        let swapped = core::array::from_fn(|at| match (bytes - 1).checked_sub(at / 8) {
            Some(byte) => a.bits[byte * 8 + at % 8],
            None => Bit::ZERO,
        });
        Some(Word { bits: swapped, plus: 0, width: 64 })
    }
}

/// A bitwise operation on words without sums.
fn plain(a: &Word, b: &Word, of: impl Fn(Bit, Bit) -> Option<Bit>) -> Option<Word> {
    if let (Some(x), Some(y)) = (a.as_constant(), b.as_constant()) {
        let bits = zip(&Word::constant(x), &Word::constant(y), of)?;
        return Some(Word { bits, plus: 0, width: 64 });
    }
    if a.plus != 0 || b.plus != 0 {
        return None;
    }
    Some(Word { bits: zip(a, b, of)?, plus: 0, width: 64 })
}

fn zip(a: &Word, b: &Word, of: impl Fn(Bit, Bit) -> Option<Bit>) -> Option<[Bit; 64]> {
    let mut bits = [Bit::ZERO; 64];
    for ((bit, &x), &y) in bits.iter_mut().zip(&a.bits).zip(&b.bits) {
        *bit = of(x, y)?;
    }
    Some(bits)
}

/// `n` where `mask` is exactly the low `n` bits.
fn low_bits(mask: u64) -> Option<u32> {
    (mask & mask.wrapping_add(1) == 0).then(|| 64 - mask.leading_zeros())
}
