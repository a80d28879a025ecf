//! Division and remainder, unsigned and signed.
//!
//! Division by zero gives 0, the remainder of a division by zero is the dividend, and the least
//! signed number divided by -1 is itself (RFC 9669 §4.1).

use super::super::bits::Bits;
use super::super::number::Num;

/// `a / b`.
pub(super) fn div(a: Num, b: Num) -> Num {
    let Some(high) = a.umax.checked_div(b.umin.max(1)) else { return Num::UNKNOWN };
    let low = if b.umin == 0 { 0 } else { a.umin / b.umax };
    let quotient = Num::unsigned(low, high);
    match b.as_constant() {
        Some(by) if by.is_power_of_two() => {
            let bits = a.bits.shift_right(by.trailing_zeros());
            quotient.intersect(&Num::of_bits(bits)).unwrap_or(quotient)
        }
        _ => quotient,
    }
}

/// `a % b`.
pub(super) fn rem(a: Num, b: Num) -> Num {
    if b.umin == 0 {
        // Never more than the dividend, and below the divisor unless that is 0.
        return Num::unsigned(0, a.umax);
    }
    if a.umax < b.umin {
        return a;
    }
    let below = Num::unsigned(0, a.umax.min(b.umax - 1));
    let Some(by) = b.as_constant() else { return below };
    if a.umin / by == a.umax / by {
        return Num::unsigned(a.umin % by, a.umax % by);
    }
    // A power of two that divides the divisor keeps the bits below it.
    let kept = (1u64 << by.trailing_zeros()) - 1;
    let bits = Bits { value: a.bits.value & kept, unknown: a.bits.unknown & kept | !kept };
    below.intersect(&Num::of_bits(bits)).unwrap_or(below)
}

/// `a / b`, signed.
pub(super) fn signed_div(a: Num, b: Num) -> Num {
    if a.smin >= 0 && b.smin >= 0 {
        return div(a, b);
    }
    if let Some(by) = b.as_constant().map(u64::cast_signed)
        && by != 0
        && (by != -1 || a.smin != i64::MIN)
    {
        let (x, y) = (a.smin.wrapping_div(by), a.smax.wrapping_div(by));
        return Num::signed(x.min(y), x.max(y));
    }
    if a.smin == i64::MIN && b.smin <= -1 && b.smax >= -1 {
        return Num::UNKNOWN;
    }
    // Dividing never makes a number larger; -1 only turns it round.
    let most = a.smin.unsigned_abs().max(a.smax.unsigned_abs());
    match i64::try_from(most) {
        Ok(most) => Num::signed(-most, most),
        Err(_) => Num::UNKNOWN,
    }
}

/// `a % b`, with the sign of `a`.
pub(super) fn signed_rem(a: Num, b: Num) -> Num {
    if a.smin >= 0 && b.smin >= 0 {
        return rem(a, b);
    }
    let (mut low, mut high) = (a.smin.min(0), a.smax.max(0));
    let maybe_zero = b.smin <= 0 && b.smax >= 0;
    if !maybe_zero {
        // Nearer to zero than the divisor.
        let most = b.smin.unsigned_abs().max(b.smax.unsigned_abs()) - 1;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        (low, high) = (low.max(-most), high.min(most));
        let least = b.smin.unsigned_abs().min(b.smax.unsigned_abs());
        if a.smin.unsigned_abs().max(a.smax.unsigned_abs()) < least {
            return a;
        }
    }
    Num::signed(low, high)
}
