//! Lanes over-approximate their rules, exactly where they say so; graphs lead where they must.

use alloc::vec::Vec;

use flow::expr;

use super::{HashKey, Lane, Plan, SplitRule};
use crate::limits::KEY_WORDS_MAX;
use runtime::native::dispatch::Layout;

const TEXTS: [&str; 14] = [
    "any",
    "arp",
    "ether proto 0x88b5 and greater 100",
    "ether proto 0x88b5 and less 99",
    "udp and dst port 53",
    "udp and dst portrange 50-60",
    "tcp and src host 10.0.2.2 and src port 99 and dst host 10.0.2.17 and dst port 81",
    "ip and dst net 10.0.0.0/9",
    "ip6 and tcp and src host fe80::1 and dst host fe80::2 and dst port 80 and src port 9",
    "vlan 7 and ip and udp and dst port 53",
    "ip[6:2] & 0x1fff == 0",
    "ether[20] in 0x00-0x13",
    "ether[12:4] == 0x08004500 and ether[16:4] == 0x01020304 and ether[20:4] == 0x05060708",
    "ether[60:4] == 1 and ether[64:4] == 2 and ether[70:2] & 0x0ff0 == 0x0120",
];

/// A rule's witness, and that with bytes changed and length changed.
fn near(witness: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for at in 0..witness.len() {
        for change in [1, 0x0f, 0x80, 0xff] {
            let mut frame = witness.to_vec();
            frame[at] ^= change;
            frames.push(frame);
        }
    }
    for length in [14, witness.len() - 1, witness.len() + 1, 98, 99, 100, 101, 1522] {
        let mut frame = witness.to_vec();
        frame.resize(length, 0);
        frames.push(frame);
    }
    frames
}

fn split(text: &str) -> Vec<SplitRule> {
    let space = expr::parse(text).unwrap().to_space().unwrap();
    space.rules().iter().map(|rule| SplitRule::of(rule).unwrap()).collect()
}

/// All values looked up.
fn keyed(rule: &SplitRule) -> Option<Lane> {
    let single = Lane::single(&rule.shape, &rule.values);
    let other: Vec<u8> = rule.values.iter().map(|value| !value).collect();
    Some(Lane::new(rule.shape.clone(), single.widened(&other)?, true))
}

#[test]
fn a_frame_in_the_rule_has_its_key_and_only_if_exact_the_converse_holds() {
    let mut inexact = 0;
    let mut lanes = 0;
    for text in TEXTS {
        let space = expr::parse(text).unwrap().to_space().unwrap();
        for rule in space.rules() {
            let split = SplitRule::of(rule).unwrap();
            inexact += usize::from(!split.exact);
            let witness = rule.witness().unwrap().unwrap();
            let single = Lane::single(&split.shape, &split.values);
            for lane in [Some(single), keyed(&split)].into_iter().flatten() {
                lanes += 1;
                assert!(lane.fits(&split.values));
                let key = lane.pack(&split.values);
                let mut values = Vec::new();
                lane.unpack(&key, &mut values);
                assert_eq!(values, split.values);
                assert_eq!(lane.key_of(&witness), Some(key), "{text}");
                for frame in near(&witness) {
                    let hit = lane.key_of(&frame) == Some(key);
                    let inside = rule.matches(&frame);
                    assert!(hit || !inside, "{text}: a frame of the rule is missed: {lane}");
                    assert!(inside || !hit || !split.exact, "{text}: not exact: {lane}");
                }
            }
        }
    }
    assert!(inexact > 0 && lanes > 20);
}

#[test]
fn equal_tests_make_one_shape_whatever_the_values() {
    let shape = |text: &str| split(text).remove(0).shape;
    assert_eq!(shape("ip and udp and dst port 1"), shape("ip and udp and dst port 65535"));
    assert_ne!(shape("ip and udp and dst port 1"), shape("ip and udp and src port 1"));
    assert_ne!(shape("ip and dst net 10.0.0.0/8"), shape("ip and dst net 10.0.0.0/9"));
}

#[test]
fn what_has_no_room_in_a_key_is_left_to_the_residual() {
    let tests: Vec<_> = (20..120).map(|at| alloc::format!("ether[{at}] == {}", at % 7)).collect();
    let rule = split(&tests.join(" and ")).remove(0);
    assert!(!rule.exact);
    assert_eq!(rule.shape.min_length, 120);
    let single = Lane::single(&rule.shape, &rule.values);
    assert_eq!(single.layout, Layout::Single);
    assert!(keyed(&rule).is_none(), "the class bytes too are more than a key holds");
    let mut others = rule.values.clone();
    for (value, test) in others.iter_mut().zip(&rule.shape.tests) {
        *value ^= if super::is_class(test.cell) { 0 } else { 1 };
    }
    let lane = Lane::new(rule.shape.clone(), single.widened(&others).unwrap(), true);
    assert_eq!(lane.words(), KEY_WORDS_MAX);
}

#[test]
fn a_lane_only_looks_up_what_differs() {
    let layout = |first: &str, second: &str| {
        let (first, second) = (split(first).remove(0), split(second).remove(0));
        let single = Lane::single(&first.shape, &first.values);
        assert_eq!((single.layout, single.words()), (Layout::Single, 0));
        assert!(!single.fits(&second.values));
        let wider = Lane::new(first.shape.clone(), single.widened(&second.values).unwrap(), true);
        assert!(wider.fits(&first.values) && wider.fits(&second.values));
        wider.layout
    };
    let tcp = |host: &str, port: u16| {
        alloc::format!("ip and tcp and src host {host} and src port {port} and dst port 443")
    };
    assert_eq!(
        layout("ip and udp and dst port 80", "ip and udp and dst port 8080"),
        Layout::Direct
    );
    assert_eq!(layout(&tcp("10.0.0.1", 5), &tcp("10.0.0.2", 6)), Layout::Plain);
    let six = |host: &str| alloc::format!("ip6 and tcp and src host {host} and dst port 80");
    assert_eq!(layout(&six("fe80::1"), &six("2001:db8:5:6:7:8:9:a")), Layout::Wide { words: 2 });
}

#[test]
fn the_graph_leads_a_frame_to_every_lane_that_could_hold_it() {
    let rules: Vec<SplitRule> = TEXTS.iter().flat_map(|text| split(text)).collect();
    let lanes: Vec<Lane> =
        rules.iter().map(|rule| Lane::single(&rule.shape, &rule.values)).collect();
    let plan = Plan::new(lanes, HashKey::new(1));
    let mut reached = 0;
    for text in TEXTS {
        let space = expr::parse(text).unwrap().to_space().unwrap();
        for rule in space.rules() {
            let witness = rule.witness().unwrap().unwrap();
            for frame in near(&witness).iter().chain([&witness]) {
                let mut found = Vec::new();
                walk(&plan.graph, frame, &mut found);
                for (at, lane) in plan.lanes.iter().enumerate() {
                    let holds = lane.key_of(frame).is_some();
                    assert!(found.contains(&at) || !holds, "{lane} misses");
                }
                reached += found.len();
            }
        }
    }
    assert!(reached > 100);
}

/// Walks a graph as the code does.
fn walk(block: &super::Block, frame: &[u8], found: &mut Vec<usize>) {
    use super::Step;
    for step in block {
        let goes_on = match step {
            Step::Length(least) => frame.len() >= usize::from(*least),
            Step::Range(range) => {
                (range.low..=range.high).contains(&frame[usize::from(range.offset)])
            }
            Step::Test(window) => window.bits(frame) == Some(window.value),
            Step::Switch(window, cases) => {
                let bits = window.bits(frame).unwrap();
                let case = cases.iter().find(|(value, _)| *value == bits);
                case.into_iter().for_each(|(_, block)| walk(block, frame, found));
                true
            }
            Step::Nested(block) => {
                walk(block, frame, found);
                true
            }
            Step::Look(lane) => {
                found.push(*lane);
                true
            }
        };
        if !goes_on {
            return;
        }
    }
}
