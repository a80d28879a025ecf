//! Rendering real frames, cut frames and lying frames.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::{hexdump, render};
use crate::headers;
use crate::space::Space;

fn witness(space: &Space) -> Vec<u8> {
    space.witness().unwrap().unwrap()
}

fn rendered(space: &Space) -> String {
    render(&witness(space))
}

#[test]
fn known_packets_are_named() {
    let (here, there) = ([10, 0, 2, 15], [10, 0, 2, 2]);
    assert_eq!(
        rendered(&headers::udp_from_to((there, 1), (here, 7777))),
        "IPv4 10.0.2.2:1 > 10.0.2.15:7777 UDP, 38 bytes"
    );
    assert_eq!(
        rendered(&headers::tcp6_to([0xfe; 16], 80)),
        "IPv6 [::]:0 > [fefe:fefe:fefe:fefe:fefe:fefe:fefe:fefe]:80 TCP, 58 bytes"
    );
    assert_eq!(
        rendered(&headers::arp_for(here)),
        "ARP who has 10.0.2.15? tell 0.0.0.0 at 00:00:00:00:00:00, 42 bytes"
    );
    let mut ping = witness(&headers::icmp_echo_to(here));
    ping.push(0);
    assert_eq!(render(&ping), "IPv4 0.0.0.0 > 10.0.2.15 ICMP echo request, 36 bytes");
}

#[test]
fn what_is_wrong_is_said() {
    let mut frame = witness(&headers::udp_to([10, 0, 2, 15], 7777));
    frame[14] = 0x46;
    assert_eq!(
        render(&frame),
        "IPv4 0.0.0.0 > 10.0.2.15 UDP, ports cut off, 4 bytes of options, 38 bytes"
    );
    frame[14] = 0x42;
    assert!(render(&frame).contains("header length 2 (invalid)"), "{}", render(&frame));
    frame[14] = 0x45;
    frame[21] = 1;
    assert_eq!(render(&frame), "IPv4 0.0.0.0 > 10.0.2.15 UDP, fragment at 8, 38 bytes");
    frame.splice(12..12, [0x81, 0, 0x20, 7]);
    assert_eq!(render(&frame), "VLAN 7 IPv4 0.0.0.0 > 10.0.2.15 UDP, fragment at 8, 42 bytes");
}

#[test]
fn any_bytes_at_all_are_rendered() {
    for ethertype in [0x0800u16, 0x0806, 0x86dd, 0x8100, 0x88b5] {
        for fill in [0, 0x45, 0xff] {
            let mut frame = vec![fill; 1522];
            frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
            for length in (0..80).chain([1522]) {
                assert!(render(&frame[..length]).ends_with(" bytes"));
            }
        }
    }
}

#[test]
fn a_dump_shows_every_byte() {
    let dump = hexdump(b"0123456789abcdefXY\x00");
    assert_eq!(
        dump,
        "0000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  0123456789abcdef\n\
         0010  58 59 00                                          XY.\n"
    );
    assert_eq!(hexdump(&[]), "");
}
