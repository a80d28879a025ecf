//! The nodes of a tree: sorted arrays that fit eight cache lines.

use super::Entry;

/// Entries of a leaf.
pub(super) const LEAF: usize = 31;

/// Children of an inner node.
pub(super) const FAN: usize = 20;

/// What a parent knows of a child: its first place, and the furthest end in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) start: u64,
    pub(super) tag: u32,
    pub(super) end: u64,
}

/// Entries in order of (start, tag). Of an end only the low half is kept: the high half is the
/// start's.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) starts: [u64; LEAF],
    pub(super) ends: [u32; LEAF],
    pub(super) tags: [u32; LEAF],
    pub(super) len: u32,
}

/// Children in order of their first places.
#[derive(Clone, Debug)]
pub(super) struct Inner {
    pub(super) starts: [u64; FAN],
    pub(super) ends: [u64; FAN],
    pub(super) tags: [u32; FAN],
    pub(super) children: [u32; FAN],
    pub(super) len: u32,
}

const _: () = assert!(size_of::<Leaf>() <= 512 && size_of::<Inner>() <= 512);

/// A node that can wait in a list of free ones.
pub(super) trait Node {
    fn empty() -> Self;
    fn link(&mut self) -> &mut u32;
}

impl Node for Leaf {
    fn empty() -> Leaf {
        Leaf { starts: [0; LEAF], ends: [0; LEAF], tags: [0; LEAF], len: 0 }
    }

    fn link(&mut self) -> &mut u32 {
        &mut self.tags[0]
    }
}

impl Node for Inner {
    fn empty() -> Inner {
        let (starts, ends) = ([0; FAN], [0; FAN]);
        Inner { starts, ends, tags: [0; FAN], children: [0; FAN], len: 0 }
    }

    fn link(&mut self) -> &mut u32 {
        &mut self.children[0]
    }
}

impl Leaf {
    pub(super) fn len(&self) -> usize {
        (self.len as usize).min(LEAF)
    }

    pub(super) fn entry(&self, at: usize) -> Entry {
        let start = self.starts[at];
        Entry { start, end: start & HIGH | u64::from(self.ends[at]), tag: self.tags[at] }
    }

    /// How many entries are before (start, tag).
    pub(super) fn rank(&self, key: (u64, u32)) -> usize {
        let len = self.len();
        let at = self.starts[..len].partition_point(|&start| start < key.0);
        let same = self.starts[at..len].partition_point(|&start| start == key.0);
        at + self.tags[at..at + same].partition_point(|&tag| tag < key.1)
    }

    pub(super) fn insert(&mut self, at: usize, entry: Entry) -> u64 {
        let len = self.len();
        self.starts.copy_within(at..len, at + 1);
        self.ends.copy_within(at..len, at + 1);
        self.tags.copy_within(at..len, at + 1);
        (self.starts[at], self.ends[at], self.tags[at]) =
            (entry.start, entry.end as u32, entry.tag);
        self.len += 1;
        moved::<Leaf>(len - at, LEAF)
    }

    pub(super) fn remove(&mut self, at: usize) -> u64 {
        let len = self.len();
        self.starts.copy_within(at + 1..len, at);
        self.ends.copy_within(at + 1..len, at);
        self.tags.copy_within(at + 1..len, at);
        self.len -= 1;
        moved::<Leaf>(len - at, LEAF)
    }

    /// Moves the entries from `at` on to the end of `other`.
    pub(super) fn give(&mut self, at: usize, other: &mut Leaf) -> u64 {
        let (len, to) = (self.len(), other.len());
        let count = len - at;
        other.starts[to..to + count].copy_from_slice(&self.starts[at..len]);
        other.ends[to..to + count].copy_from_slice(&self.ends[at..len]);
        other.tags[to..to + count].copy_from_slice(&self.tags[at..len]);
        (self.len, other.len) = (at as u32, (to + count) as u32);
        moved::<Leaf>(count, LEAF)
    }

    pub(super) fn summary(&self) -> Summary {
        let len = self.len();
        let ends = self.starts[..len].iter().zip(&self.ends[..len]);
        let end = ends.map(|(start, &end)| start & HIGH | u64::from(end)).max();
        Summary { start: self.starts[0], tag: self.tags[0], end: end.unwrap_or(0) }
    }
}

/// The half of a place that start and end share.
pub(super) const HIGH: u64 = !0xffff_ffff;

/// Bytes that `count` of a node's entries are.
const fn moved<T>(count: usize, of: usize) -> u64 {
    (count * size_of::<T>() / of) as u64
}

impl Inner {
    pub(super) fn len(&self) -> usize {
        (self.len as usize).min(FAN)
    }

    /// The child in which (start, tag) is or would be.
    pub(super) fn child_for(&self, key: (u64, u32)) -> usize {
        let len = self.len();
        let at = self.starts[..len].partition_point(|&start| start < key.0);
        let same = self.starts[at..len].partition_point(|&start| start == key.0);
        let not_after = at + self.tags[at..at + same].partition_point(|&tag| tag <= key.1);
        not_after.saturating_sub(1)
    }

    /// The child at `at` has one entry more.
    pub(super) fn widen(&mut self, at: usize, entry: Entry) {
        if entry.key() < (self.starts[at], self.tags[at]) {
            (self.starts[at], self.tags[at]) = entry.key();
        }
        self.ends[at] = self.ends[at].max(entry.end);
    }

    pub(super) fn set(&mut self, at: usize, summary: Summary) {
        self.starts[at] = summary.start;
        self.tags[at] = summary.tag;
        self.ends[at] = summary.end;
    }

    pub(super) fn insert(&mut self, at: usize, summary: Summary, child: u32) -> u64 {
        let len = self.len();
        self.starts.copy_within(at..len, at + 1);
        self.ends.copy_within(at..len, at + 1);
        self.tags.copy_within(at..len, at + 1);
        self.children.copy_within(at..len, at + 1);
        self.set(at, summary);
        self.children[at] = child;
        self.len += 1;
        moved::<Inner>(len - at, FAN)
    }

    pub(super) fn remove(&mut self, at: usize) -> u64 {
        let len = self.len();
        self.starts.copy_within(at + 1..len, at);
        self.ends.copy_within(at + 1..len, at);
        self.tags.copy_within(at + 1..len, at);
        self.children.copy_within(at + 1..len, at);
        self.len -= 1;
        moved::<Inner>(len - at, FAN)
    }

    pub(super) fn give(&mut self, at: usize, other: &mut Inner) -> u64 {
        let (len, to) = (self.len(), other.len());
        let count = len - at;
        other.starts[to..to + count].copy_from_slice(&self.starts[at..len]);
        other.ends[to..to + count].copy_from_slice(&self.ends[at..len]);
        other.tags[to..to + count].copy_from_slice(&self.tags[at..len]);
        other.children[to..to + count].copy_from_slice(&self.children[at..len]);
        (self.len, other.len) = (at as u32, (to + count) as u32);
        moved::<Inner>(count, FAN)
    }

    pub(super) fn summary(&self) -> Summary {
        let end = self.ends[..self.len()].iter().copied().max().unwrap_or(0);
        Summary { start: self.starts[0], tag: self.tags[0], end }
    }
}
