//! The handlers, run by the reference interpreter on real frames.
//!
//! Every reply is compared with the frame that a faithful host would have built from scratch, so
//! that a checksum that was updated wrongly cannot hide.
#![cfg(test)]

use abi::limits::PROGRAM_SLOTS_MAX;
use ebpf::interp::{NoHelpers, run_packet};
use ebpf::{Kind, Program};
use libos::program::{assemble, mac_words, word};
use sluice_libos_net::checksum::internet;
use sluice_libos_net::frames::{ArpMessage, Path, icmp, ipv4, udp};

const DROP: u64 = 1;
const PASS: u64 = 2;
const TX: u64 = 3;

const MAC: [u8; 6] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];
const IP: [u8; 4] = [10, 0, 2, 15];
const THERE: Path = Path {
    source_mac: [0x52, 0x54, 0x00, 0x00, 0x00, 0x99],
    destination_mac: MAC,
    source: [10, 0, 2, 99],
    destination: IP,
};
const BACK: Path = Path {
    source_mac: MAC,
    destination_mac: THERE.source_mac,
    source: IP,
    destination: THERE.source,
};

const LENGTHS: [usize; 9] = [0, 1, 2, 3, 31, 32, 999, 1000, 1432];

fn handler(text: &str) -> Program {
    let (low, high) = mac_words(MAC);
    let values = [("IP", word(IP)), ("MAC_LOW", low), ("MAC_HIGH", high)];
    let bytes = assemble(Kind::Ash, text, &values).unwrap();
    ebpf::decode(&bytes, Kind::Ash, PROGRAM_SLOTS_MAX).unwrap()
}

fn echo() -> Program {
    handler(include_str!("../../examples/ash/echo.s"))
}

fn ping() -> Program {
    handler(include_str!("../netd/src/ping.s"))
}

fn arp() -> Program {
    handler(include_str!("../netd/src/arp.s"))
}

/// The verdict, and the frame as the handler left it.
fn run(program: &Program, frame: &[u8]) -> (u64, Vec<u8>) {
    let mut frame = frame.to_vec();
    let verdict = run_packet(program, &mut frame, &mut NoHelpers, 4096).unwrap();
    (verdict, frame)
}

fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 + 1) as u8).collect()
}

/// Sets the TTL and puts the header checksum right.
fn with_ttl(mut frame: Vec<u8>, ttl: u8) -> Vec<u8> {
    let end = 14 + usize::from(frame[14] & 15) * 4;
    frame[22] = ttl;
    frame[24..26].fill(0);
    let sum = internet(&[&frame[14..end]]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// Truncations, single changed bytes, and noise: never a trap, always a verdict that is an action.
fn never_traps(program: &Program, frame: &[u8], otherwise: u64) {
    for length in 14..frame.len().min(42) {
        assert_eq!(run(program, &frame[..length]).0, otherwise, "cut to {length}");
    }
    for length in 14..=frame.len() {
        assert!(matches!(run(program, &frame[..length]).0, DROP | PASS | TX));
    }
    let mut state = 0x1234_5678_9abc_def0u64;
    for _ in 0..3000 {
        let mut other = frame.to_vec();
        for _ in 0..1 + state % 4 {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            let place = (state >> 33) as usize % other.len();
            other[place] = (state >> 20) as u8;
        }
        other.truncate(14 + (state >> 40) as usize % (other.len() - 13));
        assert!(matches!(run(program, &other).0, DROP | PASS | TX));
    }
}

#[test]
fn echo_answers_as_a_host_would() {
    for options in [0, 4, 20, 40] {
        for length in LENGTHS {
            let (options, data) = (vec![1; options], payload(length));
            let Some(asked) = udp(&THERE, (4000, 7), &options, &data) else { continue };
            let told = udp(&BACK, (7, 4000), &options, &data).unwrap();
            assert_eq!(run(&echo(), &asked), (TX, told.clone()));
            assert_eq!(run(&echo(), &with_ttl(asked, 3)), (TX, told));
        }
    }
}

#[test]
fn echo_puts_the_checksum_right_for_every_ttl_and_sum() {
    let mut frame = udp(&THERE, (4000, 7), &[], b"x").unwrap();
    for identification in (0..=u16::MAX).step_by(5) {
        frame[18..20].copy_from_slice(&identification.to_be_bytes());
        let asked = with_ttl(frame.clone(), identification as u8);
        let (verdict, told) = run(&echo(), &asked);
        assert_eq!((verdict, told[22], internet(&[&told[14..34]])), (TX, 64, 0));
    }
}

#[test]
fn echo_keeps_a_datagram_without_checksum() {
    let mut asked = udp(&THERE, (4000, 7), &[], b"unchecked").unwrap();
    asked[40..42].fill(0);
    let (verdict, told) = run(&echo(), &asked);
    assert_eq!((verdict, &told[40..42]), (TX, &[0, 0][..]));
}

#[test]
fn echo_drops_what_it_must_not_answer() {
    let good = udp(&THERE, (4000, 7), &[], b"hello").unwrap();
    let changed = |place: usize, value: u8| {
        let mut frame = good.clone();
        frame[place] = value;
        run(&echo(), &frame).0
    };
    assert_eq!(changed(0, 0xff), DROP, "to a group");
    assert_eq!(changed(13, 0x06), DROP, "not IPv4");
    assert_eq!(changed(14, 0x65), DROP, "version 6");
    assert_eq!(changed(14, 0x44), DROP, "header of 16 bytes");
    assert_eq!(changed(14, 0x4f), DROP, "header beyond the frame");
    assert_eq!(changed(20, 0x20), DROP, "more fragments");
    assert_eq!(changed(21, 0x01), DROP, "later fragment");
    assert_eq!(changed(20, 0x40), TX, "do not fragment");
    assert_eq!(changed(23, 6), DROP, "not UDP");
    assert_eq!(changed(17, 200), DROP, "longer than the frame");
    assert_eq!(changed(16, 0xff), DROP, "longer than any frame");
    let loops = udp(&THERE, (7, 7), &[], b"echo to echo").unwrap();
    assert_eq!(run(&echo(), &loops), (DROP, loops));
    never_traps(&echo(), &udp(&THERE, (4000, 7), &[1; 24], b"hello").unwrap(), DROP);
}

#[test]
fn ping_answers_as_a_host_would() {
    for options in [0, 4, 20, 40] {
        for length in LENGTHS {
            let (options, data) = (vec![1; options], payload(length));
            let word = [0x12, 0x34, 0x00, length as u8];
            let asked = icmp(&THERE, (8, 0), word, &options, &data).unwrap();
            let told = icmp(&BACK, (0, 0), word, &options, &data).unwrap();
            assert_eq!(run(&ping(), &asked), (TX, told.clone()));
            assert_eq!(run(&ping(), &with_ttl(asked, 255)), (TX, told));
        }
    }
}

#[test]
fn ping_puts_every_checksum_right() {
    for number in (0..=u16::MAX).step_by(3) {
        let [high, low] = number.to_be_bytes();
        let asked = icmp(&THERE, (8, 0), [high, low, 0, 1], &[], b"").unwrap();
        let (verdict, told) = run(&ping(), &asked);
        assert_eq!((verdict, internet(&[&told[34..]])), (TX, 0), "{number}");
    }
}

#[test]
fn ping_passes_on_what_is_no_question() {
    for kind in [(0, 0), (3, 1), (8, 1), (11, 0), (13, 0)] {
        let other = icmp(&THERE, kind, [0; 4], &[], b"data").unwrap();
        assert_eq!(run(&ping(), &other), (PASS, other));
    }
    let short = ipv4(&THERE, 1, &[], &[&[8, 0, 0, 0]]).unwrap();
    assert_eq!(run(&ping(), &short), (PASS, short));
    let mut broadcast = icmp(&THERE, (8, 0), [0; 4], &[], b"smurf").unwrap();
    broadcast[..6].fill(0xff);
    assert_eq!(run(&ping(), &broadcast).0, PASS);
    never_traps(&ping(), &icmp(&THERE, (8, 0), [0; 4], &[1; 8], b"data").unwrap(), PASS);
}

#[test]
fn arp_tells_who_asks() {
    let asker = (THERE.source_mac, THERE.source);
    let told = ArpMessage { operation: 2, sender: (MAC, IP), target: asker }.frame();
    let asked = ArpMessage::request(asker, IP).frame();
    assert_eq!(run(&arp(), &asked), (TX, told.clone()));
    let padding = vec![0; 18];
    let (asked, told) = ([asked, padding.clone()].concat(), [told, padding].concat());
    assert_eq!(run(&arp(), &asked), (TX, told));
    // RFC 5227: a probe has no address of its own yet.
    let probe = ArpMessage::request((THERE.source_mac, [0; 4]), IP).frame();
    assert_eq!(run(&arp(), &probe).0, TX);
    never_traps(&arp(), &asked, PASS);
}

#[test]
fn arp_passes_on_what_is_not_its_to_answer() {
    let asker = (THERE.source_mac, THERE.source);
    let passes = |frame: Vec<u8>| assert_eq!(run(&arp(), &frame), (PASS, frame));
    passes(ArpMessage::request(asker, [10, 0, 2, 16]).frame());
    passes(ArpMessage { operation: 2, sender: asker, target: (MAC, IP) }.frame());
    passes(ArpMessage::request((THERE.source_mac, IP), IP).frame());
    passes(ArpMessage::request(([0xff; 6], THERE.source), IP).frame());
    let good = ArpMessage::request(asker, IP).frame();
    for place in [6, 11, 12, 14, 16, 18, 19, 20, 38, 41] {
        let mut other = good.clone();
        other[place] ^= 0x40;
        passes(other);
    }
}
