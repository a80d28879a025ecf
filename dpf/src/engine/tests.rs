//! Tables under load and under attack.

use alloc::vec::Vec;

use flow::{ByteSet, Cell, Rule};
use runtime::native::HostPages;
use runtime::random::mix;

use super::merge::Merged;
use crate::error::EngineError;
use crate::plan::{HashKey, Key, SplitRule};

/// A rule for a word of `bytes` bytes.
fn rule(word: u64, bytes: u16) -> SplitRule {
    let with = |rule: Rule, at: u16| {
        let byte = (word >> (at % 8 * 8)) as u8;
        rule.with(Cell::frame(30 + at), ByteSet::exact(byte)).unwrap()
    };
    SplitRule::of(&(0..bytes).fold(Rule::any(), with)).unwrap()
}

fn enter(merged: &mut Merged, rule: &SplitRule, pages: &mut HostPages) -> Result<u32, EngineError> {
    merged.admit(core::slice::from_ref(rule), pages)?;
    let shape = merged.shape_of(&rule.shape).unwrap();
    let entry = merged.enter(shape, &rule.values)?;
    // As the engine does with each operation.
    if merged.step() {
        merged.drop_empty(pages);
    }
    Ok(entry)
}

fn find(merged: &Merged, rule: &SplitRule) -> Option<u32> {
    (0..merged.rooms.len()).find_map(|at| {
        let lane = merged.plan.lanes.get(at).filter(|lane| lane.shape == rule.shape)?;
        let key: Key = lane.fits(&rule.values).then(|| lane.pack(&rule.values))?;
        merged.find(at, &key, lane.hash(&merged.plan.key, &key)).unwrap()
    })
}

#[test]
fn many_keys_are_found_while_tables_grow_and_shrink_and_little_moves_at_a_time() {
    for bytes in [2, 3, 6, 8, 12, 30] {
        let mut pages = HostPages::default();
        let mut merged = Merged::new(HashKey::new(3));
        let count = if bytes == 2 { 2_000 } else { 12_000 };
        let mask = if bytes >= 8 { u64::MAX } else { (1 << (bytes * 8)) - 1 };
        let mut words: Vec<u64> = (0..count).map(|n| mix(n) & mask).collect();
        words.sort_unstable();
        words.dedup();
        words.sort_unstable_by_key(|word| mix(*word));
        let rules: Vec<SplitRule> = words.iter().map(|word| rule(*word, bytes)).collect();
        let mut entries = Vec::new();
        for (nth, rule) in rules.iter().enumerate() {
            entries.push(enter(&mut merged, rule, &mut pages).unwrap());
            assert!(merged.moves.now <= 4096, "{} bytes moved", merged.moves.now);
            let earlier = mix(nth as u64) as usize % entries.len();
            assert_eq!(find(&merged, &rules[earlier]), Some(entries[earlier]));
        }
        for (rule, entry) in rules.iter().zip(&entries) {
            assert_eq!(find(&merged, rule), Some(*entry));
        }
        let slots: usize =
            (0..merged.rooms.len()).map(|at| merged.table(at).unwrap().slots()).sum();
        assert!(slots <= words.len() * 40, "{slots} slots for {} keys", words.len());
        assert!(merged.compilations < 30, "{} compilations", merged.compilations);
        for entry in entries.iter().skip(1).step_by(2) {
            merged.leave(*entry);
            merged.step();
        }
        for (nth, (rule, entry)) in rules.iter().zip(&entries).enumerate() {
            assert_eq!(find(&merged, rule), nth.is_multiple_of(2).then_some(*entry));
        }
        let left: usize = merged.rooms.iter().map(|room| room.entries).sum();
        assert_eq!(left, words.len().div_ceil(2));
    }
}

#[test]
fn keys_that_all_fall_together_are_refused_before_the_table_explodes() {
    let mut pages = HostPages::default();
    let mut merged = Merged::new(HashKey::new(4));
    // Six bytes, so that there is a lane of one word; the first two only make it.
    for word in [0x0102_0304_0506, 0x1112_1314_1516] {
        enter(&mut merged, &rule(word, 6), &mut pages).unwrap();
    }
    let secrets = merged.plan.key;
    // Whoever knew the secrets could find these. The six bytes are the upper ones of a load of
    // eight.
    let falls = |word: &u64| secrets.hash(&[*word << 16]) & 0x3fc0_0000_3fc0 == 0;
    let (mut entered, mut refused) = (0, None);
    for word in (0..1_u64 << 26).filter(falls).take(40) {
        match enter(&mut merged, &rule(word, 6), &mut pages) {
            Ok(_) => entered += 1,
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    assert!(matches!(refused, Some(EngineError::Collisions { .. })), "{refused:?}");
    assert!(entered >= 4, "a bucket holds four, {entered}");
    assert_eq!(merged.entries.count(), entered + 2);
    assert!(
        enter(&mut merged, &rule(0xdead_beef, 6), &mut pages).is_ok(),
        "others are not refused"
    );
}

#[test]
fn dense_numbers_are_looked_up_directly_in_whatever_order_they_come() {
    for seed in 0..4_u64 {
        let mut pages = HostPages::default();
        let mut merged = Merged::new(HashKey::new(5));
        let mut ports: Vec<u16> = (1024..4096).collect();
        if seed != 0 {
            ports.sort_unstable_by_key(|port| mix(seed ^ u64::from(*port)));
        }
        for port in &ports {
            enter(&mut merged, &rule(u64::from(port.swap_bytes()), 2), &mut pages).unwrap();
        }
        for port in &ports {
            assert!(find(&merged, &rule(u64::from(port.swap_bytes()), 2)).is_some(), "{port}");
        }
        for _ in 0..400 {
            merged.step();
        }
        merged.drop_empty(&mut pages);
        let layouts = merged.plan.layouts();
        assert_eq!(layouts, [runtime::native::dispatch::Layout::Direct], "seed {seed}");
    }
}
