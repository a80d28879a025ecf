//! Mask shapes: which bits of which bytes a rule tests.
//!
//! The idea: a rule is split in two. What can be a masked comparison of a byte goes into its
//! *shape* and *values*; ranges, upper length bounds and whatever has no room are left out. Shape
//! and values then over-approximate the rule, the split says so ([`SplitRule::exact`]), and the
//! engine confirms such a candidate with its original program.
//!
//! One kind of range is part of the shape itself: that of a byte which holds a header's length
//! (IPv4's `0x45-0x4f`). Nearly every filter has it, and always the same.
//!
//! Invariant: a frame that the rule accepts has the shape's bytes with the rule's values; the
//! converse only if exact.

use alloc::vec::Vec;

use flow::limits::FRAME_MAX;
use flow::{Base, ByteSet, Cell, HeaderBase, Rule};

use crate::error::EngineError;
use crate::limits::{CLASS_BYTES, HEADER_BASES_MAX, KEY_WORDS_MAX};

/// Larger shifts of a guard do not stay in 32 bits; no header needs them.
const SHIFT_MAX: u8 = 16;

/// Bytes beside those of the class that may be told apart by value: all could be in the key.
const TESTS_MAX: usize = KEY_WORDS_MAX * 8;

/// One byte under a mask. Mask 0 only asks that the byte exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Test {
    pub(crate) cell: Cell,
    pub(crate) mask: u8,
}

/// A constant test: the byte at `offset` of the frame is from `low` to `high`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ByteRange {
    pub(crate) offset: u16,
    pub(crate) low: u8,
    pub(crate) high: u8,
}

/// A shape. Rules of one shape differ in values only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Shorter frames are in no rule of the shape.
    pub(crate) min_length: u16,
    /// Frames outside are in no rule of the shape.
    pub(crate) ranges: Vec<ByteRange>,
    /// Ascending.
    pub(crate) tests: Vec<Test>,
}

/// A rule as the engine looks it up.
#[derive(Debug)]
pub(crate) struct SplitRule {
    pub(crate) shape: Shape,
    /// For each test of the shape, the value under its mask.
    pub(crate) values: Vec<u8>,
    /// Whether that is the whole rule.
    pub(crate) exact: bool,
}

impl SplitRule {
    /// # Errors
    /// [`EngineError::NoMemory`].
    pub(crate) fn of(rule: &Rule) -> Result<Self, EngineError> {
        let mut exact = rule.length().max >= FRAME_MAX;
        let cells = rule.cells();
        let mut tests: Vec<(Test, u8)> = room(cells.len())?;
        let mut ranges = Vec::new();
        let mut bases: [Option<HeaderBase>; HEADER_BASES_MAX] = [None; HEADER_BASES_MAX];
        let mut keyed = 0;
        for (cell, set) in cells {
            if !admit(&mut bases, cell.base) {
                exact = false;
                continue;
            }
            match masked(set) {
                Some((value, mask)) if mask == 0 || keyed < TESTS_MAX || is_class(cell) => {
                    keyed += usize::from(mask != 0 && !is_class(cell));
                    tests.push((Test { cell, mask }, value & mask));
                }
                _ => {
                    let range = guard_range(rule, cell, set);
                    exact &= range.is_some();
                    ranges
                        .try_reserve(usize::from(range.is_some()))
                        .map_err(|_| EngineError::NoMemory)?;
                    ranges.extend(range);
                    tests.push((Test { cell, mask: 0 }, 0));
                }
            }
        }
        // Cells come in this order, so that there is nothing to sort.
        if !tests.is_sorted_by_key(|(test, _)| *test) {
            tests.sort_unstable_by_key(|(test, _)| *test);
        }
        let least = tests.iter().map(|(test, _)| least_length(test.cell));
        let min_length = least.fold(rule.length().min, u16::max);
        let (mut shape_tests, mut values) = (room(tests.len())?, room(tests.len())?);
        shape_tests.extend(tests.iter().map(|(test, _)| *test));
        values.extend(tests.iter().map(|(_, value)| *value));
        Ok(Self { shape: Shape { min_length, ranges, tests: shape_tests }, values, exact })
    }
}

/// The set as a masked comparison; nearly all are of one value.
fn masked(set: ByteSet) -> Option<(u8, u8)> {
    set.single().map_or_else(|| set.as_masked(), |value| Some((value, 0xff)))
}

/// Whether rules that differ there are better kept in lanes of their own.
pub(crate) fn is_class(cell: Cell) -> bool {
    cell.base == Base::Frame && CLASS_BYTES.contains(&cell.offset)
}

fn room<T>(len: usize) -> Result<Vec<T>, EngineError> {
    let mut room = Vec::new();
    room.try_reserve(len).map_err(|_| EngineError::NoMemory)?;
    Ok(room)
}

/// A frame that has the byte (of a header: its guard) has at least this many.
fn least_length(cell: Cell) -> u16 {
    match cell.base {
        Base::Frame => cell.offset.saturating_add(1),
        Base::Header(header) => header.at.saturating_add(1),
    }
}

/// The range of a byte that holds a header's length, if it is one range.
fn guard_range(rule: &Rule, cell: Cell, set: ByteSet) -> Option<ByteRange> {
    let mut intervals = set.intervals();
    let (low, high) = intervals.next()?;
    let guard = cell.base == Base::Frame && rule.guards().any(|(at, _)| at == cell.offset);
    let single = guard && intervals.next().is_none();
    single.then_some(ByteRange { offset: cell.offset, low, high })
}

/// Whether cells behind `base` can be looked up: the frame's always, headers' while there is room.
fn admit(bases: &mut [Option<HeaderBase>], base: Base) -> bool {
    let Base::Header(header) = base else { return true };
    if header.shift.unsigned_abs() > SHIFT_MAX {
        return false;
    }
    for known in bases {
        match known {
            Some(known) if *known == header => return true,
            Some(_) => {}
            None => {
                *known = Some(header);
                return true;
            }
        }
    }
    false
}
