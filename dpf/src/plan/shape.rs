//! Mask shapes: which bits of which bytes a rule tests, and how they are packed into a key.
//!
//! The idea: a rule is split in two. What can be a masked comparison of a byte goes into the
//! *key*; ranges, upper length bounds and whatever has no room are left out. The key then
//! over-approximates the rule, the split says so ([`SplitRule::exact`]), and the engine confirms
//! such a candidate with its original program.
//!
//! One kind of range is part of the shape itself: that of a byte which holds a header's length
//! (IPv4's `0x45-0x4f`). Nearly every filter has it, and always the same.
//!
//! Invariant: a frame that the rule accepts has the rule's key; the converse only if exact.

use alloc::vec::Vec;
use core::fmt;

use ebpf::Size;
use flow::limits::FRAME_MAX;
use flow::{Base, ByteSet, Cell, HeaderBase, Rule};

use crate::limits::{HEADER_BASES_MAX, KEY_WORDS_MAX};

const KEY_BYTES_MAX: usize = KEY_WORDS_MAX * 8;
/// Larger shifts of a guard do not stay in 32 bits; no header needs them.
const SHIFT_MAX: u8 = 16;

/// A key's words; unused ones are 0.
pub(crate) type Key = [u64; KEY_WORDS_MAX];

/// One byte under a mask. Mask 0 only asks that the byte exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Test {
    cell: Cell,
    mask: u8,
}

/// A load of adjacent tested bytes, and where it goes in the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) offset: u16,
    pub(crate) size: Size,
    /// Applied to the little-endian value.
    pub(crate) mask: u64,
    pub(crate) word: usize,
    /// Bits that the value is shifted left in its word.
    pub(crate) shift: u8,
}

/// The loads behind one base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) base: Base,
    /// One past the furthest byte behind the base that must exist.
    pub(crate) end: u16,
    pub(crate) loads: Vec<Load>,
}

/// A constant test: the byte at `offset` of the frame is from `low` to `high`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ByteRange {
    pub(crate) offset: u16,
    pub(crate) low: u8,
    pub(crate) high: u8,
}

/// A shape. Equal shapes share a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Shorter frames have no key.
    pub(crate) min_length: u16,
    /// Frames outside have no key.
    pub(crate) ranges: Vec<ByteRange>,
    pub(crate) groups: Vec<Group>,
    words: usize,
    tests: Vec<Test>,
}

/// A rule as the engine looks it up.
#[derive(Debug)]
pub(crate) struct SplitRule {
    pub(crate) shape: Shape,
    pub(crate) key: Key,
    /// Whether the key is the whole rule.
    pub(crate) exact: bool,
}

impl SplitRule {
    pub(crate) fn of(rule: &Rule) -> Self {
        let mut exact = rule.length().max >= FRAME_MAX;
        let mut tests: Vec<(Test, u8)> = Vec::new();
        let mut bases: Vec<HeaderBase> = Vec::new();
        let mut ranges = Vec::new();
        for (cell, set) in rule.cells() {
            if !admit(&mut bases, cell.base) {
                exact = false;
                continue;
            }
            let keyed = tests.iter().filter(|(test, _)| test.mask != 0).count();
            match set.as_masked() {
                Some((value, mask)) if mask == 0 || keyed < KEY_BYTES_MAX => {
                    tests.push((Test { cell, mask }, value & mask));
                }
                _ => {
                    let range = guard_range(rule, cell, set);
                    exact &= range.is_some();
                    ranges.extend(range);
                    tests.push((Test { cell, mask: 0 }, 0));
                }
            }
        }
        tests.sort_unstable_by_key(|(test, _)| *test);
        let only_tests = tests.iter().map(|(test, _)| *test).collect();
        let shape = Shape::new(rule.length().min, ranges, only_tests);
        let value = |cell: Cell| {
            tests.iter().find(|(test, _)| test.cell == cell).map_or(0, |(_, value)| *value)
        };
        let key = shape.key_by(&|base, load| Some(load.gather(base, &value)));
        Self { key: key.unwrap_or_default(), shape, exact }
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
fn admit(bases: &mut Vec<HeaderBase>, base: Base) -> bool {
    match base {
        Base::Frame => true,
        Base::Header(header) if bases.contains(&header) => true,
        Base::Header(header) => {
            let room = bases.len() < HEADER_BASES_MAX && header.shift <= SHIFT_MAX;
            if room {
                bases.push(header);
            }
            room
        }
    }
}

impl Load {
    /// The value made of single bytes.
    fn gather(&self, base: Base, byte: &dyn Fn(Cell) -> u8) -> u64 {
        (0..self.size.bytes() as u16).rev().fold(0, |value, nth| {
            value << 8 | u64::from(byte(Cell { base, offset: self.offset + nth }))
        })
    }
}

impl Shape {
    fn new(min_length: u16, ranges: Vec<ByteRange>, tests: Vec<Test>) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        for run in tests.chunk_by(|a, b| a.cell.base == b.cell.base) {
            let Some(last) = run.last() else { continue };
            let end = last.cell.offset.saturating_add(1);
            groups.push(Group { base: last.cell.base, end, loads: loads(run) });
        }
        let words = pack(&mut groups);
        let min_length = groups.iter().map(Group::least_length).fold(min_length, u16::max);
        Self { min_length, ranges, groups, words, tests }
    }

    /// Words of a key.
    pub(crate) fn words(&self) -> usize {
        self.words
    }

    /// A frame's key; `None` if the frame lacks a byte that the shape tests.
    pub(crate) fn key_of(&self, frame: &[u8]) -> Option<Key> {
        if frame.len() < usize::from(self.min_length) {
            return None;
        }
        for range in &self.ranges {
            let byte = frame.get(usize::from(range.offset))?;
            (range.low..=range.high).contains(byte).then_some(())?;
        }
        for group in &self.groups {
            let last = Cell { base: group.base, offset: group.end.checked_sub(1)? };
            last.address(frame)?;
        }
        self.key_by(&|base, load| {
            let start = Cell { base, offset: load.offset }.address(frame)?;
            let bytes = frame.get(start..start.checked_add(load.size.bytes())?)?;
            Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
        })
    }

    fn key_by(&self, value: &dyn Fn(Base, &Load) -> Option<u64>) -> Option<Key> {
        let mut key = Key::default();
        for group in &self.groups {
            for load in &group.loads {
                *key.get_mut(load.word)? |= (value(group.base, load)? & load.mask) << load.shift;
            }
        }
        Some(key)
    }
}

impl Group {
    /// A frame that has the group's bytes has at least this many.
    fn least_length(&self) -> u16 {
        match self.base {
            Base::Frame => self.end,
            // The guard itself.
            Base::Header(header) => header.at.saturating_add(1),
        }
    }
}

/// Splits the tested bytes of one base into the widest loads that touch no other byte.
fn loads(tests: &[Test]) -> Vec<Load> {
    let mut loads = Vec::new();
    let keyed: Vec<&Test> = tests.iter().filter(|test| test.mask != 0).collect();
    for run in keyed.chunk_by(|a, b| a.cell.offset.checked_add(1) == Some(b.cell.offset)) {
        let mut rest = run;
        while let Some(first) = rest.first() {
            let size = [Size::B8, Size::B4, Size::B2]
                .into_iter()
                .find(|size| size.bytes() <= rest.len())
                .unwrap_or(Size::B1);
            let (now, later) = rest.split_at(size.bytes().min(rest.len()));
            let mask = now.iter().rev().fold(0, |mask, test| mask << 8 | u64::from(test.mask));
            loads.push(Load { offset: first.cell.offset, size, mask, word: 0, shift: 0 });
            rest = later;
        }
    }
    loads
}

/// Gives each load its place in the key, widest first, so that none straddles a word. Returns the
/// number of words.
fn pack(groups: &mut [Group]) -> usize {
    let mut bytes = 0;
    for size in [Size::B8, Size::B4, Size::B2, Size::B1] {
        let all = groups.iter_mut().flat_map(|group| &mut group.loads);
        for load in all.filter(|load| load.size == size) {
            load.word = bytes / 8;
            load.shift = (bytes % 8 * 8) as u8;
            bytes += size.bytes();
        }
    }
    bytes.div_ceil(8)
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "length >= {}", self.min_length)?;
        for ByteRange { offset, low, high } in &self.ranges {
            write!(f, ", [{offset}] in {low:#x}-{high:#x}")?;
        }
        for group in &self.groups {
            let base = match group.base {
                Base::Frame => 0,
                Base::Header(header) => {
                    let HeaderBase { at, mask, shift, add } = header;
                    write!(f, ", behind {add} + ((ether[{at}] & {mask:#x}) << {shift})")?;
                    if group.loads.is_empty() {
                        write!(f, " {} bytes", group.end)?;
                    }
                    add
                }
            };
            for load in &group.loads {
                let (from, bytes) = (load.offset, load.size.bytes());
                let sign = if base == 0 { "" } else { "+" };
                write!(f, ", [{sign}{from}:{bytes}]")?;
                if load.mask != u64::MAX >> (64 - load.size.bits()) {
                    write!(f, " & {:#x}", load.mask)?;
                }
            }
        }
        Ok(())
    }
}
