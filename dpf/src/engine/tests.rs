//! Tables under load and under attack.

use alloc::vec::Vec;

use flow::Rule;
use runtime::native::HostPages;
use runtime::random::mix;

use super::merge::Merged;
use crate::error::EngineError;
use crate::plan::{HashKey, Key, SplitRule};

/// A state with one shape of one key word.
fn one_shape(key: HashKey, pages: &mut HostPages) -> (Merged, usize) {
    let rule = (0..8).fold(Rule::any(), |rule, at| {
        rule.with(flow::Cell::frame(20 + at), flow::ByteSet::exact(1)).unwrap()
    });
    let shape = SplitRule::of(&rule).shape;
    assert_eq!(shape.words(), 1);
    let mut merged = Merged::new(key);
    merged.reshape(core::slice::from_ref(&shape), pages).unwrap();
    let number = merged.number_of(&shape).unwrap();
    (merged, number)
}

fn key(word: u64) -> Key {
    [word, 0, 0, 0, 0, 0]
}

#[test]
fn many_keys_are_found_while_the_table_grows_and_shrinks() {
    let mut pages = HostPages::default();
    let hash = HashKey::new(3);
    let (mut merged, number) = one_shape(hash, &mut pages);
    let words: Vec<u64> = (0..30_000).map(mix).collect();
    let entries: Vec<usize> =
        words.iter().map(|word| merged.enter(number, key(*word)).unwrap()).collect();
    let find = |merged: &Merged, word: u64| merged.find(0, &key(word), hash.hash(&[word]));
    for (word, entry) in words.iter().zip(&entries) {
        assert_eq!(find(&merged, *word), Some(*entry));
    }
    let slots = merged.table(0).unwrap().slots();
    assert!(slots <= words.len() * 4, "{slots} slots for {} keys", words.len());
    for entry in entries.iter().skip(1).step_by(2) {
        merged.leave(*entry);
    }
    for (nth, (word, entry)) in words.iter().zip(&entries).enumerate() {
        assert_eq!(find(&merged, *word), nth.is_multiple_of(2).then_some(*entry));
    }
    assert_eq!(merged.entries_in(0), words.len() / 2);
}

#[test]
fn keys_that_all_fall_together_are_refused_before_the_table_explodes() {
    let mut pages = HostPages::default();
    let hash = HashKey::new(4);
    let (mut merged, number) = one_shape(hash, &mut pages);
    // Whoever knew the secret could find these.
    let together = (0..).filter(|word| hash.hash(&[*word]) & 0xff_0000_00ff == 0);
    let mut entered = 0;
    let mut refused = None;
    for word in together.take(12) {
        match merged.enter(number, key(word)) {
            Ok(_) => entered += 1,
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    assert!(matches!(refused, Some(EngineError::Collisions { .. })), "{refused:?}");
    assert!(entered >= 4, "a bucket holds four, {entered}");
    assert_eq!(merged.entries_in(0), entered);
    assert!(merged.enter(number, key(0xdead_beef)).is_ok(), "others are not refused");
}
