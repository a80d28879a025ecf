//! The structural rules that bytes and hand-made instructions must keep alike.
//!
//! Each function is one rule over one instruction, in the order in which
//! [`crate::Program`] applies them.

use crate::error::DecodeError;
use crate::insn::{AtomicOp, CallTarget, Imm64, Insn, Reg, Size, Width};

/// Not empty and not beyond the limit.
pub(crate) fn length(slots: usize, limit: usize) -> Result<(), DecodeError> {
    match slots {
        0 => Err(DecodeError::Empty),
        _ if slots > limit => Err(DecodeError::TooLong { slots, limit }),
        _ => Ok(()),
    }
}

/// All rules for one slot; false behind the last one.
pub(crate) fn slot(pc: u32, insns: &[Insn]) -> Result<bool, DecodeError> {
    let Some(insn) = insns.get(pc as usize) else { return Ok(false) };
    shape(pc, insn)?;
    registers(pc, insn)?;
    pairing(pc, insns)?;
    targets(pc, insn, insns)?;
    Ok(true)
}

/// The combination of operands exists in RFC 9669.
pub(crate) fn shape(pc: u32, insn: &Insn) -> Result<(), DecodeError> {
    let exists = match *insn {
        Insn::MovSx { width, from, .. } => match width {
            Width::W32 => from <= Size::B2,
            Width::W64 => from <= Size::B4,
        },
        Insn::Endian { bits, .. } => matches!(bits, 16 | 32 | 64),
        Insn::LoadImm64 { imm: Imm64::Other { kind, hi, .. }, .. } => {
            matches!(kind, 3..=6) && (hi == 0 || kind == 6)
        }
        Insn::Load { size, signed, .. } => !(signed && size == Size::B8),
        Insn::Atomic { size, op, fetch, .. } => {
            size >= Size::B4 && (fetch || !matches!(op, AtomicOp::Xchg | AtomicOp::Cmpxchg))
        }
        _ => true,
    };
    if exists { Ok(()) } else { Err(DecodeError::NotEncodable { pc }) }
}

/// `r10` is not written.
pub(crate) fn registers(pc: u32, insn: &Insn) -> Result<(), DecodeError> {
    match insn.written() {
        Some(Reg::R10) => Err(DecodeError::FramePointerWritten { pc }),
        _ => Ok(()),
    }
}

/// A 64-bit immediate load and its second slot stand together, and only together.
pub(crate) fn pairing(pc: u32, insns: &[Insn]) -> Result<(), DecodeError> {
    let is_high = |at: Option<&Insn>| matches!(at, Some(Insn::LoadImm64High));
    let is_low = |at: Option<&Insn>| matches!(at, Some(Insn::LoadImm64 { .. }));
    let here = pc as usize;
    if is_low(insns.get(here)) && !is_high(insns.get(here + 1)) {
        return Err(DecodeError::NoSecondSlot { pc });
    }
    let before = here.checked_sub(1).and_then(|at| insns.get(at));
    if is_high(insns.get(here)) && !is_low(before) {
        return Err(DecodeError::StraySecondSlot { pc });
    }
    Ok(())
}

/// Jumps and local calls stay inside the program, go to whole instructions, and can be encoded.
pub(crate) fn targets(pc: u32, insn: &Insn, insns: &[Insn]) -> Result<(), DecodeError> {
    let target = match *insn {
        Insn::Call { target: CallTarget::Local(target) } => target,
        _ => match insn.jump_target() {
            Some(target) => target,
            None => return Ok(()),
        },
    };
    match insns.get(target as usize) {
        None => return Err(DecodeError::TargetOutside { pc, target: i64::from(target) }),
        Some(Insn::LoadImm64High) => return Err(DecodeError::TargetInsideImm64 { pc, target }),
        Some(_) => {}
    }
    let is_branch = matches!(insn, Insn::Branch { .. });
    if is_branch && i16::try_from(distance(pc, target)).is_err() {
        return Err(DecodeError::BranchTooFar { pc, target });
    }
    Ok(())
}

/// The last slot does not go on to the next.
pub(crate) fn ending(insns: &[Insn]) -> Result<(), DecodeError> {
    match insns.last() {
        Some(insn) if insn.falls_through() => {
            Err(DecodeError::FallsOffEnd { pc: insns.len() as u32 - 1 })
        }
        _ => Ok(()),
    }
}

/// What an offset field holds to go from the instruction at `pc` to `target`: both are counted
/// from the slot after `pc` (RFC 9669 §4.3).
pub(crate) fn distance(pc: u32, target: u32) -> i64 {
    i64::from(target) - i64::from(pc) - 1
}
