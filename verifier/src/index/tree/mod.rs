//! Intervals in order, and which of them meet a given one.
//!
//! A B+ tree over entries `start..=end` with a tag, in order of (start, tag). Start and end agree
//! in their upper half, which is a hash; the lower half is a number that may be a range. A parent
//! knows the furthest end in each child, so that the next entry which meets an interval is found by
//! walking down at most three paths. Insertion and removal touch one path. Nothing depends on how
//! the places are distributed: whoever chooses them cannot make it slow, and there is no table that
//! must grow at once.
//!
//! Rules for the caller: an entry is inserted once and removed as it was inserted.

mod node;
mod pool;

use super::work::Work;
use node::{FAN, HIGH, Inner, LEAF, Leaf, Node, Summary};
use pool::Pool;

/// An interval and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) start: u64,
    /// Not below `start`, with the same upper half.
    pub(crate) end: u64,
    pub(crate) tag: u32,
}

impl Entry {
    /// Its place in the order.
    pub(crate) const fn key(&self) -> (u64, u32) {
        (self.start, self.tag)
    }
}

/// The tree.
#[derive(Debug)]
pub(crate) struct Tree {
    leaves: Pool<Leaf>,
    inners: Pool<Inner>,
    root: u32,
    /// Inner nodes on each path.
    height: usize,
    len: u64,
}

/// Inner nodes that a path may have: every node but the root has at least two children.
const HEIGHT_MAX: usize = 33;

/// The inner nodes from the root to a leaf, and which child was taken.
type Path = [(u32, usize); HEIGHT_MAX];

/// A node that was full, in two: what is known of both, and the new one's number.
struct Split {
    lower: Summary,
    number: u32,
    upper: Summary,
}

/// Nodes with fewer entries look for a neighbour to join.
const LEAF_LOW: usize = LEAF / 4;
const FAN_LOW: usize = FAN / 4;

impl Tree {
    pub(crate) const fn new() -> Tree {
        Tree { leaves: Pool::new(), inners: Pool::new(), root: 0, height: 0, len: 0 }
    }

    /// Entries.
    #[cfg(test)]
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// Heap held, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.leaves.bytes() + self.inners.bytes()
    }

    /// Gives a part of the memory back; the tree is of no use then. `false`: nothing is left.
    pub(crate) fn shed(&mut self) -> bool {
        self.leaves.shed() || self.inners.shed()
    }

    /// Takes an entry in.
    pub(crate) fn insert(&mut self, entry: Entry, work: &mut Work) {
        let mut moved = 0;
        self.len += 1;
        if self.leaves.live() == 0 {
            self.root = self.leaves.put(Leaf::empty());
            self.height = 0;
        }
        let (path, mut child) = self.descend(entry.key(), work);
        let mut split = self.insert_into_leaf(child, entry, &mut moved);
        for &(number, at) in path.get(..self.height).unwrap_or(&[]).iter().rev() {
            let Some(inner) = self.inners.get_mut(number) else { return };
            split = match split {
                // Nothing but one entry more: what is known of the others is not looked at.
                None => {
                    inner.widen(at, entry);
                    None
                }
                Some(Split { lower, number: new, upper }) => {
                    inner.set(at, lower);
                    if inner.len() < FAN {
                        moved += inner.insert(at + 1, upper, new);
                        None
                    } else {
                        let mut other = Inner::empty();
                        moved += inner.give(FAN / 2, &mut other);
                        let (into, place) = match at.checked_sub(FAN / 2) {
                            None => (&mut *inner, at),
                            Some(at) => (&mut other, at),
                        };
                        moved += into.insert(place + 1, upper, new);
                        let (lower, upper) = (inner.summary(), other.summary());
                        Some(Split { lower, number: self.inners.put(other), upper })
                    }
                }
            };
            child = number;
        }
        if let Some(Split { lower, number, upper }) = split {
            let mut root = Inner::empty();
            root.insert(0, lower, child);
            root.insert(1, upper, number);
            self.root = self.inners.put(root);
            self.height += 1;
        }
        work.moved += moved;
        work.moved_at_once = work.moved_at_once.max(moved);
    }

    /// Takes an entry out. `false`: it is not there.
    pub(crate) fn remove(&mut self, key: (u64, u32), work: &mut Work) -> bool {
        let (path, number) = self.descend(key, work);
        let Some(leaf) = self.leaves.get_mut(number) else { return false };
        let at = leaf.rank(key);
        if self.len == 0 || at == leaf.len() || leaf.entry(at).key() != key {
            return false;
        }
        let mut moved = leaf.remove(at);
        self.len -= 1;
        let mut below = (leaf.len(), leaf.summary());
        for (level, &(number, at)) in
            path.get(..self.height).unwrap_or(&[]).iter().enumerate().rev()
        {
            let is_leaf = level + 1 == self.height;
            moved += self.settle(number, at, below, is_leaf);
            let Some(inner) = self.inners.get(number) else { break };
            below = (inner.len(), inner.summary());
        }
        self.lower_root();
        work.moved += moved;
        work.moved_at_once = work.moved_at_once.max(moved);
        true
    }

    /// The first entry after `after` that meets `start..=end`.
    pub(crate) fn next(
        &self,
        after: Option<(u64, u32)>,
        (start, end): (u64, u64),
        work: &mut Work,
    ) -> Option<Entry> {
        if self.len == 0 {
            return None;
        }
        let mut path: Path = [(0, 0); HEIGHT_MAX];
        let (mut level, mut number) = (0, self.root);
        // Whether everything left of the path is behind us already.
        let mut bound = after;
        // What meets the interval agrees with it in the upper half: nothing does before this.
        let least = (start & HIGH, 0);
        loop {
            work.nodes += 1;
            if level == self.height {
                let leaf = self.leaves.get(number)?;
                let from = leaf.rank(match bound {
                    None => least,
                    Some((place, tag)) => least.max(match tag.checked_add(1) {
                        Some(tag) => (place, tag),
                        None => (place.saturating_add(1), 0),
                    }),
                });
                for at in from..leaf.len() {
                    let entry = leaf.entry(at);
                    if entry.start > end {
                        return None;
                    }
                    if entry.end >= start {
                        return Some(entry);
                    }
                }
            } else {
                let inner = self.inners.get(number)?;
                let at = inner.child_for(bound.map_or(least, |key| key.max(least)));
                *path.get_mut(level)? = (number, at);
                level += 1;
                if let Some(child) = self.meets(number, at, (start, end))? {
                    (path.get_mut(level - 1)?.1, number) = child;
                    // Only the child that holds the bound has entries before it.
                    bound = bound.filter(|_| child.0 == at);
                    continue;
                }
            }
            bound = None;
            // Up to the first level with another child to look at.
            number = loop {
                let (above, at) = *path.get(level.checked_sub(1)?)?;
                if let Some(child) = self.meets(above, at + 1, (start, end))? {
                    path.get_mut(level - 1)?.1 = child.0;
                    break child.1;
                }
                level -= 1;
            };
        }
    }

    /// The first child at or after `from` that may hold what meets the interval. `None`: nothing in
    /// the tree from there on does.
    fn meets(
        &self,
        number: u32,
        from: usize,
        (start, end): (u64, u64),
    ) -> Option<Option<(usize, u32)>> {
        let inner = self.inners.get(number)?;
        for at in from..inner.len() {
            if inner.starts[at] > end {
                return None;
            }
            if inner.ends[at] >= start {
                return Some(Some((at, inner.children[at])));
            }
        }
        Some(None)
    }

    /// The leaf in which `key` is or would be, and how to get there.
    fn descend(&self, key: (u64, u32), work: &mut Work) -> (Path, u32) {
        let mut path: Path = [(0, 0); HEIGHT_MAX];
        let mut number = self.root;
        for step in path.iter_mut().take(self.height) {
            work.nodes += 1;
            let Some(inner) = self.inners.get(number) else { break };
            let at = inner.child_for(key);
            *step = (number, at);
            number = inner.children[at];
        }
        work.nodes += 1;
        (path, number)
    }

    fn insert_into_leaf(&mut self, number: u32, entry: Entry, moved: &mut u64) -> Option<Split> {
        let leaf = self.leaves.get_mut(number)?;
        let at = leaf.rank(entry.key());
        if leaf.len() < LEAF {
            *moved += leaf.insert(at, entry);
            return None;
        }
        let mut other = Leaf::empty();
        *moved += leaf.give(LEAF / 2, &mut other);
        *moved += match at.checked_sub(LEAF / 2) {
            Some(at) if at > 0 => other.insert(at, entry),
            _ => leaf.insert(at, entry),
        };
        let (lower, upper) = (leaf.summary(), other.summary());
        Some(Split { lower, number: self.leaves.put(other), upper })
    }

    /// Brings a parent up to date after its child at `at` lost an entry: takes the child out if it
    /// is empty, joins it with a neighbour if both have few.
    fn settle(
        &mut self,
        parent: u32,
        at: usize,
        (len, summary): (usize, Summary),
        is_leaf: bool,
    ) -> u64 {
        let Some(inner) = self.inners.get_mut(parent) else { return 0 };
        let number = inner.children[at];
        if len == 0 {
            let moved = inner.remove(at);
            if is_leaf {
                self.leaves.free(number);
            } else {
                self.inners.free(number);
            }
            return moved;
        }
        inner.set(at, summary);
        let low = if is_leaf { LEAF_LOW } else { FAN_LOW };
        if len > low || inner.len() < 2 {
            return 0;
        }
        let left = if at + 1 < inner.len() { at } else { at - 1 };
        let pair = (inner.children[left], inner.children[left + 1]);
        let joined = if is_leaf {
            join(&mut self.leaves, pair, LEAF, |leaf| (leaf.len(), leaf.summary()), Leaf::give)
        } else {
            join(&mut self.inners, pair, FAN, |inner| (inner.len(), inner.summary()), Inner::give)
        };
        let Some((summary, moved)) = joined else { return 0 };
        let Some(inner) = self.inners.get_mut(parent) else { return moved };
        inner.set(left, summary);
        moved + inner.remove(left + 1)
    }

    /// A root with one child is none.
    fn lower_root(&mut self) {
        while self.height > 0 {
            let Some(root) = self.inners.get(self.root) else { return };
            match (root.len(), root.children[0]) {
                (0, _) => self.height = 0,
                (1, child) => {
                    self.inners.free(self.root);
                    (self.root, self.height) = (child, self.height - 1);
                }
                _ => return,
            }
        }
        if self.len == 0 {
            (self.leaves, self.inners) = (Pool::new(), Pool::new());
        }
    }
}

/// Moves what the second of two neighbours has to the first, if three quarters of a node hold it.
fn join<T: Node + Clone>(
    pool: &mut Pool<T>,
    (left, right): (u32, u32),
    room: usize,
    known: impl Fn(&T) -> (usize, Summary),
    give: impl Fn(&mut T, usize, &mut T) -> u64,
) -> Option<(Summary, u64)> {
    if known(pool.get(left)?).0 + known(pool.get(right)?).0 > room * 3 / 4 {
        return None;
    }
    let mut from = pool.get(right)?.clone();
    let to = pool.get_mut(left)?;
    let moved = give(&mut from, 0, to);
    let summary = known(to).1;
    pool.free(right);
    Some((summary, moved))
}

#[cfg(test)]
mod tests;
