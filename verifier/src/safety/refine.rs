//! What a comparison of two numbers teaches about them: pure, on values only.
//!
//! A 32-bit comparison is a comparison of the low halves, zero- or sign-extended; what it teaches
//! goes into what is known of the low half, never into the whole as if it were the whole.

use ebpf::interp::arith;
use ebpf::{Cond, Width};

use super::bits::Bits;
use super::number::Num;

/// Both operands on the branch where `a cond b` is `holds`; `None` if nothing can go there.
pub(crate) fn branch(width: Width, cond: Cond, holds: bool, a: Num, b: Num) -> Option<(Num, Num)> {
    if let (Some(left), Some(right)) = (a.as_constant(), b.as_constant()) {
        return (arith::holds(width, cond, left, right) == holds).then_some((a, b));
    }
    if width == Width::W64 {
        return compare(cond, holds, a, b);
    }
    let signed = matches!(cond, Cond::Sgt | Cond::Sge | Cond::Slt | Cond::Sle);
    let cut = |number: Num| if signed { number.sext32() } else { number.low32() };
    let (left, right) = compare(cond, holds, cut(a), cut(b))?;
    Some((a.with_low(&left)?, b.with_low(&right)?))
}

fn compare(cond: Cond, holds: bool, a: Num, b: Num) -> Option<(Num, Num)> {
    match (cond, holds) {
        (Cond::Eq, true) | (Cond::Ne, false) => {
            let both = a.intersect(&b)?;
            Some((both, both))
        }
        (Cond::Ne, true) | (Cond::Eq, false) => Some((without(a, b)?, without(b, a)?)),
        (Cond::Gt, true) | (Cond::Le, false) => below(b, a, 1).map(swap),
        (Cond::Ge, true) | (Cond::Lt, false) => below(b, a, 0).map(swap),
        (Cond::Lt, true) | (Cond::Ge, false) => below(a, b, 1),
        (Cond::Le, true) | (Cond::Gt, false) => below(a, b, 0),
        (Cond::Sgt, true) | (Cond::Sle, false) => below_signed(b, a, 1).map(swap),
        (Cond::Sge, true) | (Cond::Slt, false) => below_signed(b, a, 0).map(swap),
        (Cond::Slt, true) | (Cond::Sge, false) => below_signed(a, b, 1),
        (Cond::Sle, true) | (Cond::Sgt, false) => below_signed(a, b, 0),
        (Cond::Set, true) => Some((meets(a, b)?, meets(b, a)?)),
        (Cond::Set, false) => Some((misses(a, b)?, misses(b, a)?)),
    }
}

fn swap((a, b): (Num, Num)) -> (Num, Num) {
    (b, a)
}

/// `a + gap <= b`, unsigned, without wrapping.
fn below(a: Num, b: Num, gap: u64) -> Option<(Num, Num)> {
    let umax = a.umax.min(b.umax.checked_sub(gap)?);
    let umin = b.umin.max(a.umin.checked_add(gap)?);
    Some((Num { umax, ..a }.settle()?, Num { umin, ..b }.settle()?))
}

/// `a + gap <= b`, signed, without wrapping.
fn below_signed(a: Num, b: Num, gap: i64) -> Option<(Num, Num)> {
    let smax = a.smax.min(b.smax.checked_sub(gap)?);
    let smin = b.smin.max(a.smin.checked_add(gap)?);
    Some((Num { smax, ..a }.settle()?, Num { smin, ..b }.settle()?))
}

/// `a` without the only value of `b`, where that is at one of its ends.
fn without(a: Num, b: Num) -> Option<Num> {
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
    let signed = value.cast_signed();
    if a.smin < a.smax && a.smin == signed {
        a.smin += 1;
    } else if a.smin < a.smax && a.smax == signed {
        a.smax -= 1;
    }
    a.settle()
}

/// `a & b != 0`, as far as it says something of `a`.
fn meets(a: Num, b: Num) -> Option<Num> {
    let common = a.bits.max() & b.bits.max();
    if common == 0 {
        return None;
    }
    let mut a = a;
    if common.is_power_of_two() {
        a.bits = a.bits.intersect(Bits { value: common, unknown: !common })?;
    }
    a.settle()
}

/// `a & b == 0`, likewise.
fn misses(a: Num, b: Num) -> Option<Num> {
    let zeros = Bits { value: 0, unknown: !b.bits.value };
    Num { bits: a.bits.intersect(zeros)?, ..a }.settle()
}
