//! Lanes: one look-up each.
//!
//! The idea: the rules of one shape differ in values, but usually not everywhere. What all rules of
//! a lane share is a *constant*, compared in code; where they differ is the *key*, looked up in the
//! lane's table. A lane of one rule has no key at all. A rule that fits no lane of its shape makes
//! a new one, whose key also has the bytes where it differs ([`Lane::widened`]); the entries of the
//! narrower lane move over a few at a time.
//!
//! Constants beside key bytes that one load covers with them are *absorbed*: they are in the key,
//! where the comparison of keys tests them for nothing.
//!
//! Invariant: a frame of a rule that fits the lane satisfies its constants and has the rule's key;
//! the converse if the lane is exact and so is the rule.

use alloc::vec::Vec;
use core::fmt;

use ebpf::Size;
use flow::{Base, Cell};
use runtime::native::dispatch::Layout;

use super::HashKey;
use super::shape::{ByteRange, Shape};
use super::window::{self, TestedByte, Window, tight};
use crate::limits::{CLASS_BYTES, KEY_WORDS_MAX};

/// Bytes of a key.
pub(crate) const KEY_BYTES_MAX: usize = KEY_WORDS_MAX * 8;

/// A key's words; unused ones are 0.
pub(crate) type Key = [u64; KEY_WORDS_MAX];

/// What becomes of a test of the shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// All rules have this value.
    Constant(u8),
    /// Part of the key.
    Key,
}

/// A load of key bytes, and where it goes in the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) offset: u16,
    pub(crate) size: Size,
    pub(crate) word: usize,
    /// Bits that the value is shifted left in its word.
    pub(crate) shift: u8,
}

/// What is tested and loaded behind one base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) base: Base,
    /// One past the furthest byte behind the base that must exist.
    pub(crate) end: u16,
    /// Constants behind a header; those of the frame are in [`Lane::constants`].
    pub(crate) tests: Vec<Window>,
    pub(crate) loads: Vec<Load>,
}

/// A lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lane {
    pub(crate) shape: Shape,
    /// One for each test of the shape.
    pub(crate) roles: Vec<Role>,
    pub(crate) layout: Layout,
    /// Constants at fixed places of the frame, ascending.
    pub(crate) constants: Vec<TestedByte>,
    pub(crate) groups: Vec<Group>,
    /// For each key word, the bits that count.
    pub(crate) masks: Vec<u64>,
    /// Offsets of constants that are in the key.
    absorbed: Vec<u16>,
    /// For each test in the key: (its index, word, shift).
    places: Vec<(usize, usize, u8)>,
}

impl Lane {
    /// A lane with these roles; `direct` if its key, if it is one whole 16-bit field, shall be a
    /// number in a window.
    pub(crate) fn new(shape: Shape, roles: Vec<Role>, direct: bool) -> Self {
        let mut lane = Self {
            constants: Vec::new(),
            groups: Vec::new(),
            masks: Vec::new(),
            absorbed: Vec::new(),
            places: Vec::new(),
            layout: Layout::Single,
            shape,
            roles,
        };
        lane.arrange(false);
        if lane.masks.len() > KEY_WORDS_MAX {
            lane.arrange(true);
        } else if !direct {
            lane.absorb();
        }
        lane.place();
        lane.layout = match lane.masks.as_slice() {
            [] => Layout::Single,
            [0xffff] if direct => Layout::Direct,
            [mask] if *mask != u64::MAX || !lane.absorbed.is_empty() => Layout::Plain,
            masks => Layout::Wide { words: masks.len() },
        };
        lane
    }

    /// A lane for one rule: nothing but constants.
    pub(crate) fn single(shape: &Shape, values: &[u8]) -> Self {
        let roles = values.iter().map(|value| Role::Constant(*value)).collect();
        Self::new(shape.clone(), roles, false)
    }

    /// Roles like this lane's, with a wider key: it fits a rule of these values too. `None` if the
    /// key would be too long.
    pub(crate) fn widened(&self, values: &[u8]) -> Option<Vec<Role>> {
        let mut roles = self.roles.clone();
        let differs: Vec<Cell> = self.differing(values).map(|(test, _)| test).collect();
        // Fields have whole pairs of bytes: so a port is widened once.
        let pair = |cell: Cell| (cell.base, cell.offset / 2);
        for (role, test) in roles.iter_mut().zip(&self.shape.tests) {
            let near = differs.iter().any(|cell| pair(*cell) == pair(test.cell));
            if near && test.mask != 0 && matches!(role, Role::Constant(_)) {
                *role = Role::Key;
            }
        }
        let keyed = roles.iter().filter(|role| **role == Role::Key).count();
        (keyed <= KEY_BYTES_MAX).then_some(roles)
    }

    /// Cells whose constant is not that of a rule, with its index.
    pub(crate) fn differing(&self, values: &[u8]) -> impl Iterator<Item = (Cell, usize)> {
        let all = self.shape.tests.iter().zip(&self.roles).zip(values).enumerate();
        all.filter_map(|(at, ((test, role), value))| match role {
            Role::Constant(constant) if constant != value => Some((test.cell, at)),
            _ => None,
        })
    }

    /// Whether a rule of the lane's shape with these values can be in it.
    pub(crate) fn fits(&self, values: &[u8]) -> bool {
        self.roles.iter().zip(values).all(|(role, value)| match role {
            Role::Constant(constant) => constant == value,
            Role::Key => true,
        })
    }

    /// Words of a key.
    pub(crate) fn words(&self) -> usize {
        self.masks.len()
    }

    /// The key of a rule that fits.
    pub(crate) fn pack(&self, values: &[u8]) -> Key {
        let mut key = Key::default();
        for (test, word, shift) in &self.places {
            if let (Some(word), Some(value)) = (key.get_mut(*word), values.get(*test)) {
                *word |= u64::from(*value) << shift;
            }
        }
        key
    }

    /// The values of the rules with a key.
    pub(crate) fn unpack(&self, key: &Key, values: &mut Vec<u8>) {
        values.clear();
        values.extend(self.roles.iter().map(|role| match role {
            Role::Constant(value) => *value,
            Role::Key => 0,
        }));
        for (test, word, shift) in &self.places {
            let mask = self.shape.tests.get(*test).map_or(0, |test| test.mask);
            if let (Some(value), Some(word)) = (values.get_mut(*test), key.get(*word)) {
                *value = (word >> shift) as u8 & mask;
            }
        }
    }

    /// What a table of this lane's layout finds a key by, besides the key: its hash.
    pub(crate) fn hash(&self, secrets: &HashKey, key: &Key) -> u64 {
        let hash = secrets.hash(key.get(..self.words()).unwrap_or(key));
        if matches!(self.layout, Layout::Wide { .. }) { hash | 1 } else { hash }
    }

    /// What stands in a slot in the place of the key.
    pub(crate) fn digest(&self, key: &Key, hash: u64) -> u64 {
        if matches!(self.layout, Layout::Wide { .. }) { hash } else { key[0] }
    }

    /// The digest of a slot that nobody is in: no key has it.
    pub(crate) fn nobody(&self) -> u64 {
        match (self.layout, self.masks.first()) {
            // Of a key without a free bit, the complement of what all have in common.
            (Layout::Plain, Some(&u64::MAX)) => self.common(),
            (Layout::Plain, Some(mask)) => !mask,
            _ => 0,
        }
    }

    /// A word that differs from each key in the absorbed constants.
    fn common(&self) -> u64 {
        let absorbed =
            self.places.iter().filter_map(|(test, _, shift)| match self.roles.get(*test)? {
                Role::Constant(value) => Some(u64::from(!value) << shift),
                Role::Key => None,
            });
        absorbed.fold(0, |word, bits| word | bits)
    }

    /// The number that a key of a direct lane is: its two bytes in network order.
    pub(crate) fn number(key: &Key) -> u16 {
        (key[0] as u16).swap_bytes()
    }

    /// A frame's key; `None` if the frame is in no rule of the lane.
    pub(crate) fn key_of(&self, frame: &[u8]) -> Option<Key> {
        self.could_hold(frame)?;
        let mut key = Key::default();
        for group in &self.groups {
            let (behind, _) = behind(group.base, frame)?;
            (behind.len() >= usize::from(group.end)).then_some(())?;
            for test in &group.tests {
                (test.bits(behind)? == test.value).then_some(())?;
            }
            for Load { offset, size, word, shift } in &group.loads {
                let window = Window { offset: *offset, size: *size, mask: u64::MAX, value: 0 };
                *key.get_mut(*word)? |= window.bits(behind)? << shift;
            }
        }
        for (word, mask) in key.iter_mut().zip(&self.masks) {
            *word &= mask;
        }
        Some(key)
    }

    /// Length, ranges and the frame's constants.
    fn could_hold(&self, frame: &[u8]) -> Option<()> {
        let long = frame.len() >= usize::from(self.shape.min_length);
        let ranges = self.shape.ranges.iter().all(|range| {
            let byte = frame.get(usize::from(range.offset));
            byte.is_some_and(|byte| (range.low..=range.high).contains(byte))
        });
        let constants = self.constants.iter().all(|(at, mask, value)| {
            frame.get(usize::from(*at)).is_some_and(|byte| byte & mask == *value)
        });
        (long && ranges && constants).then_some(())
    }
}

/// How a lane is laid out.
impl Lane {
    /// Sorts the tests into constants, groups and loads. `close`: no load covers other bytes.
    fn arrange(&mut self, close: bool) {
        self.constants.clear();
        self.groups.clear();
        let all: Vec<_> = self.shape.tests.iter().zip(&self.roles).collect();
        for run in all.chunk_by(|(a, _), (b, _)| a.cell.base == b.cell.base) {
            let Some((last, _)) = run.last() else { continue };
            let (base, mut end) = (last.cell.base, last.cell.offset.saturating_add(1));
            let constants: Vec<TestedByte> = run
                .iter()
                .filter_map(|(test, role)| match role {
                    Role::Constant(value) if test.mask != 0 => {
                        Some((test.cell.offset, test.mask, *value))
                    }
                    _ => None,
                })
                .collect();
            let keyed = run.iter().filter(|(_, role)| **role == Role::Key);
            let keyed: Vec<TestedByte> =
                keyed.map(|(test, _)| (test.cell.offset, test.mask, 0)).collect();
            let mut tests = Vec::new();
            if base == Base::Frame {
                end = end.max(self.shape.min_length);
                self.constants = constants;
            } else {
                tests = window::tests(&constants, end);
            }
            let covered = if close { tight(&keyed) } else { window::loads(&keyed, end) };
            let loads = covered.iter().map(|window| Load {
                offset: window.offset,
                size: window.size,
                word: 0,
                shift: 0,
            });
            self.groups.push(Group { base, end, tests, loads: loads.collect() });
        }
        let words = pack(&mut self.groups);
        self.masks = alloc::vec![0; words];
    }

    /// Widens loads over constants beside them, as long as the key gets no more words. Constants of
    /// the class stay: they tell lanes apart.
    fn absorb(&mut self) {
        let words = self.masks.len();
        for nth in 0..self.groups.iter().map(|group| group.loads.len()).max().unwrap_or(0) {
            let Some(group) = self.groups.iter().position(|group| group.base == Base::Frame) else {
                return;
            };
            let Some(load) = self.groups.get(group).and_then(|group| group.loads.get(nth)) else {
                return;
            };
            let Some((wider, taken)) = self.wider(load) else { continue };
            let mut groups = self.groups.clone();
            if let Some(load) = groups.get_mut(group).and_then(|group| group.loads.get_mut(nth)) {
                *load = wider;
            }
            if pack(&mut groups) <= words {
                self.groups = groups;
                self.constants.retain(|(at, ..)| !taken.contains(at));
                self.absorbed.extend(taken);
            }
        }
    }

    /// A load of twice the size whose other half are constants, and where those are.
    fn wider(&self, load: &Load) -> Option<(Load, core::ops::Range<u16>)> {
        let (size, bytes) = match load.size {
            Size::B1 => (Size::B2, 1),
            Size::B2 => (Size::B4, 2),
            Size::B4 => (Size::B8, 4),
            Size::B8 => return None,
        };
        let behind = load.offset.checked_add(bytes).map(|at| (load.offset, at));
        let before = load.offset.checked_sub(bytes).map(|at| (at, at));
        let whole = |at: u16| {
            let known = self.constants.iter().any(|byte| (byte.0, byte.1) == (at, 0xff));
            known && !CLASS_BYTES.contains(&at)
        };
        let mut both = [behind, before].into_iter().flatten();
        both.find_map(|(offset, at)| {
            let taken = at..at.checked_add(bytes)?;
            taken.clone().all(whole).then_some((Load { offset, size, ..*load }, taken))
        })
    }

    /// Where each byte of the key is.
    fn place(&mut self) {
        self.places.clear();
        for (at, (test, role)) in self.shape.tests.iter().zip(&self.roles).enumerate() {
            let absorbed = test.cell.base == Base::Frame
                && matches!(role, Role::Constant(_))
                && self.absorbed.contains(&test.cell.offset);
            if *role != Role::Key && !absorbed {
                continue;
            }
            let groups = self.groups.iter().filter(|group| group.base == test.cell.base);
            let place = groups.flat_map(|group| &group.loads).find_map(|load| {
                let inside = test.cell.offset.checked_sub(load.offset)?;
                (usize::from(inside) < load.size.bytes())
                    .then(|| (load.word, load.shift + inside as u8 * 8))
            });
            if let Some((word, shift)) = place {
                if let Some(mask) = self.masks.get_mut(word) {
                    *mask |= u64::from(test.mask) << shift;
                }
                self.places.push((at, word, shift));
            }
        }
    }
}

/// The bytes behind a base, and where they begin.
fn behind(base: Base, frame: &[u8]) -> Option<(&[u8], usize)> {
    let start = match base {
        Base::Frame => 0,
        Base::Header(header) => {
            let guard = *frame.get(usize::from(header.at))?;
            header.scaled(guard)? as usize + usize::from(header.add)
        }
    };
    Some((frame.get(start..)?, start))
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

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "length >= {}", self.shape.min_length)?;
        for ByteRange { offset, low, high } in &self.shape.ranges {
            write!(f, ", [{offset}] in {low:#x}-{high:#x}")?;
        }
        let all: Vec<_> = self.shape.tests.iter().zip(&self.roles).collect();
        let alike = |a: &Role, b: &Role| match (a, b) {
            (Role::Constant(_), Role::Constant(_)) => true,
            _ => a == b,
        };
        for run in all.chunk_by(|(a, r), (b, s)| {
            a.cell.base == b.cell.base
                && a.cell.offset.checked_add(1) == Some(b.cell.offset)
                && a.mask == b.mask
                && alike(r, s)
        }) {
            let Some((first, role)) = run.first().filter(|(test, _)| test.mask != 0) else {
                continue;
            };
            let sign = if first.cell.base == Base::Frame { "" } else { "header+" };
            write!(f, ", [{sign}{}:{}]", first.cell.offset, run.len())?;
            if first.mask != 0xff {
                write!(f, " & {:#x} each", first.mask)?;
            }
            match role {
                Role::Constant(_) => {
                    f.write_str(" = 0x")?;
                    for (_, role) in run {
                        if let Role::Constant(value) = role {
                            write!(f, "{value:02x}")?;
                        }
                    }
                }
                Role::Key => f.write_str(" looked up")?,
            }
        }
        Ok(())
    }
}
