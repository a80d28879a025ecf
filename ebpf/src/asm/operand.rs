//! Operands: registers, numbers, addresses, jump targets.
//!
//! Each function takes one operand without surrounding blanks. A number that does not fit its
//! field, or that the field would change the meaning of, is an error, never truncated.

use alloc::string::{String, ToString};

use super::error::Reason;
use crate::insn::{Operand, Reg};

/// Where a jump in the text goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// To a label.
    Label(String),
    /// So many slots from the next one: `+3`, `-2`.
    Distance(i64),
}

/// A register: `%r3` or `r3`.
pub(super) fn register(text: &str) -> Result<Reg, Reason> {
    maybe_register(text).ok_or_else(|| wrong("a register (%r0 to %r10)", text))
}

fn maybe_register(text: &str) -> Option<Reg> {
    let digits = text.strip_prefix('%').unwrap_or(text).strip_prefix('r')?;
    let plain = digits == "0" || !digits.starts_with(['0', '+']);
    digits.parse().ok().filter(|_| plain).and_then(Reg::new)
}

/// A register, or a number of 32 bits.
pub(super) fn source(text: &str) -> Result<Operand, Reason> {
    match maybe_register(text) {
        Some(reg) => Ok(Operand::Reg(reg)),
        None if text.starts_with('%') => register(text).map(Operand::Reg),
        None => imm32(text).map(Operand::Imm),
    }
}

/// A signed number of 32 bits (`-1`), or their pattern in hexadecimal (`0xffffffff`). A decimal
/// number that sign extension would change is refused.
pub(super) fn imm32(text: &str) -> Result<i32, Reason> {
    let number = number(text)?;
    let pattern =
        u32::try_from(number).ok().filter(|_| text.starts_with("0x") || text.starts_with("0X"));
    i32::try_from(number).ok().or(pattern.map(u32::cast_signed)).ok_or_else(|| range(text, 32))
}

/// A number of 32 bits without sign.
pub(super) fn unsigned32(text: &str) -> Result<u32, Reason> {
    u32::try_from(number(text)?).map_err(|_| range(text, 32))
}

/// A number of 64 bits, signed or not.
pub(super) fn imm64(text: &str) -> Result<u64, Reason> {
    let number = number(text)?;
    u64::try_from(number)
        .or_else(|_| i64::try_from(number).map(i64::cast_unsigned))
        .map_err(|_| range(text, 64))
}

/// An address: `[%r1]`, `[%r1+4]`, `[%r10 - 8]`.
pub(super) fn address(text: &str) -> Result<(Reg, i16), Reason> {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let inner = inner.ok_or_else(|| wrong("an address ([%r1+4])", text))?;
    let Some(sign) = inner.find(['+', '-']) else {
        return Ok((register(inner.trim())?, 0));
    };
    let (base, offset) = inner.split_at(sign);
    Ok((register(base.trim())?, distance16(offset.trim_end())?))
}

fn distance16(text: &str) -> Result<i16, Reason> {
    i16::try_from(signed(text)?).map_err(|_| range(text, 16))
}

/// A jump's goal: a label or a signed distance.
pub(super) fn goal(text: &str) -> Result<Goal, Reason> {
    if text.starts_with(['+', '-']) {
        let distance = signed(text)?;
        return i64::try_from(distance).map(Goal::Distance).map_err(|_| range(text, 32));
    }
    if is_label(text) { Ok(Goal::Label(text.to_string())) } else { Err(wrong("a label", text)) }
}

/// Whether a word can be a label: letters, digits, `_` and `.`, not a digit first.
pub(super) fn is_label(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    !text.is_empty() && text.chars().all(word) && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// A sign, perhaps spaces, a number.
fn signed(text: &str) -> Result<i128, Reason> {
    match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(rest), _) => magnitude(rest.trim_start(), text),
        (_, Some(rest)) => magnitude(rest.trim_start(), text).map(|number| -number),
        _ => magnitude(text, text),
    }
}

fn number(text: &str) -> Result<i128, Reason> {
    match text.strip_prefix('-') {
        Some(rest) => magnitude(rest, text).map(|number| -number),
        None => magnitude(text, text),
    }
}

/// A number without sign, decimal or hexadecimal; `whole` is what an error shows.
fn magnitude(text: &str, whole: &str) -> Result<i128, Reason> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = hex.map_or((text, 10), |digits| (digits, 16));
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(wrong("a number", whole));
    }
    u64::from_str_radix(digits, radix).map(i128::from).map_err(|_| range(whole, 64))
}

/// An operand of the wrong sort.
pub(super) fn wrong(expected: &'static str, found: &str) -> Reason {
    Reason::Operand { expected, found: found.to_string() }
}

fn range(found: &str, bits: u32) -> Reason {
    Reason::Range { found: found.to_string(), bits }
}
