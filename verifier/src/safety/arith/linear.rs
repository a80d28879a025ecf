//! Addition, subtraction, multiplication.

use super::super::bits::Bits;
use super::super::number::Num;

/// `a + b`. A range of sums that wraps at both ends wraps throughout.
pub(super) fn add(a: Num, b: Num) -> Num {
    let mut sum = Num { bits: a.bits.add(b.bits), ..Num::UNKNOWN };
    let (low, high) = (a.umin.overflowing_add(b.umin), a.umax.overflowing_add(b.umax));
    if low.1 == high.1 {
        (sum.umin, sum.umax) = (low.0, high.0);
    }
    if let (Some(low), Some(high)) = (a.smin.checked_add(b.smin), a.smax.checked_add(b.smax)) {
        (sum.smin, sum.smax) = (low, high);
    }
    let (low, high) = (a.low.0.overflowing_add(b.low.0), a.low.1.overflowing_add(b.low.1));
    if low.1 == high.1 {
        sum.low = (low.0, high.0);
    }
    let (low, high) = (a.slow.0.checked_add(b.slow.0), a.slow.1.checked_add(b.slow.1));
    if let (Some(low), Some(high)) = (low, high) {
        sum.slow = (low, high);
    }
    sum.settled()
}

/// `a - b`, likewise.
pub(super) fn sub(a: Num, b: Num) -> Num {
    let mut rest = Num { bits: a.bits.sub(b.bits), ..Num::UNKNOWN };
    let (low, high) = (a.umin.overflowing_sub(b.umax), a.umax.overflowing_sub(b.umin));
    if low.1 == high.1 {
        (rest.umin, rest.umax) = (low.0, high.0);
    }
    if let (Some(low), Some(high)) = (a.smin.checked_sub(b.smax), a.smax.checked_sub(b.smin)) {
        (rest.smin, rest.smax) = (low, high);
    }
    let (low, high) = (a.low.0.overflowing_sub(b.low.1), a.low.1.overflowing_sub(b.low.0));
    if low.1 == high.1 {
        rest.low = (low.0, high.0);
    }
    let (low, high) = (a.slow.0.checked_sub(b.slow.1), a.slow.1.checked_sub(b.slow.0));
    if let (Some(low), Some(high)) = (low, high) {
        rest.slow = (low, high);
    }
    rest.settled()
}

/// `a * b`. The greatest and least products are at the corners.
pub(super) fn mul(a: Num, b: Num) -> Num {
    // The loop of the product of known bits ends with the shorter operand.
    let bits = if a.umax <= b.umax { a.bits.mul(b.bits) } else { b.bits.mul(a.bits) };
    let mut product = Num { bits: zeros(a, b).intersect(bits).unwrap_or(bits), ..Num::UNKNOWN };
    if let Some(high) = a.umax.checked_mul(b.umax) {
        (product.umin, product.umax) = (a.umin * b.umin, high);
    }
    let corner = |x: i64, y: i64| x.checked_mul(y);
    let corners = [
        corner(a.smin, b.smin),
        corner(a.smin, b.smax),
        corner(a.smax, b.smin),
        corner(a.smax, b.smax),
    ];
    if let [Some(p), Some(q), Some(r), Some(s)] = corners {
        (product.smin, product.smax) = (p.min(q).min(r).min(s), p.max(q).max(r).max(s));
    }
    product.settled()
}

/// The product has the zeros at the end of both.
fn zeros(a: Num, b: Num) -> Bits {
    let zeros = a.bits.max().trailing_zeros() + b.bits.max().trailing_zeros();
    let unknown = u64::MAX.checked_shl(zeros).unwrap_or(0);
    Bits { value: 0, unknown }
}
