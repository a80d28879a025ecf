//! Tables that grow, close and empty under packets: after each change generated code, interpreted
//! plan and a plain list say the same.

use flow::{ByteSet, Cell, Rule};
use runtime::native::HostPages;
use runtime::random::mix;
use sluice_dpf::fuzzing::Bare;
use sluice_dpf::{HashKey, Verdict};
use verifier::{BindingId, GrantId};

/// Where the bytes that tell rules apart begin.
const AT: u16 = 30;

fn key(number: u64, bytes: usize) -> Vec<u8> {
    (0..bytes as u64)
        .map(|at| mix(mix(number + 1) ^ (at / 8)).to_le_bytes()[at as usize % 8])
        .collect()
}

fn rule(key: &[u8]) -> Rule {
    (AT..).zip(key).fold(Rule::any(), |rule, (at, byte)| {
        rule.with(Cell::frame(at), ByteSet::exact(*byte)).unwrap_or_else(|| panic!("empty"))
    })
}

fn frame(key: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xee; 80];
    frame[usize::from(AT)..usize::from(AT) + key.len()].copy_from_slice(key);
    frame
}

/// What the engine must say: a binding's number, or nobody.
fn check(bare: &Bare, frame: &[u8], expected: Option<u32>) {
    let expected = expected.map_or(Verdict::Unbound(Some(GrantId::ROOT)), |number| {
        Verdict::Bound(BindingId::from_raw(1 << 32 | u64::from(number)))
    });
    assert_eq!(bare.engine().classify(frame), expected, "code");
    assert_eq!(bare.engine().classify_interpreted(frame), expected, "plan");
}

#[test]
fn code_and_plan_agree_with_a_list_while_tables_grow_and_empty() {
    for bytes in [1_usize, 2, 3, 4, 6, 8, 12, 16, 36, 40] {
        let mut pages = HostPages::default();
        let mut bare = Bare::new(HashKey::new(bytes as u64));
        let mut keys: Vec<Vec<u8>> = (0..1_500).map(|number| key(number, bytes)).collect();
        // The key of zeros is what slots that were never used have.
        keys.insert(700, vec![0; bytes]);
        let mut there: Vec<(u32, Vec<u8>)> = vec![];
        for (number, key) in (0_u32..).zip(&keys) {
            if there.iter().any(|(_, known)| known == key) {
                continue;
            }
            bare.insert(&[rule(key)], (1, number), &mut pages).unwrap();
            there.push((number, key.clone()));
            for pick in 0..3 {
                let (number, key) =
                    &there[mix(u64::from(number) << 2 | pick) as usize % there.len()];
                check(&bare, &frame(key), Some(*number));
            }
            let mut absent = key.clone();
            absent[bytes - 1] ^= 1 << (number % 8);
            let owner = there.iter().find(|(_, known)| *known == absent);
            check(&bare, &frame(&absent), owner.map(|(number, _)| *number));
        }
        let frames: Vec<Vec<u8>> = there.iter().map(|(_, key)| frame(key)).collect();
        let slices: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let mut verdicts = vec![Verdict::Unbound(None); slices.len()];
        bare.engine().classify_batch(&slices, &mut verdicts);
        for (frame, verdict) in frames.iter().zip(verdicts) {
            assert_eq!(bare.engine().classify(frame), verdict);
        }
        assert!(bare.engine().stats().moved_worst <= 4096);
        while let Some((number, key)) = there.pop() {
            assert!(bare.remove(number, &mut pages));
            check(&bare, &frame(&key), None);
            if let Some((number, key)) = there.get(mix(u64::from(number)) as usize % 2_000) {
                check(&bare, &frame(key), Some(*number));
            }
        }
        let stats = bare.engine().stats();
        assert_eq!((stats.entries, stats.lanes, stats.slots), (0, 0, 0), "{bytes} bytes");
    }
}

#[test]
fn the_same_rules_in_another_order_make_the_same_verdicts() {
    let keys: Vec<Vec<u8>> = (0..400).map(|number| key(number, 6)).collect();
    let frames: Vec<Vec<u8>> = keys.iter().map(|key| frame(key)).collect();
    let mut first: Vec<Verdict> = vec![];
    for seed in 0..4_u64 {
        let mut order: Vec<u32> = (0..400).collect();
        order.sort_unstable_by_key(|number| mix(seed << 32 | u64::from(*number)));
        let (mut pages, mut bare) = (HostPages::default(), Bare::new(HashKey::new(seed)));
        for number in order {
            bare.insert(&[rule(&keys[number as usize])], (1, number), &mut pages).unwrap();
        }
        let verdicts: Vec<Verdict> =
            frames.iter().map(|frame| bare.engine().classify(frame)).collect();
        if first.is_empty() {
            first = verdicts;
        } else {
            assert_eq!(first, verdicts);
        }
    }
}

#[test]
fn the_engine_says_why_and_shows_its_code() {
    let (mut pages, mut bare) = (HostPages::default(), Bare::new(HashKey::new(1)));
    for number in 0..20 {
        bare.insert(&[rule(&key(number.into(), 6))], (1, number), &mut pages).unwrap();
    }
    let engine = bare.engine();
    let why = engine.why(&frame(&key(3, 6)));
    assert_eq!(why.verdict, engine.classify(&frame(&key(3, 6))));
    assert!(why.to_string().contains("accepts"), "{why}");
    let nobody = engine.why(&frame(&key(33, 6)));
    assert!(nobody.to_string().contains("nobody"), "{nobody}");
    let dump = engine.dump();
    assert!(dump.contains("20 keys") && dump.contains("cmove") && dump.contains("ret"), "{dump}");
    assert!(engine.graphviz().contains("lane 0"), "{}", engine.graphviz());
    assert!(engine.why(&[0; 4]).to_string().contains("no frame"));
}
