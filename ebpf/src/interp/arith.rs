//! Arithmetic and comparisons of RFC 9669 §4.1 to §4.3 on plain numbers.
//!
//! Both widths are computed on values of their own width; 32-bit results are zero-extended by
//! whoever writes the register. Verifier and compiler tests may call these directly: they are
//! the definition.

use crate::insn::{AluOp, ByteOrder, Cond, Size, Width};

/// `dst op src` in the given width, zero-extended to 64 bits.
#[must_use]
pub fn alu(width: Width, op: AluOp, dst: u64, src: u64) -> u64 {
    match width {
        Width::W32 => u64::from(alu32(op, dst as u32, src as u32)),
        Width::W64 => alu64(op, dst, src),
    }
}

/// `-dst` in the given width, zero-extended to 64 bits.
#[must_use]
pub fn neg(width: Width, dst: u64) -> u64 {
    match width {
        Width::W32 => u64::from((dst as u32).wrapping_neg()),
        Width::W64 => dst.wrapping_neg(),
    }
}

/// The low `from` of `value`, sign-extended to the width and then zero-extended to 64 bits.
#[must_use]
pub fn sign_extend(width: Width, from: Size, value: u64) -> u64 {
    let unused = 64 - from.bits();
    let wide = ((value << unused).cast_signed() >> unused).cast_unsigned();
    match width {
        Width::W32 => wide & u64::from(u32::MAX),
        Width::W64 => wide,
    }
}

/// Byte swap of the low `bits` (16, 32 or 64), zero-extended, on a little-endian machine.
#[must_use]
pub fn endian(order: ByteOrder, bits: u8, value: u64) -> u64 {
    let swap = order != ByteOrder::Le;
    match (bits, swap) {
        (16, false) => u64::from(value as u16),
        (16, true) => u64::from((value as u16).swap_bytes()),
        (32, false) => u64::from(value as u32),
        (32, true) => u64::from((value as u32).swap_bytes()),
        (_, false) => value,
        (_, true) => value.swap_bytes(),
    }
}

/// Whether `dst cond src` in the given width.
#[must_use]
pub fn holds(width: Width, cond: Cond, dst: u64, src: u64) -> bool {
    let (dst, src) = match width {
        Width::W32 => (u64::from(dst as u32), u64::from(src as u32)),
        Width::W64 => (dst, src),
    };
    let (sdst, ssrc) = match width {
        Width::W32 => (i64::from(dst as u32 as i32), i64::from(src as u32 as i32)),
        Width::W64 => (dst.cast_signed(), src.cast_signed()),
    };
    match cond {
        Cond::Eq => dst == src,
        Cond::Ne => dst != src,
        Cond::Gt => dst > src,
        Cond::Ge => dst >= src,
        Cond::Lt => dst < src,
        Cond::Le => dst <= src,
        Cond::Set => dst & src != 0,
        Cond::Sgt => sdst > ssrc,
        Cond::Sge => sdst >= ssrc,
        Cond::Slt => sdst < ssrc,
        Cond::Sle => sdst <= ssrc,
    }
}

fn alu64(op: AluOp, dst: u64, src: u64) -> u64 {
    let (sdst, ssrc) = (dst.cast_signed(), src.cast_signed());
    match op {
        AluOp::Add => dst.wrapping_add(src),
        AluOp::Sub => dst.wrapping_sub(src),
        AluOp::Mul => dst.wrapping_mul(src),
        AluOp::Div => dst.checked_div(src).unwrap_or(0),
        AluOp::Sdiv if src == 0 => 0,
        AluOp::Sdiv => sdst.wrapping_div(ssrc).cast_unsigned(),
        AluOp::Mod => dst.checked_rem(src).unwrap_or(dst),
        AluOp::Smod if src == 0 => dst,
        AluOp::Smod => sdst.wrapping_rem(ssrc).cast_unsigned(),
        AluOp::Or => dst | src,
        AluOp::And => dst & src,
        AluOp::Xor => dst ^ src,
        AluOp::Lsh => dst.wrapping_shl(src as u32),
        AluOp::Rsh => dst.wrapping_shr(src as u32),
        AluOp::Arsh => sdst.wrapping_shr(src as u32).cast_unsigned(),
        AluOp::Mov => src,
    }
}

fn alu32(op: AluOp, dst: u32, src: u32) -> u32 {
    let (sdst, ssrc) = (dst.cast_signed(), src.cast_signed());
    match op {
        AluOp::Add => dst.wrapping_add(src),
        AluOp::Sub => dst.wrapping_sub(src),
        AluOp::Mul => dst.wrapping_mul(src),
        AluOp::Div => dst.checked_div(src).unwrap_or(0),
        AluOp::Sdiv if src == 0 => 0,
        AluOp::Sdiv => sdst.wrapping_div(ssrc).cast_unsigned(),
        AluOp::Mod => dst.checked_rem(src).unwrap_or(dst),
        AluOp::Smod if src == 0 => dst,
        AluOp::Smod => sdst.wrapping_rem(ssrc).cast_unsigned(),
        AluOp::Or => dst | src,
        AluOp::And => dst & src,
        AluOp::Xor => dst ^ src,
        AluOp::Lsh => dst.wrapping_shl(src),
        AluOp::Rsh => dst.wrapping_shr(src),
        AluOp::Arsh => sdst.wrapping_shr(src).cast_unsigned(),
        AluOp::Mov => src,
    }
}
