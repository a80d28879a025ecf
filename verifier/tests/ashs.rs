//! Hand-written ASHs that answer by themselves: proven safe, and they do answer.

mod common;

use common::{Random, program, verify};
use ebpf::interp::{NoHelpers, run_packet};
use ebpf::{Kind, context};
use sluice_verifier::Verified;

const PASS: u64 = context::PASS as u64;
const TX: u64 = context::TX as u64;

fn ash(text: &str) -> Verified {
    verify(program(Kind::Ash, text)).unwrap_or_else(|refusal| panic!("{refusal}"))
}

fn answer(ash: &Verified, frame: &mut [u8]) -> u64 {
    let result = run_packet(ash.program(), frame, &mut NoHelpers, ash.worst_case().into());
    result.unwrap_or_else(|trap| panic!("{trap}"))
}

/// Ethernet and IPv4 with `words` 32-bit words of header, and the payload.
fn ipv4(words: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xaa; 6];
    frame.extend([0xbb; 6]);
    frame.extend([8, 0, 0x40 | words, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0]);
    frame.extend([10, 0, 2, 2, 10, 0, 2, 15]);
    frame.resize(14 + usize::from(words) * 4, 1);
    frame.extend(payload);
    frame
}

fn sum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[test]
fn udp_is_echoed_also_behind_options() {
    let ash = ash(include_str!("../../testdata/verifier/udp_echo.bpf"));
    for words in 5..16 {
        let mut frame = ipv4(words, 17, &[0x1b, 0x58, 0, 7, 0, 12, 9, 9, 1, 2, 3, 4]);
        assert_eq!(answer(&ash, &mut frame), TX);
        assert_eq!(frame[..12], [[0xbb; 6], [0xaa; 6]].concat());
        assert_eq!(frame[26..34], [10, 0, 2, 15, 10, 0, 2, 2]);
        let udp = 14 + usize::from(words) * 4;
        assert_eq!(frame[udp..], [0, 7, 0x1b, 0x58, 0, 12, 9, 9, 1, 2, 3, 4]);
        let mut short = ipv4(words, 17, &[0x1b, 0x58, 0, 7, 0, 12, 9]);
        assert_eq!(answer(&ash, &mut short), PASS);
    }
}

#[test]
fn ping_is_answered_with_a_right_checksum() {
    let ash = ash(include_str!("../../testdata/verifier/icmp_echo.bpf"));
    let mut random = Random(0x0a54_0001);
    for length in 0..400 {
        let mut icmp = vec![8, 0, 0, 0];
        icmp.extend(random.bytes(4 + length));
        let check = !sum(&icmp);
        icmp[2..4].copy_from_slice(&check.to_be_bytes());
        assert_eq!(sum(&icmp), 0xffff);
        let words = 5 + random.below(11) as u8;
        let mut frame = ipv4(words, 1, &icmp);
        assert_eq!(answer(&ash, &mut frame), TX);
        let reply = &frame[14 + usize::from(words) * 4..];
        assert_eq!((reply[0], sum(reply)), (0, 0xffff), "{reply:02x?}");
        assert_eq!(reply[4..], icmp[4..]);
        // A reply is none of ours.
        assert_eq!(answer(&ash, &mut frame), PASS);
    }
}

#[test]
fn arp_is_answered() {
    let ash = ash(include_str!("../../testdata/verifier/arp_reply.bpf"));
    let mut frame = vec![0xff; 6];
    frame.extend([0xbb; 6]);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend([0xbb; 6]);
    frame.extend([10, 0, 2, 2, 0, 0, 0, 0, 0, 0, 10, 0, 2, 15]);
    let mut other = frame.clone();
    other[41] = 16;
    assert_eq!(answer(&ash, &mut other), PASS);
    assert_eq!(answer(&ash, &mut frame), TX);
    let ours = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
    assert_eq!((&frame[..6], &frame[6..12]), (&[0xbb; 6][..], &ours[..]));
    assert_eq!(frame[20..22], [0, 2]);
    assert_eq!((&frame[22..28], &frame[28..32]), (&ours[..], &[10, 0, 2, 15][..]));
    assert_eq!((&frame[32..38], &frame[38..42]), (&[0xbb; 6][..], &[10, 0, 2, 2][..]));
}

#[test]
fn no_frame_makes_them_trap() {
    let mut random = Random(0x0a54_0002);
    for text in [
        include_str!("../../testdata/verifier/udp_echo.bpf"),
        include_str!("../../testdata/verifier/icmp_echo.bpf"),
        include_str!("../../testdata/verifier/arp_reply.bpf"),
    ] {
        let ash = ash(text);
        for _ in 0..5_000 {
            let mut frame = random.frame();
            let action = answer(&ash, &mut frame);
            assert!(action == PASS || action == TX);
        }
    }
}
