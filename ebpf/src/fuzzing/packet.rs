//! Packets for generated programs, out of arbitrary bytes.
//!
//! A packet begins as a whole UDP datagram; up to three bytes that decide its sort are changed,
//! then up to three anywhere, so that most packets pass some tests of a generated filter and fail
//! others.

use alloc::vec::Vec;

use super::source::Source;
use crate::limits::{PACKET_MAX, PACKET_MIN};

/// UDP over IPv4 from 10.0.2.2 to 10.0.2.15 port 7777, without payload.
const UDP: [u8; 42] = [
    0x52, 0x54, 0x00, 0x12, 0x34, 0x56, 0x52, 0x55, 0x0a, 0x00, 0x02, 0x02, 0x08,
    0x00, // Ethernet
    0x45, 0x00, 0x00, 0x1c, 0x00, 0x01, 0x40, 0x00, 0x40, 0x11, 0x22, 0xc0, // IPv4
    0x0a, 0x00, 0x02, 0x02, 0x0a, 0x00, 0x02, 0x0f, // addresses
    0x00, 0x01, 0x1e, 0x61, 0x00, 0x08, 0x00, 0x00, // UDP
];

/// Offsets at which one changed byte makes another sort of packet, and such bytes.
const TURNS: [(usize, [u8; 4]); 8] = [
    (12, [0x08, 0x86, 0x81, 0x00]),
    (13, [0x00, 0xdd, 0x06, 0x01]),
    (14, [0x45, 0x46, 0x4f, 0x60]),
    (20, [0x00, 0x20, 0x3f, 0x80]),
    (21, [0x00, 0x01, 0x11, 0xff]),
    (23, [0x11, 0x06, 0x01, 0x3a]),
    (36, [0x1e, 0x00, 0x61, 0xff]),
    (37, [0x61, 0x35, 0x50, 0x00]),
];

/// A packet, with a length from near the header sizes or anywhere.
pub(super) fn packet(bytes: &[u8]) -> Vec<u8> {
    let mut source = Source::new(bytes);
    let length = match source.byte() {
        0..=127 => UDP.len() + usize::from(source.below(32)),
        128..=223 => PACKET_MIN + usize::from(source.below(64)),
        _ => PACKET_MIN + usize::from(source.byte()) * 6,
    };
    let mut packet: Vec<u8> = UDP.to_vec();
    for _ in 0..source.below(4) {
        let (at, values) = source.pick(&TURNS, TURNS[0]);
        let value = source.pick(&values, 0);
        if let Some(byte) = packet.get_mut(at) {
            *byte = value;
        }
    }
    while packet.len() < length.min(PACKET_MAX) {
        packet.push(source.byte());
    }
    packet.truncate(length);
    for _ in 0..source.below(4) {
        let (at, value) = (usize::from(source.byte()), source.byte());
        if let Some(byte) = packet.get_mut(at) {
            *byte = value;
        }
    }
    packet
}

const _: () = assert!(PACKET_MIN + 255 * 6 > PACKET_MAX && UDP.len() > PACKET_MIN);
