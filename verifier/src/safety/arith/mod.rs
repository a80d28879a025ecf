//! Arithmetic on what is known of numbers.
//!
//! One function for each operation of RFC 9669 §4.1 and §4.2, pure and on values only. Each
//! answers for 64-bit operands; 32-bit operations cut both operands to 32 bits first and the result
//! afterwards, so a function need only be right for the numbers that it is given. Where a function
//! knows nothing better it answers [`Num::UNKNOWN`].

mod bitwise;
mod divide;
mod linear;

use ebpf::interp::arith;
use ebpf::{AluOp, ByteOrder, Size, Width};

use super::number::Num;

/// What `a op b` can be.
pub(crate) fn alu(width: Width, op: AluOp, a: Num, b: Num) -> Num {
    if let (Some(left), Some(right)) = (a.as_constant(), b.as_constant()) {
        return Num::constant(arith::alu(width, op, left, right));
    }
    match width {
        Width::W64 => operation(op, a, b, 64),
        Width::W32 => {
            let signed = matches!(op, AluOp::Sdiv | AluOp::Smod | AluOp::Arsh);
            let left = if signed { a.sext32() } else { a.low32() };
            // A shift count has no sign.
            let right = if signed && op != AluOp::Arsh { b.sext32() } else { b.low32() };
            operation(op, left, right, 32).low32()
        }
    }
}

fn operation(op: AluOp, a: Num, b: Num, width: u32) -> Num {
    match op {
        AluOp::Add => linear::add(a, b),
        AluOp::Sub => linear::sub(a, b),
        AluOp::Mul => linear::mul(a, b),
        AluOp::Div => divide::div(a, b),
        AluOp::Mod => divide::rem(a, b),
        AluOp::Sdiv => divide::signed_div(a, b),
        AluOp::Smod => divide::signed_rem(a, b),
        AluOp::And => bitwise::and(a, b),
        AluOp::Or => bitwise::or(a, b),
        AluOp::Xor => bitwise::xor(a, b),
        AluOp::Lsh => bitwise::shift(a, b, width, bitwise::left),
        AluOp::Rsh => bitwise::shift(a, b, width, bitwise::right),
        AluOp::Arsh => bitwise::shift(a, b, width, bitwise::signed),
        AluOp::Mov => b,
    }
}

/// What `-a` can be.
pub(crate) fn neg(width: Width, a: Num) -> Num {
    alu(width, AluOp::Sub, Num::constant(0), a)
}

/// What the low `from` of `a`, sign-extended, can be.
pub(crate) fn sign_extend(width: Width, from: Size, a: Num) -> Num {
    if let Some(value) = a.as_constant() {
        return Num::constant(arith::sign_extend(width, from, value));
    }
    let wide = match from {
        Size::B8 => a,
        Size::B4 => a.sext32(),
        Size::B1 | Size::B2 => {
            let half = 1i64 << (from.bits() - 1);
            if a.smin >= -half && a.smax < half {
                a
            } else {
                let any = Num::signed(-half, half - 1);
                let bits = a.bits.sign_extend(from.bits());
                any.intersect(&Num::of_bits(bits)).unwrap_or(any)
            }
        }
    };
    match width {
        Width::W32 => wide.low32(),
        Width::W64 => wide,
    }
}

/// What a byte swap of `a` can be.
pub(crate) fn endian(order: ByteOrder, bits: u8, a: Num) -> Num {
    let below = match bits {
        16 => a.umax <= u64::from(u16::MAX),
        32 => a.fits32(),
        _ => true,
    };
    if order == ByteOrder::Le && below {
        return a;
    }
    if order == ByteOrder::Le && bits == 32 {
        return a.low32();
    }
    // Both parts of the known bits are moved as numbers are.
    Num::of_bits(a.bits.map(|part| arith::endian(order, bits, part)))
}

/// What a load of `size` bytes can give.
pub(crate) fn loaded(size: Size, signed: bool) -> Num {
    let any = match size {
        Size::B8 => Num::UNKNOWN,
        _ => Num::unsigned(0, (1 << size.bits()) - 1),
    };
    if signed { sign_extend(Width::W64, size, any) } else { any }
}

#[cfg(test)]
mod tests;
