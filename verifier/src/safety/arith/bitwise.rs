//! Bitwise operations and shifts.

use super::super::bits::Bits;
use super::super::number::Num;

pub(super) fn and(a: Num, b: Num) -> Num {
    let bits = a.bits.and(b.bits);
    let smax = match (a.smin >= 0, b.smin >= 0) {
        (true, true) => a.smax.min(b.smax),
        (true, false) => a.smax,
        (false, true) => b.smax,
        // Clearing bits of a negative number makes it less, of others too.
        (false, false) => a.smax.max(b.smax),
    };
    let low = (0, a.low.1.min(b.low.1));
    Num { bits, umax: a.umax.min(b.umax), smax, low, ..Num::UNKNOWN }.settled()
}

pub(super) fn or(a: Num, b: Num) -> Num {
    let bits = a.bits.or(b.bits);
    let smin = match (a.smax < 0, b.smax < 0) {
        (true, true) => a.smin.max(b.smin),
        (true, false) => a.smin,
        (false, true) => b.smin,
        (false, false) => a.smin.min(b.smin),
    };
    let low = (a.low.0.max(b.low.0), u32::MAX);
    Num { bits, umin: a.umin.max(b.umin), smin, low, ..Num::UNKNOWN }.settled()
}

pub(super) fn xor(a: Num, b: Num) -> Num {
    // No bit above the highest of both; together they are never more than their sum.
    let mut result = Num::of_bits(a.bits.xor(b.bits));
    if let Some(sum) = a.umax.checked_add(b.umax) {
        result.umax = result.umax.min(sum);
    }
    result.settled()
}

/// A shift by every count that is possible.
pub(super) fn shift(a: Num, count: Num, width: u32, by: fn(Num, u32) -> Num) -> Num {
    let mask = u64::from(width - 1);
    let counts = Bits { value: count.bits.value & mask, unknown: count.bits.unknown & mask };
    let (low, high) = match count.umax <= mask {
        true => (count.umin, count.umax),
        false => (counts.min(), counts.max()),
    };
    let mut all: Option<Num> = None;
    for count in low..=high {
        if counts.contains(count) {
            let one = by(a, count as u32);
            all = Some(all.map_or(one, |all| all.join(&one)));
        }
    }
    all.unwrap_or(Num::UNKNOWN)
}

pub(super) fn left(a: Num, count: u32) -> Num {
    let mut shifted = Num { bits: a.bits.shift_left(count), ..Num::UNKNOWN };
    if a.umax.leading_zeros() >= count {
        (shifted.umin, shifted.umax) = (a.umin << count, a.umax << count);
    }
    let (low, high) = (a.smin << count, a.smax << count);
    if low >> count == a.smin && high >> count == a.smax {
        (shifted.smin, shifted.smax) = (low, high);
    }
    if count < 32 && a.low.1.leading_zeros() >= count {
        shifted.low = (a.low.0 << count, a.low.1 << count);
    }
    if count == 32 {
        // Only the low half is left: what compilers cut a number with.
        (shifted.umin, shifted.umax) = (u64::from(a.low.0) << 32, u64::from(a.low.1) << 32);
        (shifted.smin, shifted.smax) = (i64::from(a.slow.0) << 32, i64::from(a.slow.1) << 32);
    }
    shifted.settled()
}

pub(super) fn right(a: Num, count: u32) -> Num {
    let bits = a.bits.shift_right(count);
    Num { bits, umin: a.umin >> count, umax: a.umax >> count, ..Num::UNKNOWN }.settled()
}

/// Arithmetic; a 32-bit operand comes sign-extended.
pub(super) fn signed(a: Num, count: u32) -> Num {
    let bits = a.bits.shift_signed(count);
    Num { bits, smin: a.smin >> count, smax: a.smax >> count, ..Num::UNKNOWN }.settled()
}
