//! Arithmetic on what is known of numbers.
//!
//! One function for each operation of RFC 9669 §4.1 and §4.2. Each answers for 64-bit operands;
//! 32-bit operations cut both operands to 32 bits first and the result afterwards, so a function
//! need only be right for the numbers that it is given. Where a function knows nothing better it
//! answers [`Scalar::UNKNOWN`].

use ebpf::interp::arith;
use ebpf::{AluOp, ByteOrder, Size, Width};

use super::bits::Bits;
use super::scalar::Scalar;

/// What `a op b` can be.
pub(super) fn alu(width: Width, op: AluOp, a: Scalar, b: Scalar) -> Scalar {
    let (a, b) = match width {
        Width::W32 => (a.low32(), b.low32()),
        Width::W64 => (a, b),
    };
    if let (Some(left), Some(right)) = (a.as_constant(), b.as_constant()) {
        return Scalar::constant(arith::alu(width, op, left, right));
    }
    if op == AluOp::Mov {
        return b;
    }
    let count = b.as_constant().map(|count| shift_count(width, count));
    let result = match op {
        AluOp::Add => add(a, b),
        AluOp::Sub => sub(a, b),
        AluOp::Mul => mul(a, b),
        AluOp::Div => div(a, b),
        AluOp::Mod => rem(a, b),
        AluOp::Sdiv | AluOp::Smod => Scalar::UNKNOWN,
        AluOp::And => and(a, b),
        AluOp::Or => or(a, b),
        AluOp::Xor => Scalar::of_bits(a.bits.xor(b.bits)),
        AluOp::Lsh => count.map_or(Scalar::UNKNOWN, |count| shift_left(a, count)),
        AluOp::Rsh => count.map_or(Scalar::unsigned(0, a.umax), |count| shift_right(a, count)),
        AluOp::Arsh => count.map_or(Scalar::UNKNOWN, |count| shift_signed(width, a, count)),
        AluOp::Mov => b,
    };
    cut(width, result.anonymous())
}

/// What `-a` can be.
pub(super) fn neg(width: Width, a: Scalar) -> Scalar {
    alu(width, AluOp::Sub, Scalar::constant(0), a)
}

/// What the low `from` of `a`, sign-extended, can be.
pub(super) fn sign_extend(width: Width, from: Size, a: Scalar) -> Scalar {
    if let Some(value) = a.as_constant() {
        return Scalar::constant(arith::sign_extend(width, from, value));
    }
    let half = 1i64 << (from.bits().min(63) - 1);
    if from != Size::B8 && a.umax < half.cast_unsigned() {
        return a;
    }
    let widest = match from {
        Size::B8 => Scalar::UNKNOWN,
        _ => Scalar::signed(-half, half - 1),
    };
    cut(width, widest)
}

/// What a byte swap of `a` can be.
pub(super) fn endian(order: ByteOrder, bits: u8, a: Scalar) -> Scalar {
    // Both parts of the known bits are moved as numbers are.
    let moved = Scalar::of_bits(a.bits.map(|part| arith::endian(order, bits, part)));
    let below = match bits {
        16 => a.umax <= u64::from(u16::MAX),
        32 => a.fits32(),
        _ => true,
    };
    if order == ByteOrder::Le && below { a } else { moved }
}

/// What a load of `size` bytes can give.
pub(super) fn loaded(size: Size, signed: bool) -> Scalar {
    let any = match size {
        Size::B8 => Scalar::UNKNOWN,
        _ => Scalar::unsigned(0, (1 << size.bits()) - 1),
    };
    if signed { sign_extend(Width::W64, size, any) } else { any }
}

fn cut(width: Width, result: Scalar) -> Scalar {
    match width {
        Width::W32 => result.low32(),
        Width::W64 => result,
    }
}

/// Shift counts are masked to the width.
const fn shift_count(width: Width, count: u64) -> u32 {
    match width {
        Width::W32 => (count & 31) as u32,
        Width::W64 => (count & 63) as u32,
    }
}

fn add(a: Scalar, b: Scalar) -> Scalar {
    let mut sum = Scalar { bits: a.bits.add(b.bits), ..Scalar::UNKNOWN };
    if let (Some(low), Some(high)) = (a.umin.checked_add(b.umin), a.umax.checked_add(b.umax)) {
        (sum.umin, sum.umax) = (low, high);
    }
    if let (Some(low), Some(high)) = (a.smin.checked_add(b.smin), a.smax.checked_add(b.smax)) {
        (sum.smin, sum.smax) = (low, high);
    }
    sum.settled()
}

fn sub(a: Scalar, b: Scalar) -> Scalar {
    let mut rest = Scalar { bits: a.bits.sub(b.bits), ..Scalar::UNKNOWN };
    if let (Some(low), Some(high)) = (a.umin.checked_sub(b.umax), a.umax.checked_sub(b.umin)) {
        (rest.umin, rest.umax) = (low, high);
    }
    if let (Some(low), Some(high)) = (a.smin.checked_sub(b.smax), a.smax.checked_sub(b.smin)) {
        (rest.smin, rest.smax) = (low, high);
    }
    rest.settled()
}

fn mul(a: Scalar, b: Scalar) -> Scalar {
    let zeros = (a.bits.max().trailing_zeros() + b.bits.max().trailing_zeros()).min(64);
    let low = if zeros == 64 { u64::MAX } else { (1 << zeros) - 1 };
    let bits = Bits { value: 0, unknown: !low };
    let mut product = Scalar { bits, ..Scalar::UNKNOWN };
    if let Some(high) = a.umax.checked_mul(b.umax) {
        (product.umin, product.umax) = (a.umin.saturating_mul(b.umin), high);
    }
    product.settled()
}

/// Division by zero gives 0.
fn div(a: Scalar, b: Scalar) -> Scalar {
    match (a.umin.checked_div(b.umax), a.umax.checked_div(b.umin)) {
        (Some(low), Some(high)) => Scalar::unsigned(low, high),
        _ => Scalar::unsigned(0, a.umax),
    }
}

/// The remainder of a division by zero is the dividend.
fn rem(a: Scalar, b: Scalar) -> Scalar {
    match b.umin.checked_sub(1) {
        Some(_) if a.umax < b.umin => a,
        Some(_) => Scalar::unsigned(0, a.umax.min(b.umax - 1)),
        None => Scalar::unsigned(0, a.umax),
    }
}

fn and(a: Scalar, b: Scalar) -> Scalar {
    let bits = a.bits.and(b.bits);
    Scalar { bits, umax: a.umax.min(b.umax), ..Scalar::UNKNOWN }.settled()
}

fn or(a: Scalar, b: Scalar) -> Scalar {
    let bits = a.bits.or(b.bits);
    Scalar { bits, umin: a.umin.max(b.umin), ..Scalar::UNKNOWN }.settled()
}

fn shift_left(a: Scalar, count: u32) -> Scalar {
    let mut shifted = Scalar { bits: a.bits.shift_left(count), ..Scalar::UNKNOWN };
    if a.umax.leading_zeros() >= count {
        (shifted.umin, shifted.umax) = (a.umin << count, a.umax << count);
    }
    shifted.settled()
}

fn shift_right(a: Scalar, count: u32) -> Scalar {
    let bits = a.bits.shift_right(count);
    Scalar { bits, umin: a.umin >> count, umax: a.umax >> count, ..Scalar::UNKNOWN }.settled()
}

fn shift_signed(width: Width, a: Scalar, count: u32) -> Scalar {
    let wide = match width {
        Width::W64 => a,
        Width::W32 => sign_extend(Width::W64, Size::B4, a),
    };
    Scalar::signed(wide.smin >> count, wide.smax >> count)
}

#[cfg(test)]
mod tests;
