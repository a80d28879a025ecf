//! Conditions on the frame's length.
//!
//! What a program compares is `(length - base + plus) mod 2^width`, and what it asks of it is a
//! range. The distances from the base to the end that any frame can have are few; the runs of them
//! that satisfy the condition become rules. Behind a header the base moves: "long enough" is the
//! existence of one byte, everything else is split by the header's length.

use alloc::vec::Vec;

use flow::limits::{FRAME_MAX, FRAME_MIN};
use flow::{Base, ByteSet, Cell, LengthRange, Rule};

use super::ranges::Range;
use super::word::low_mask;
use crate::limits::CONDITION_RULES_MAX;

/// Least and greatest distance from a base to the end of a frame, in bytes.
pub(super) fn range(base: Base) -> (i32, i32) {
    let furthest = match base {
        Base::Frame => 0,
        Base::Header(header) => (header.longest() as i32) + i32::from(header.add),
    };
    (i32::from(FRAME_MIN) - furthest, i32::from(FRAME_MAX))
}

/// The frames with `(length - base + plus) mod 2^width` in `wanted`, as rules whose union they are;
/// `None` if those were more than `CONDITION_RULES_MAX`.
pub(super) fn rules(base: Base, plus: u64, width: u32, wanted: Range) -> Option<Vec<Rule>> {
    let (least, most) = range(base);
    let holds = |distance: i32| {
        let number = i64::from(distance).cast_unsigned().wrapping_add(plus) & low_mask(width);
        wanted.contains(number)
    };
    let mut found = Vec::new();
    let mut start = None;
    for distance in least..=most + 1 {
        match (start, distance <= most && holds(distance)) {
            (None, true) => start = Some(distance),
            (Some(first), false) => {
                run(base, first, distance - 1, &mut found);
                if found.len() > CONDITION_RULES_MAX {
                    return None;
                }
                start = None;
            }
            _ => {}
        }
    }
    Some(found)
}

/// The frames whose end is between `first` and `last` bytes behind the base.
fn run(base: Base, first: i32, last: i32, found: &mut Vec<Rule>) {
    let header = match base {
        Base::Frame => {
            found.extend(lengths(first, last).and_then(|range| Rule::any().with_length(range)));
            return;
        }
        Base::Header(header) => header,
    };
    if last >= i32::from(FRAME_MAX)
        && let Ok(offset) = u16::try_from(first - 1)
    {
        found.extend(Rule::any().with(Cell::header(header, offset), ByteSet::ALL));
        return;
    }
    for length in header.lengths() {
        let start = header.scaled(length).unwrap_or(u32::from(u16::MAX)) as i32;
        let start = start + i32::from(header.add);
        let guard = (Cell::frame(header.at), ByteSet::masked(length, header.mask));
        let rule = lengths(start + first, start + last)
            .and_then(|range| Rule::any().with_length(range))
            .and_then(|rule| rule.with(guard.0, guard.1));
        found.extend(rule);
    }
}

fn lengths(first: i32, last: i32) -> Option<LengthRange> {
    let clip = |length: i32| length.clamp(0, i32::from(u16::MAX)) as u16;
    if last < 0 { None } else { LengthRange::new(clip(first), clip(last)) }
}
