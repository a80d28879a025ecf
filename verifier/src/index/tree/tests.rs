//! The tree against a sorted list that is searched from end to end.

use alloc::collections::BTreeMap;

use super::{Entry, Tree};
use crate::index::work::Work;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }
}

struct Both {
    tree: Tree,
    model: BTreeMap<(u64, u32), u64>,
    work: Work,
}

impl Both {
    fn new() -> Both {
        Both { tree: Tree::new(), model: BTreeMap::new(), work: Work::default() }
    }

    fn insert(&mut self, entry: Entry) {
        if self.model.insert(entry.key(), entry.end).is_none() {
            self.tree.insert(entry, &mut self.work);
        } else {
            let end = self.end(entry.key());
            self.model.insert(entry.key(), end);
        }
    }

    fn end(&mut self, key: (u64, u32)) -> u64 {
        let place = (key.0, key.0);
        let mut after = None;
        while let Some(entry) = self.tree.next(after, place, &mut self.work) {
            if entry.key() == key {
                return entry.end;
            }
            after = Some(entry.key());
        }
        panic!("{key:?} is not in the tree");
    }

    fn remove(&mut self, key: (u64, u32)) {
        let there = self.model.remove(&key).is_some();
        assert_eq!(self.tree.remove(key, &mut self.work), there, "{key:?}");
    }

    fn ask(&mut self, after: Option<(u64, u32)>, (start, end): (u64, u64)) {
        let mut expected = self.model.iter().map(|(&(start, tag), &end)| Entry { start, end, tag });
        let expected = expected.find(|entry| {
            after.is_none_or(|after| entry.key() > after)
                && entry.start <= end
                && entry.end >= start
        });
        let before = self.work.nodes;
        assert_eq!(self.tree.next(after, (start, end), &mut self.work), expected);
        // Three paths, each as long as the tree is high.
        assert!(self.work.nodes - before <= 3 * (self.tree.height as u64 + 1) + 1);
    }
}

fn entry(random: &mut Random, spread: u64) -> Entry {
    let high = random.below(3) << 32;
    let low = random.below(spread);
    let wide = if random.below(4) == 0 { random.below(spread) } else { random.below(3) };
    let end = (low + wide).min(0xffff_ffff);
    Entry { start: high | low, end: high | end, tag: random.below(4) as u32 }
}

#[test]
fn the_tree_answers_as_a_list_does() {
    for (seed, spread, size) in [(1, 40, 60), (2, 2_000, 900), (3, 1 << 32, 3_000), (4, 4, 100)] {
        let mut random = Random(seed);
        let mut both = Both::new();
        for round in 0..4 * size {
            let growing = (round / size) % 2 == 0;
            let one = entry(&mut random, spread);
            match random.below(10) {
                0..=4 if growing => both.insert(one),
                0..=4 => {
                    let from = one.key();
                    let near = both.model.range(from..).next().map(|(&key, _)| key);
                    both.remove(near.unwrap_or(from));
                }
                5 => both.insert(one),
                6 => both.remove(one.key()),
                7 => both.ask(Some(one.key()), (one.start, one.end)),
                8 => both.ask(Some(one.key()), (0, u64::MAX)),
                _ => both.ask(None, (one.start, one.end)),
            }
            assert_eq!(both.tree.len(), both.model.len() as u64);
        }
        while let Some((&key, _)) = both.model.iter().next() {
            both.remove(key);
        }
        assert_eq!((both.tree.len(), both.tree.bytes()), (0, 0));
        assert!(both.work.moved_at_once <= 4096);
    }
}

#[test]
fn sorted_and_equal_places_are_no_worse() {
    let mut both = Both::new();
    for tag in 0..20_000 {
        both.insert(Entry { start: 7, end: 7, tag });
    }
    for low in (100..20_100).rev() {
        both.insert(Entry { start: low, end: low, tag: 1 });
    }
    assert!(both.work.moved_at_once <= 4096, "{:?}", both.work);
    both.ask(Some((7, 10_000)), (7, 7));
    both.ask(Some((7, 19_999)), (7, 7));
    both.ask(None, (20_099, 20_099));
    // Half full at least, as a B+ tree is after insertions in order; 16 bytes are an entry.
    assert!(both.tree.bytes() < 40_000 * 16 * 3, "{}", both.tree.bytes());
    for tag in (0..20_000).rev() {
        both.remove((7, tag));
    }
    both.ask(None, (0, u64::MAX));
    assert!(both.tree.shed());
}
