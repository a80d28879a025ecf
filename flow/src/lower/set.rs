//! Testing one byte for a set.
//!
//! Any set is some intervals of `byte & mask`, where the mask drops the bits that make no
//! difference. One interval is what masks, ranges and single values come down to, and needs no
//! join; the complement of one is as good. Only sets that are neither become a chain.

use alloc::vec::Vec;

use ebpf::Cond;

use super::emit::{Emitter, Place};
use crate::byteset::ByteSet;

/// Goes on to the next rule unless the byte at `offset` behind `place` is in `set`.
pub(super) fn require(emitter: &mut Emitter, place: Place, offset: u16, set: ByteSet) {
    if set.is_all() {
        return;
    }
    let mask = relevant_bits(set);
    let inside = runs(set, mask);
    let outside = runs(set.complement(), mask);
    emitter.load_byte(place, offset, mask);
    match (inside.as_slice(), outside.as_slice()) {
        (&[(low, high)], _) => require_run(emitter, mask, low, high),
        (_, &[(low, high)]) if low == high => emitter.fail_if_byte(Cond::Eq, low),
        (all, _) => require_any(emitter, mask, all),
    }
}

/// The bits whose value makes a difference for some value of the others.
fn relevant_bits(set: ByteSet) -> u8 {
    (0..8).map(|bit| 1u8 << bit).filter(|&bit| !is_irrelevant(set, bit)).sum()
}

fn is_irrelevant(set: ByteSet, bit: u8) -> bool {
    set.values().all(|value| set.contains(value ^ bit))
}

/// The values of `byte & mask` for bytes in `set`, as runs among the values it can have.
fn runs(set: ByteSet, mask: u8) -> Vec<(u8, u8)> {
    let mut runs: Vec<(u8, u8)> = Vec::new();
    let mut open = false;
    for value in (0..=255u8).filter(|value| value & !mask == 0) {
        let is_in = set.contains(value);
        match runs.last_mut() {
            Some(run) if is_in && open => run.1 = value,
            _ if is_in => runs.push((value, value)),
            _ => {}
        }
        open = is_in;
    }
    runs
}

fn require_run(emitter: &mut Emitter, mask: u8, low: u8, high: u8) {
    if low == high {
        emitter.fail_if_byte(Cond::Ne, low);
        return;
    }
    if low > 0 {
        emitter.fail_if_byte(Cond::Lt, low);
    }
    if high < mask {
        emitter.fail_if_byte(Cond::Gt, high);
    }
}

/// Ascending runs: below the next one fails, inside it passes, above it goes on.
fn require_any(emitter: &mut Emitter, mask: u8, runs: &[(u8, u8)]) {
    let Some((&(low, high), others)) = runs.split_last() else { return };
    let mut passed = Vec::with_capacity(others.len());
    for &(low, high) in others {
        if low == high {
            passed.push(emitter.branch_byte(Cond::Eq, low));
        } else {
            if low > 0 {
                emitter.fail_if_byte(Cond::Lt, low);
            }
            passed.push(emitter.branch_byte(Cond::Le, high));
        }
    }
    require_run(emitter, mask, low, high);
    for branch in passed {
        emitter.land(branch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_that_make_no_difference_are_dropped() {
        assert_eq!(relevant_bits(ByteSet::masked(5, 0x0f)), 0x0f);
        assert_eq!(relevant_bits(ByteSet::range(0x45, 0x4f)), 0xff);
        assert_eq!(relevant_bits(ByteSet::from_fn(|b| b & 0x0f >= 5)), 0x0f);
        assert_eq!(relevant_bits(ByteSet::ALL), 0);
    }

    #[test]
    fn a_masked_range_is_one_run() {
        assert_eq!(runs(ByteSet::from_fn(|b| b & 0xf0 >= 0x50), 0xf0), [(0x50, 0xf0)]);
        assert_eq!(runs(ByteSet::exact(0), 0xff), [(0, 0)]);
        let two = ByteSet::exact(6).union(ByteSet::exact(17));
        assert_eq!(runs(two, relevant_bits(two)).len(), 2);
    }
}
