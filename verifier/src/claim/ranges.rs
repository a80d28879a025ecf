//! The numbers for which a comparison with a constant comes out true.
//!
//! Unsigned or signed, equal or not: on the circle of `2^width` numbers it is always one arc, and
//! where it comes out false is the rest of the circle.

use ebpf::Cond;

use super::word::low_mask;

/// An arc of the circle of `2^width` numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// First number; the arc goes upwards from it.
    low: u64,
    /// How many numbers follow the first; `None`: the arc is empty.
    more: Option<u64>,
    mask: u64,
}

impl Range {
    fn new(low: u64, high: u64, width: u32) -> Range {
        let mask = low_mask(width);
        Range { low: low & mask, more: Some(high.wrapping_sub(low) & mask), mask }
    }

    fn nothing(width: u32) -> Range {
        Range { low: 0, more: None, mask: low_mask(width) }
    }

    /// Where `number cond constant` holds, in the given width. Not for [`Cond::Set`].
    pub(super) fn of(cond: Cond, constant: u64, width: u32) -> Range {
        let mask = low_mask(width);
        let c = constant & mask;
        let (smin, smax) = (mask / 2 + 1, mask / 2);
        let new = |low: u64, high: u64| Range::new(low, high, width);
        let above = |top: u64| match c == top {
            true => Range::nothing(width),
            false => new(c.wrapping_add(1), top),
        };
        let below = |bottom: u64| match c == bottom {
            true => Range::nothing(width),
            false => new(bottom, c.wrapping_sub(1)),
        };
        match cond {
            Cond::Eq | Cond::Set => new(c, c),
            Cond::Ne => Range::of(Cond::Eq, c, width).complement(),
            Cond::Gt => above(mask),
            Cond::Ge => new(c, mask),
            Cond::Lt => below(0),
            Cond::Le => new(0, c),
            Cond::Sgt => above(smax),
            Cond::Sge => new(c, smax),
            Cond::Slt => below(smin),
            Cond::Sle => new(smin, c),
        }
    }

    /// All other numbers of the circle.
    pub(super) fn complement(self) -> Range {
        let Some(more) = self.more else {
            return Range { more: Some(self.mask), ..self };
        };
        match more == self.mask {
            true => Range { more: None, ..self },
            false => {
                let low = self.low.wrapping_add(more).wrapping_add(1) & self.mask;
                Range { low, more: Some(self.mask - more - 1), ..self }
            }
        }
    }

    #[cfg(test)]
    fn contains(self, number: u64) -> bool {
        let from_low = number.wrapping_sub(self.low) & self.mask;
        number <= self.mask && self.more.is_some_and(|more| from_low <= more)
    }

    /// The numbers `x` up to `limit` with `(x + plus) mod (limit + 1)` in the arc, as at most four
    /// ranges; `limit` is `2^n - 1`, not above the circle.
    pub(super) fn shifted(self, plus: u64, limit: u64) -> [Option<(u64, u64)>; 4] {
        let mut found = [None; 4];
        let mut next = 0;
        for (low, high) in self.linear().into_iter().flatten() {
            if low > limit {
                continue;
            }
            let (low, high) = (low, high.min(limit));
            let from = low.wrapping_sub(plus) & limit;
            let to = high.wrapping_sub(plus) & limit;
            let parts = match from <= to {
                true => [Some((from, to)), None],
                false => [Some((from, limit)), Some((0, to))],
            };
            for part in parts.into_iter().flatten() {
                found[next] = Some(part);
                next += 1;
            }
        }
        found
    }

    /// The arc cut at 0.
    fn linear(self) -> [Option<(u64, u64)>; 2] {
        let Some(more) = self.more else { return [None; 2] };
        match self.low.checked_add(more).filter(|&high| high <= self.mask) {
            Some(high) => [Some((self.low, high)), None],
            None => {
                let high = self.low.wrapping_add(more) & self.mask;
                [Some((self.low, self.mask)), Some((0, high))]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Range;
    use ebpf::interp::arith;
    use ebpf::{Cond, Width};

    const EDGES: [u64; 9] =
        [0, 1, 2, 5, 0x7fff_ffff, 0x8000_0000, 0x8000_0001, 0xffff_fffe, u64::MAX];

    #[test]
    fn arcs_are_where_the_comparison_holds() {
        for (width, bits) in [(Width::W32, 32), (Width::W64, 64)] {
            let mask = super::low_mask(bits);
            for cond in Cond::ALL.into_iter().filter(|&cond| cond != Cond::Set) {
                for c in EDGES.map(|edge| edge & mask) {
                    let range = Range::of(cond, c, bits);
                    for x in EDGES.map(|edge| edge & mask) {
                        let holds = arith::holds(width, cond, x, c);
                        assert_eq!(range.contains(x), holds, "{x:#x} {cond:?} {c:#x} {bits}");
                        assert_eq!(range.complement().contains(x), !holds);
                    }
                }
            }
        }
    }

    #[test]
    fn shifted_ranges_are_the_preimage() {
        for cond in Cond::ALL.into_iter().filter(|&cond| cond != Cond::Set) {
            for (c, plus) in [(0, 0), (3, 250), (200, 7), (255, 1), (0x80, 0x80), (7, 255)] {
                let range = Range::of(cond, c, 32);
                let parts = range.shifted(plus, 255);
                for x in 0..=255u64 {
                    let inside = parts.into_iter().flatten().any(|(l, h)| l <= x && x <= h);
                    assert_eq!(
                        inside,
                        range.contains((x + plus) & 255),
                        "{x} + {plus} {cond:?} {c}"
                    );
                }
            }
        }
    }
}
