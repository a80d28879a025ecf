//! Conditions on the frame's length.
//!
//! The distances from a base to the end that any frame can have are few, so a condition is tried on
//! all of them; the runs of them that satisfy it become rules. Behind a header the base moves:
//! "long enough" is the existence of one byte, everything else is split by the header's length.

use alloc::vec::Vec;

use flow::limits::{FRAME_MAX, FRAME_MIN};
use flow::{Base, ByteSet, Cell, LengthRange, Rule};

use crate::limits::CONDITION_RULES_MAX;

/// Least and greatest distance from a base to the end of a frame, in bytes.
pub(super) fn range(base: Base) -> (i32, i32) {
    let furthest = match base {
        Base::Frame => 0,
        Base::Header(header) => (header.longest() as i32) + i32::from(header.add),
    };
    (i32::from(FRAME_MIN) - furthest, i32::from(FRAME_MAX))
}

/// Rules whose union it is; `None` if they were more than `CONDITION_RULES_MAX`.
pub(super) type Rules = Option<Vec<Rule>>;

/// The frames for whose distance from the base to the end a condition holds, and the others.
pub(super) fn sides(base: Base, holds: impl Fn(i32) -> bool) -> (Rules, Rules) {
    let (least, most) = range(base);
    let (mut yes, mut no) = (Some(Vec::new()), Some(Vec::new()));
    let (mut first, mut before) = (least, holds(least));
    for distance in least + 1..=most + 1 {
        let now = distance <= most && holds(distance);
        if now != before || distance > most {
            run(base, first, distance - 1, if before { &mut yes } else { &mut no });
            (first, before) = (distance, now);
        }
    }
    (yes, no)
}

/// Adds the frames whose end is between `first` and `last` bytes behind the base.
fn run(base: Base, first: i32, last: i32, found: &mut Rules) {
    let Some(rules) = found else { return };
    let header = match base {
        Base::Frame => {
            rules.extend(lengths(first, last).and_then(|range| Rule::any().with_length(range)));
            return settle(found);
        }
        Base::Header(header) => header,
    };
    if last >= i32::from(FRAME_MAX)
        && let Ok(offset) = u16::try_from(first - 1)
    {
        rules.extend(Rule::any().with(Cell::header(header, offset), ByteSet::ALL));
        return settle(found);
    }
    for length in header.lengths() {
        let start = header.scaled(length).unwrap_or(u32::from(u16::MAX)) as i32;
        let start = start + i32::from(header.add);
        let guard = (Cell::frame(header.at), ByteSet::masked(length, header.mask));
        let rule = lengths(start + first, start + last)
            .and_then(|range| Rule::any().with_length(range))
            .and_then(|rule| rule.with(guard.0, guard.1));
        rules.extend(rule);
        if rules.len() > CONDITION_RULES_MAX {
            break;
        }
    }
    settle(found);
}

/// Gives the rules up if they are too many.
fn settle(found: &mut Rules) {
    if found.as_ref().is_some_and(|rules| rules.len() > CONDITION_RULES_MAX) {
        *found = None;
    }
}

fn lengths(first: i32, last: i32) -> Option<LengthRange> {
    let clip = |length: i32| length.clamp(0, i32::from(u16::MAX)) as u16;
    if last < 0 { None } else { LengthRange::new(clip(first), clip(last)) }
}
