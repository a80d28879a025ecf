//! Carries: a sum taken apart into bits of the frame, a byte at a time.
//!
//! A [`Word`] keeps a sum as long as it is only compared, which costs nothing. What is done to a
//! sum otherwise (a mask, a shift to the right, a test of bits, a byte order) needs its bits, and
//! those depend on what is carried from one byte into the next. So the lowest byte that something
//! is added to becomes a byte of its own ([`Source::Sum`]: the sum of some of its bits and a
//! constant), and the extraction goes on twice: for the frames in which that byte carries, and for
//! those in which it does not. That is exact, and mostly only two cases.

use flow::ByteSet;

use super::value::{Source, Values};
use super::word::{Bit, Word, low_mask};
use crate::refusal::Refusal;

/// What became of the lowest part of a sum.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "taken apart where it is made")]
pub(super) enum Lowest {
    /// Nothing is carried, or always the same.
    Settled(Word),
    /// It depends on a byte.
    Split {
        /// Which.
        source: u32,
        /// Its values, as it stands in the frame, that carry.
        carries: ByteSet,
        /// The sum if it carries, and if not.
        with: Word,
        without: Word,
    },
    /// Too many sums of sums.
    Deep,
}

/// Takes the lowest part of a sum apart; at least one bit of `plus` is settled then.
///
/// # Errors
/// The table of values is full.
pub(super) fn lowest(values: &mut Values, word: &Word) -> Result<Lowest, Refusal> {
    let low = word.plus.trailing_zeros();
    let Some(&first) = word.bits.get(low as usize) else { return Ok(Lowest::Settled(*word)) };
    match first.source() {
        None => Ok(Lowest::Settled(constants(word, low))),
        Some((source, bit, _)) => bits_of(values, word, low, (source, bit)),
    }
}

/// Adds to a run of constant bits.
fn constants(word: &Word, low: u32) -> Word {
    let rest = word.bits.iter().skip(low as usize).take((word.width - low) as usize);
    let count = rest.take_while(|bit| bit.source().is_none()).count() as u32;
    let (ones, _) = word.known();
    let mask = low_mask(count);
    let (sum, wraps) = (ones >> low & mask).overflowing_add(word.plus >> low & mask);
    let carry = wraps || sum > mask;
    let mut bits = word.bits;
    for (at, bit) in bits.iter_mut().skip(low as usize).take(count as usize).enumerate() {
        *bit = if sum >> at & 1 == 1 { Bit::ONE } else { Bit::ZERO };
    }
    above(word, bits, low + count, carry)
}

/// Adds to a run of bits that follow each other in one byte.
fn bits_of(
    values: &mut Values,
    word: &Word,
    low: u32,
    (source, first): (u32, u32),
) -> Result<Lowest, Refusal> {
    let (mut count, mut flip) = (0, 0);
    for bit in word.bits.iter().skip(low as usize).take((word.width - low) as usize) {
        match bit.source() {
            Some((of, number, inverted)) if (of, number) == (source, first + count) => {
                flip |= u8::from(inverted) << count;
                count += 1;
            }
            _ => break,
        }
    }
    let mask = low_mask(count);
    let plus = (word.plus >> low & mask) as u8;
    let sum = Source::Sum { of: source, first: first as u8, mask: mask as u8, flip, plus };
    let Some(number) = values.sum(sum)? else { return Ok(Lowest::Deep) };
    let carries = ByteSet::from_fn(|byte| {
        let part = (values.byte(source, byte) >> first & mask as u8) ^ flip;
        u64::from(part) + u64::from(plus) > mask
    });
    let mut bits = word.bits;
    for (at, bit) in (0..count).zip(bits.iter_mut().skip(low as usize)) {
        *bit = Bit::of(number, at);
    }
    let top = low + count;
    let [without, with] = [false, true].map(|carry| above(word, bits, top, carry));
    if without == with {
        return Ok(Lowest::Settled(with));
    }
    Ok(Lowest::Split { source, carries, with, without })
}

/// The sum with these bits, settled below `top`, and with a carry from there or not.
fn above(word: &Word, bits: [Bit; 64], top: u32, carry: bool) -> Word {
    let carried = u64::from(carry).checked_shl(top).unwrap_or(0);
    let plus = (word.plus & !low_mask(top)).wrapping_add(carried);
    Word { bits, plus, width: word.width }.normal()
}

#[cfg(test)]
mod tests {
    use flow::{ByteSet, Cell, Rule};

    use super::{Lowest, lowest};
    use crate::claim::value::Values;
    use crate::claim::word::Word;
    use crate::hash::HashKey;

    /// The number that `word` is when the byte at 20 is `low` and the one at 21 is `high`.
    fn evaluate(values: &Values, word: &Word, [low, high]: [u8; 2]) -> u64 {
        let bit = |at: usize| match word.bits[at].source() {
            None => word.as_constant().map_or(word.known().0 >> at & 1, |number| number >> at & 1),
            Some((source, bit, inverted)) => {
                let raw = if values.root(source) == Cell::frame(20) { low } else { high };
                u64::from(values.byte(source, raw) >> bit & 1 == 1) ^ u64::from(inverted)
            }
        };
        let bits = (0..64).map(|at| bit(at) << at).sum::<u64>();
        assert_eq!(word.plus, 0);
        bits
    }

    #[test]
    fn taken_apart_a_sum_is_the_same_number() {
        for (plus, width) in [(1, 16), (255, 16), (0xffff, 16), (0x1ff, 16), (200, 64), (0x80, 15)]
        {
            let mut values = Values::new(64, HashKey::PUBLIC, Rule::any());
            let cells = [20, 21].map(|at| values.cell(Cell::frame(at)).unwrap());
            let word = Word::loaded(&cells);
            let start = word.add(&Word::constant(plus), width).unwrap();
            for raw in [[0, 0], [255, 0], [255, 255], [1, 128], [127, 127], [56, 255]] {
                let mut sum = start;
                while sum.plus != 0 {
                    sum = match lowest(&mut values, &sum).unwrap() {
                        Lowest::Settled(sum) => sum,
                        Lowest::Split { source, carries, with, without } => {
                            let byte = raw[usize::from(values.root(source) == Cell::frame(21))];
                            assert!(!carries.is_empty() && carries != ByteSet::ALL);
                            if carries.contains(byte) { with } else { without }
                        }
                        Lowest::Deep => panic!("one sum"),
                    };
                }
                let wanted = u64::from(u16::from_le_bytes(raw)).wrapping_add(plus);
                let wanted = wanted & crate::claim::word::low_mask(width);
                assert_eq!(evaluate(&values, &sum, raw), wanted, "{raw:?} + {plus} mod 2^{width}");
            }
        }
    }
}
