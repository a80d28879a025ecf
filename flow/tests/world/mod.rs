//! A world small enough to try every frame of it.
//!
//! Frames of 14 to 20 bytes in which five bytes take boundary values; rules over those bytes, by
//! constant address and behind guards that overlap them, so that aliasing is the rule and not the
//! exception. What a rule means is restated here from its definition, on raw tests, so that the
//! normal form of `Rule` is under test and not part of the oracle.
#![allow(dead_code)] // Each test binary uses its own part.

use proptest::collection::vec;
use proptest::prelude::*;
use sluice_flow::{ByteSet, Cell, HeaderBase, LengthRange, Rule, Space};

/// Values that the varying bytes take: guard values, both ends, a sign bit.
pub(crate) const VALUES: [u8; 6] = [0, 1, 2, 3, 0x81, 0xff];
/// First and last varying byte.
pub(crate) const FIRST: usize = 14;
pub(crate) const LAST: usize = 18;

/// One raw test: what `Rule::with` and `Rule::with_length` are given.
#[derive(Clone, Debug)]
pub(crate) enum Test {
    Byte(Cell, ByteSet),
    Length(u16, u16),
}

impl Test {
    /// The definition: the length is in the range; the cell exists and lies in the set.
    pub(crate) fn holds(&self, frame: &[u8]) -> bool {
        match *self {
            Test::Length(min, max) => (usize::from(min)..=usize::from(max)).contains(&frame.len()),
            Test::Byte(cell, set) => {
                let address = match cell.base {
                    sluice_flow::Base::Frame => Some(usize::from(cell.offset)),
                    sluice_flow::Base::Header(base) => {
                        frame.get(usize::from(base.at)).map(|guard| {
                            usize::from(base.add)
                                + shifted(usize::from(guard & base.mask), base.shift)
                                + usize::from(cell.offset)
                        })
                    }
                };
                address.and_then(|a| frame.get(a)).is_some_and(|&byte| set.contains(byte))
            }
        }
    }
}

/// To the left, or to the right.
fn shifted(number: usize, by: i8) -> usize {
    if by < 0 { number >> -by } else { number << by }
}

/// Every frame of the world.
pub(crate) fn frames() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for length in 14..=20usize {
        let varying = length.min(LAST + 1) - FIRST;
        for mut code in 0..VALUES.len().pow(varying as u32) {
            let mut frame = vec![0u8; length];
            for byte in &mut frame[FIRST..FIRST + varying] {
                *byte = VALUES[code % VALUES.len()];
                code /= VALUES.len();
            }
            all.push(frame);
        }
    }
    all
}

fn bases() -> impl Strategy<Value = HeaderBase> {
    prop::sample::select(vec![
        HeaderBase { at: 14, mask: 0x03, shift: 0, add: 14 },
        HeaderBase { at: 14, mask: 0x03, shift: 1, add: 11 },
        HeaderBase { at: 15, mask: 0x81, shift: 1, add: 15 },
        HeaderBase { at: 16, mask: 0x01, shift: 2, add: 14 },
        HeaderBase { at: 17, mask: 0x00, shift: 9, add: 15 },
        HeaderBase { at: 14, mask: 0xff, shift: 40, add: 16 },
        HeaderBase { at: 15, mask: 0x81, shift: -6, add: 14 },
        HeaderBase { at: 14, mask: 0x03, shift: -1, add: 13 },
    ])
}

fn cells() -> impl Strategy<Value = Cell> {
    prop_oneof![
        (13..=19u16).prop_map(Cell::frame),
        (bases(), 0..=3u16).prop_map(|(base, offset)| Cell::header(base, offset)),
    ]
}

pub(crate) fn sets() -> impl Strategy<Value = ByteSet> {
    let value = prop::sample::select(VALUES.to_vec());
    let simple = prop_oneof![
        value.clone().prop_map(ByteSet::exact),
        (value.clone(), prop::sample::select(vec![0x01, 0x03, 0x80, 0xf0, 0xff]))
            .prop_map(|(value, mask)| ByteSet::masked(value, mask)),
        (value.clone(), value).prop_map(|(a, b)| ByteSet::range(a.min(b), a.max(b))),
    ];
    prop_oneof![
        3 => simple.clone(),
        1 => simple.clone().prop_map(ByteSet::complement),
        1 => (simple.clone(), simple).prop_map(|(a, b)| a.union(b)),
        1 => Just(ByteSet::ALL),
    ]
}

pub(crate) fn tests() -> impl Strategy<Value = Vec<Test>> {
    let test = prop_oneof![
        6 => (cells(), sets()).prop_map(|(cell, set)| Test::Byte(cell, set)),
        1 => (12..=21u16, 12..=21u16).prop_map(|(a, b)| Test::Length(a.min(b), a.max(b))),
    ];
    vec(test, 0..5)
}

/// The rule of these tests, if there is one.
pub(crate) fn rule(tests: &[Test]) -> Option<Rule> {
    tests.iter().try_fold(Rule::any(), |rule, test| match *test {
        Test::Byte(cell, set) => rule.with(cell, set),
        Test::Length(min, max) => rule.with_length(LengthRange::new(min, max)?),
    })
}

pub(crate) fn spaces() -> impl Strategy<Value = Space> {
    vec(tests(), 0..4)
        .prop_map(|all| Space::from_rules(all.iter().filter_map(|tests| rule(tests)).collect()))
}
