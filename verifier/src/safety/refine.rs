//! What a comparison of two numbers teaches about them.
//!
//! A 32-bit comparison says something about whole registers only where their upper halves are
//! known to be 0; otherwise it teaches nothing, in particular not about the low half as if it were
//! the whole.

use ebpf::interp::arith;
use ebpf::{Cond, Width};

use super::bits::Bits;
use super::scalar::Scalar;

/// Both operands on the branch where `a cond b` is `holds`; `None` if nothing can go there.
pub(super) fn branch(
    width: Width,
    cond: Cond,
    holds: bool,
    a: Scalar,
    b: Scalar,
) -> Option<(Scalar, Scalar)> {
    if let (Some(left), Some(right)) = (a.as_constant(), b.as_constant()) {
        return (arith::holds(width, cond, left, right) == holds).then_some((a, b));
    }
    if width == Width::W32 && !comparable(cond, &a, &b) {
        return low_bits(cond, holds, a, b);
    }
    match width {
        Width::W64 => compare(cond, holds, a, b),
        Width::W32 => {
            let (a, low) = compare(cond, holds, a, b.low32())?;
            // What the low half may be says nothing about a whole that is wider.
            Some((a, if b.fits32() { low } else { b }))
        }
    }
}

/// Whether a 32-bit comparison is the 64-bit comparison of these.
fn comparable(cond: Cond, a: &Scalar, b: &Scalar) -> bool {
    let positive = |number: &Scalar| number.umax <= i32::MAX as u64;
    let b = b.low32();
    match cond {
        Cond::Sgt | Cond::Sge | Cond::Slt | Cond::Sle => positive(a) && positive(&b),
        _ => a.fits32() && b.fits32(),
    }
}

/// A 32-bit test of bits speaks of the low half alone and can be kept.
fn low_bits(cond: Cond, holds: bool, a: Scalar, b: Scalar) -> Option<(Scalar, Scalar)> {
    match (cond, b.as_constant()) {
        (Cond::Set, Some(mask)) => Some((test(holds, a, mask & u64::from(u32::MAX))?, b)),
        _ => Some((a, b)),
    }
}

fn compare(cond: Cond, holds: bool, a: Scalar, b: Scalar) -> Option<(Scalar, Scalar)> {
    match (cond, holds) {
        (Cond::Eq, true) | (Cond::Ne, false) => Some((a.intersect(b)?, b.intersect(a)?)),
        (Cond::Ne, true) | (Cond::Eq, false) => Some((without(a, b)?, without(b, a)?)),
        (Cond::Gt, true) | (Cond::Le, false) => below(b, a, 1).map(swap),
        (Cond::Ge, true) | (Cond::Lt, false) => below(b, a, 0).map(swap),
        (Cond::Lt, true) | (Cond::Ge, false) => below(a, b, 1),
        (Cond::Le, true) | (Cond::Gt, false) => below(a, b, 0),
        (Cond::Sgt, true) | (Cond::Sle, false) => below_signed(b, a, 1).map(swap),
        (Cond::Sge, true) | (Cond::Slt, false) => below_signed(b, a, 0).map(swap),
        (Cond::Slt, true) | (Cond::Sge, false) => below_signed(a, b, 1),
        (Cond::Sle, true) | (Cond::Sgt, false) => below_signed(a, b, 0),
        (Cond::Set, holds) => match b.as_constant() {
            Some(mask) => Some((test(holds, a, mask)?, b)),
            None => Some((a, b)),
        },
    }
}

fn swap((a, b): (Scalar, Scalar)) -> (Scalar, Scalar) {
    (b, a)
}

/// `a + gap <= b`, unsigned, without wrapping.
fn below(a: Scalar, b: Scalar, gap: u64) -> Option<(Scalar, Scalar)> {
    let umax = a.umax.min(b.umax.checked_sub(gap)?);
    let umin = b.umin.max(a.umin.checked_add(gap)?);
    Some((Scalar { umax, ..a }.settle()?, Scalar { umin, ..b }.settle()?))
}

/// `a + gap <= b`, signed, without wrapping.
fn below_signed(a: Scalar, b: Scalar, gap: i64) -> Option<(Scalar, Scalar)> {
    let smax = a.smax.min(b.smax.checked_sub(gap)?);
    let smin = b.smin.max(a.smin.checked_add(gap)?);
    Some((Scalar { smax, ..a }.settle()?, Scalar { smin, ..b }.settle()?))
}

/// `a` without the only value of `b`, where that is at one of its ends.
fn without(a: Scalar, b: Scalar) -> Option<Scalar> {
    let Some(value) = b.as_constant() else { return Some(a) };
    let mut a = a;
    if a.as_constant() == Some(value) {
        return None;
    }
    // Not both ends are the value, so neither step can wrap.
    if a.umin == value {
        a.umin += 1;
    } else if a.umax == value {
        a.umax -= 1;
    }
    if a.smin == a.smax {
        return a.settle();
    }
    if a.smin == value.cast_signed() {
        a.smin += 1;
    } else if a.smax == value.cast_signed() {
        a.smax -= 1;
    }
    a.settle()
}

/// `a & mask != 0` is `holds`.
fn test(holds: bool, a: Scalar, mask: u64) -> Option<Scalar> {
    if !holds {
        let zeros = Bits { value: 0, unknown: !mask };
        return Scalar { bits: a.bits.intersect(zeros)?, ..a }.settle();
    }
    if a.bits.max() & mask == 0 {
        return None;
    }
    if mask.is_power_of_two() {
        let one = Bits { value: mask, unknown: !mask };
        return Scalar { bits: a.bits.intersect(one)?, ..a }.settle();
    }
    Some(a)
}
