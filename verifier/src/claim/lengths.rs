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
    split(base, least + 1..=most, holds)
}

/// The same of a condition that changes at most at these distances.
pub(super) fn sides_at<const N: usize>(
    base: Base,
    mut changes: [i32; N],
    holds: impl Fn(i32) -> bool,
) -> (Rules, Rules) {
    let (least, most) = range(base);
    changes.sort_unstable();
    let inside = changes.into_iter().filter(|at| (least + 1..=most).contains(at));
    split(base, inside, holds)
}

/// The same, tried at the least distance and at these, which ascend.
fn split(base: Base, at: impl Iterator<Item = i32>, holds: impl Fn(i32) -> bool) -> (Rules, Rules) {
    let (least, most) = range(base);
    let (mut yes, mut no) = (Some(Vec::new()), Some(Vec::new()));
    let (mut first, mut before) = (least, holds(least));
    for distance in at {
        let now = holds(distance);
        if now != before {
            run(base, first, distance - 1, if before { &mut yes } else { &mut no });
            (first, before) = (distance, now);
        }
    }
    run(base, first, most, if before { &mut yes } else { &mut no });
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

#[cfg(test)]
mod tests {
    use ebpf::interp::arith;
    use ebpf::{Cond, Width};
    use flow::{Base, HeaderBase};

    use super::{sides, sides_at};
    use crate::claim::measure::Measure;

    #[test]
    fn what_changes_nowhere_else_need_not_be_tried_elsewhere() {
        let header = HeaderBase { at: 14, mask: 0x0f, shift: 2, add: 14 };
        for base in [Base::Frame, Base::Header(header)] {
            for bound in [-100, -46, 0, 14, 15, 42, 700, 1521, 1522, 1523, 4000] {
                let all = sides(base, |distance| distance < bound);
                assert_eq!(sides_at(base, [bound], |distance| distance < bound), all);
                assert_eq!(sides_at(base, [9999, bound, 14, 60], |it| it < bound), all);
                let equal = sides(base, |distance| distance == bound);
                assert_eq!(sides_at(base, [bound + 1, bound], |it| it == bound), equal);
            }
        }
    }

    #[test]
    fn a_comparison_changes_where_its_measure_says() {
        let conds = [
            Cond::Eq,
            Cond::Ne,
            Cond::Gt,
            Cond::Ge,
            Cond::Lt,
            Cond::Le,
            Cond::Sgt,
            Cond::Sge,
            Cond::Slt,
            Cond::Sle,
        ];
        let far: [i64; 6] =
            [0x4000_0000, 0x4000_0200, 0x8000_0000, i64::MAX, i64::MIN, i64::MIN + 1];
        let near: [i64; 15] =
            [-2000, -47, -15, -14, -1, 0, 1, 13, 14, 15, 42, 1500, 1522, 1523, 3000];
        for &plus in near.iter().chain(&[0x3fff_ff00, -0x3fff_ff00, 0x5000_0000]) {
            let measure = Measure::new(Base::Frame, plus.cast_unsigned());
            for constant in near.iter().chain(&far).map(|it| it.cast_unsigned()) {
                let Some(changes) = measure.changes(constant) else {
                    assert_eq!(plus, 0x5000_0000);
                    continue;
                };
                for cond in conds {
                    let holds = |at| arith::holds(Width::W64, cond, measure.at(at), constant);
                    assert_eq!(sides_at(Base::Frame, changes, holds), sides(Base::Frame, holds));
                    let holds = |at| arith::holds(Width::W64, cond, constant, measure.at(at));
                    assert_eq!(sides_at(Base::Frame, changes, holds), sides(Base::Frame, holds));
                }
            }
        }
    }
}
