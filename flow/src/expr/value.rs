//! Tests on bytes: `ip[6:2] & 0x1fff == 0`, `ether[36] in 0x00-0x13`.

use alloc::vec::Vec;

use super::ExprError;
use super::cursor::Cursor;
use super::test::{Header, Test, Value};
use crate::byteset::ByteSet;
use crate::cell::{Base, Cell, HeaderBase};
use crate::field::Field;
use crate::limits::FRAME_MAX;

const OFFSET: &str = "an offset in bytes, less than 1522";
const RELATION: &str = "`==`, `!=`, `<`, `<=`, `>`, `>=` or `in`";

/// Offsets and values that pcap-filter(7) has names for.
const NAMES: [(&str, u32); 12] = [
    ("icmptype", 0),
    ("icmpcode", 1),
    ("tcpflags", 13),
    ("icmp-echoreply", 0),
    ("icmp-echo", 8),
    ("tcp-fin", 0x01),
    ("tcp-syn", 0x02),
    ("tcp-rst", 0x04),
    ("tcp-push", 0x08),
    ("tcp-ack", 0x10),
    ("tcp-urg", 0x20),
    ("icmp-unreach", 3),
];

/// `[offset:width] { & mask } relation value`, the header's name having been read.
pub(super) fn accessor(cursor: &mut Cursor<'_>, header: Header) -> Result<Test, ExprError> {
    let before = cursor.clone();
    cursor.expect_symbol("[", "`[`")?;
    let offset = number(cursor, u32::from(FRAME_MAX) - 1, OFFSET)? as u16;
    if header == Header::Ether && cursor.take_symbol("+") {
        return behind_header(cursor, offset);
    }
    let mut width = 1;
    if cursor.take_symbol(":") {
        width = number(cursor, 4, "a width of 1, 2 or 4 bytes")? as u8;
        if !matches!(width, 1 | 2 | 4) {
            return before.fail("a width of 1, 2 or 4 bytes");
        }
    }
    cursor.expect_symbol("]", "`]`")?;
    let field = Field::frame(offset, width);
    let max = (u64::MAX >> (64 - 8 * u32::from(width))) as u32;
    let mask = masks(cursor, max)?;
    let ranges = ranges(cursor, max)?;
    Ok(Test::Bytes(cursor.link, header, Value { field, mask, ranges }))
}

/// `& mask`, any number of times.
fn masks(cursor: &mut Cursor<'_>, max: u32) -> Result<u32, ExprError> {
    let mut mask = max;
    while cursor.peek_symbol("&") && !cursor.peek_symbol("&&") {
        cursor.take_symbol("&");
        mask &= number(cursor, u32::MAX, "a mask")?;
    }
    Ok(mask)
}

/// One relation whose meaning is one range.
pub(super) fn single_range(cursor: &mut Cursor<'_>, max: u32) -> Result<(u32, u32), ExprError> {
    let before = cursor.clone();
    match ranges(cursor, max)?.as_slice() {
        // Nothing: a range that no length is in.
        [] => Ok((max, 0)),
        &[range] => Ok(range),
        _ => before.fail("`==`, `<`, `<=`, `>` or `>=`"),
    }
}

/// `ether[add + ((ether[at] & mask) << shift)]` (or `>>`), from behind the `+`.
fn behind_header(cursor: &mut Cursor<'_>, add: u16) -> Result<Test, ExprError> {
    const FORM: &str = "`((ether[at] & mask) << shift)]`";
    cursor.expect_symbol("(", FORM)?;
    cursor.expect_symbol("(", FORM)?;
    if !cursor.take_word("ether") {
        return cursor.fail(FORM);
    }
    cursor.expect_symbol("[", FORM)?;
    let at = number(cursor, u32::from(FRAME_MAX) - 1, OFFSET)? as u16;
    cursor.expect_symbol("]", FORM)?;
    cursor.expect_symbol("&", FORM)?;
    let mask = number(cursor, 255, "a mask, at most 255")? as u8;
    cursor.expect_symbol(")", FORM)?;
    let right = cursor.take_symbol(">>");
    if !right {
        cursor.expect_symbol("<<", FORM)?;
    }
    let shift = number(cursor, 127, "a shift, at most 127")? as i8;
    let shift = if right { -shift } else { shift };
    cursor.expect_symbol(")", FORM)?;
    cursor.expect_symbol("]", FORM)?;
    let value_mask = masks(cursor, 255)?;
    let ranges = ranges(cursor, 255)?;
    let is_in = |value: u32| ranges.iter().any(|&(low, high)| low <= value && value <= high);
    let set = ByteSet::from_fn(|byte| is_in(u32::from(byte) & value_mask));
    let base = Base::Header(HeaderBase { at, mask, shift, add });
    Ok(Test::Byte(Cell { base, offset: 0 }, set))
}

/// `relation value`, as the ranges it leaves of 0..=max.
fn ranges(cursor: &mut Cursor<'_>, max: u32) -> Result<Vec<(u32, u32)>, ExprError> {
    const VALUE: &str = "a number";
    if cursor.take_word("in") {
        return list(cursor);
    }
    let symbols = ["==", "=", "!=", "<=", ">=", "<", ">"];
    let Some(&symbol) = symbols.iter().find(|symbol| cursor.take_symbol(symbol)) else {
        return cursor.fail(RELATION);
    };
    let value = number(cursor, u32::MAX, VALUE)?;
    let (above, below) = (value.checked_add(1), value.checked_sub(1));
    let ends = match symbol {
        "!=" => [below.map(|below| (0, below)), above.map(|above| (above, max))],
        "<" => [below.map(|below| (0, below)), None],
        "<=" => [Some((0, value)), None],
        ">" => [above.map(|above| (above, max)), None],
        ">=" => [Some((value, max)), None],
        _ => [Some((value, value)), None],
    };
    let real = |&(low, high): &(u32, u32)| low <= high && low <= max;
    Ok(ends.into_iter().flatten().filter(real).collect())
}

/// `low-high,value,..`
fn list(cursor: &mut Cursor<'_>) -> Result<Vec<(u32, u32)>, ExprError> {
    const VALUE: &str = "a number or a range";
    let mut all = Vec::new();
    loop {
        let low = number(cursor, u32::MAX, VALUE)?;
        let is_range = cursor.take_symbol("-");
        let high = if is_range { number(cursor, u32::MAX, "the range's end")? } else { low };
        all.push((low, high));
        if !cursor.take_symbol(",") {
            return Ok(all);
        }
    }
}

/// A number, or a name for one.
fn number(cursor: &mut Cursor<'_>, max: u32, expected: &'static str) -> Result<u32, ExprError> {
    let word = cursor.word();
    match NAMES.iter().find(|(name, value)| *name == word && *value <= max) {
        Some(&(name, value)) => {
            cursor.take_word(name);
            Ok(value)
        }
        None => Ok(cursor.number(max.into(), expected)? as u32),
    }
}
