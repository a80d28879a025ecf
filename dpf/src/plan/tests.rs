//! Keys over-approximate their rules, and are exact where they say so.

use alloc::vec::Vec;

use flow::expr;

use super::SplitRule;

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

#[test]
fn a_frame_in_the_rule_has_its_key_and_only_if_exact_the_converse_holds() {
    let mut inexact = 0;
    for text in TEXTS {
        let space = expr::parse(text).unwrap().to_space().unwrap();
        for rule in space.rules() {
            let split = SplitRule::of(rule);
            inexact += usize::from(!split.exact);
            let witness = rule.witness().unwrap().unwrap();
            assert_eq!(split.shape.key_of(&witness), Some(split.key), "{text}");
            for frame in near(&witness) {
                let hit = split.shape.key_of(&frame) == Some(split.key);
                let inside = rule.matches(&frame);
                assert!(hit || !inside, "{text}: a frame of the rule is missed: {}", split.shape);
                assert!(inside || !hit || !split.exact, "{text}: not exact: {}", split.shape);
            }
        }
    }
    assert!(inexact > 0);
}

#[test]
fn equal_tests_make_one_shape_whatever_the_values() {
    let shape = |text: &str| {
        let space = expr::parse(text).unwrap().to_space().unwrap();
        SplitRule::of(&space.rules()[0]).shape
    };
    assert_eq!(shape("ip and udp and dst port 1"), shape("ip and udp and dst port 65535"));
    assert_ne!(shape("ip and udp and dst port 1"), shape("ip and udp and src port 1"));
    assert_ne!(shape("ip and dst net 10.0.0.0/8"), shape("ip and dst net 10.0.0.0/9"));
}

#[test]
fn what_has_no_room_in_the_key_is_left_to_the_residual() {
    let tests: Vec<_> = (20..120).map(|at| alloc::format!("ether[{at}] == {}", at % 7)).collect();
    let space = expr::parse(&tests.join(" and ")).unwrap().to_space().unwrap();
    let split = SplitRule::of(&space.rules()[0]);
    assert!(!split.exact);
    assert_eq!(split.shape.words(), crate::limits::KEY_WORDS_MAX);
    assert_eq!(split.shape.min_length, 120);
}
