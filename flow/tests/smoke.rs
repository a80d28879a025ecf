//! Every fuzzing body, for a second on bytes of a generator that always gives the same.

use std::time::{Duration, Instant};

use sluice_flow::fuzzing;

/// Words that make random text reach beyond the first error.
const WORDS: [&str; 32] = [
    "udp ",
    "ip ",
    "ip6 ",
    "vlan ",
    "and ",
    "or ",
    "not ",
    "( ",
    ") ",
    "dst port ",
    "src host ",
    "10.0.2.15 ",
    "53 ",
    "ip[6:2] ",
    "ether[36] ",
    "& 0x1f ",
    "== ",
    "!= ",
    "in 1-20,7 ",
    "less ",
    "greater ",
    "arp ",
    "any ",
    "portrange 5-900 ",
    "tcp[13] ",
    "icmp[0] ",
    "host fe80::1 ",
    "net ",
    "10.0.0.0/8 ",
    "ether proto ",
    "0x800 ",
    "ether[2 + ((ether[14] & 0x0f) << 2)] ",
];

fn for_a_second(mut body: impl FnMut(&mut dyn FnMut() -> u64)) {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let start = Instant::now();
    let mut runs = 0u32;
    while start.elapsed() < Duration::from_secs(1) {
        body(&mut next);
        runs += 1;
    }
    assert!(runs > 0);
}

#[test]
fn spaces() {
    for_a_second(|next| {
        let bytes: Vec<u8> = (0..32).flat_map(|_| next().to_le_bytes()).collect();
        fuzzing::spaces_any(&bytes);
    });
}

#[test]
fn expressions() {
    for_a_second(|next| {
        let count = next() % 14;
        let words = (0..count).map(|_| WORDS[(next() >> 20) as usize % WORDS.len()]);
        fuzzing::expression_any(words.collect::<String>().as_bytes());
        let bytes: Vec<u8> = (0..4).flat_map(|_| next().to_le_bytes()).collect();
        fuzzing::expression_any(&bytes);
    });
}
