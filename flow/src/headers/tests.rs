//! What port spaces hold, and what only looks like it.

use alloc::vec;
use alloc::vec::Vec;

use super::{
    PROTOCOL_UDP, Socket4, arp_for, icmp_echo_to, tcp_from_to, tcp_to, tcp6_from_to, tcp6_to,
    udp_from_to, udp_to, udp6_from_to, udp6_to,
};

/// An untagged UDP datagram with `words` 32-bit words of IPv4 header.
fn udp_frame(words: u8, to: Socket4) -> Vec<u8> {
    let mut frame = vec![0; 14 + usize::from(words) * 4 + 8];
    frame[12] = 0x08;
    frame[14] = 0x40 | words;
    frame[23] = PROTOCOL_UDP;
    frame[30..34].copy_from_slice(&to.0);
    let ports = 14 + usize::from(words) * 4;
    frame[ports + 2..ports + 4].copy_from_slice(&to.1.to_be_bytes());
    frame
}

#[test]
fn a_port_is_found_behind_options() {
    let to = ([10, 0, 2, 15], 7777);
    let space = udp_to(to.0, to.1);
    for words in 5..=15 {
        assert!(space.contains(&udp_frame(words, to)), "{words} words");
        assert!(!space.contains(&udp_frame(words, (to.0, 7778))));
    }
    assert!(!tcp_to(to.0, to.1).contains(&udp_frame(5, to)));
}

#[test]
fn a_port_space_refuses_what_only_looks_like_its_port() {
    let to = ([10, 0, 2, 15], 7777);
    let space = udp_to(to.0, to.1);
    let mut frame = udp_frame(5, to);
    // Options that mimic the port where a short header would have it.
    frame[14] = 0x46;
    assert!(!space.contains(&frame));
    // A header length below 5.
    let mut frame = udp_frame(5, to);
    frame[14] = 0x44;
    assert!(!space.contains(&frame));
    // A later fragment; the first fragment is ours.
    let mut frame = udp_frame(5, to);
    frame[20] = 0x20;
    assert!(space.contains(&frame));
    frame[21] = 1;
    assert!(!space.contains(&frame));
    // A VLAN tag, and a frame that ends within the port.
    let mut frame = udp_frame(5, to);
    frame.splice(12..12, [0x81, 0, 0, 1]);
    assert!(!space.contains(&frame));
    assert!(!space.contains(&udp_frame(5, to)[..37]));
    assert!(space.contains(&udp_frame(5, to)[..38]));
}

#[test]
fn a_connection_is_inside_its_listener_and_ports_are_apart() {
    let to = ([10, 0, 2, 15], 80);
    let from = ([10, 0, 2, 2], 40000);
    assert_eq!(tcp_from_to(from, to).subset_of(&tcp_to(to.0, to.1)), Ok(()));
    assert!(tcp_to(to.0, to.1).subset_of(&tcp_from_to(from, to)).is_err());
    assert_eq!(tcp_to(to.0, 80).disjoint_from(&tcp_to(to.0, 81)), Ok(()));
    assert_eq!(tcp_to(to.0, 80).disjoint_from(&udp_to(to.0, 80)), Ok(()));
    assert_eq!(udp_to(to.0, 80).disjoint_from(&icmp_echo_to(to.0)), Ok(()));
    assert_eq!(arp_for(to.0).disjoint_from(&udp6_to([1; 16], 80)), Ok(()));
    assert_eq!(udp6_from_to(([2; 16], 9), ([1; 16], 80)).subset_of(&udp6_to([1; 16], 80)), Ok(()));
    assert!(udp_from_to(from, to).disjoint_from(&udp_to(to.0, to.1)).is_err());
}

#[test]
fn every_builder_has_frames() {
    let all = [
        udp_to([1; 4], 1),
        tcp_to([1; 4], 1),
        udp_from_to(([1; 4], 1), ([2; 4], 2)),
        tcp_from_to(([1; 4], 1), ([2; 4], 2)),
        icmp_echo_to([1; 4]),
        arp_for([1; 4]),
        udp6_to([1; 16], 1),
        tcp6_to([1; 16], 1),
        udp6_from_to(([1; 16], 1), ([2; 16], 2)),
        tcp6_from_to(([1; 16], 1), ([2; 16], 2)),
    ];
    for space in all {
        let frame = space.witness().unwrap().unwrap();
        assert!(space.contains(&frame));
        assert_eq!(space.check(), Ok(()));
    }
}
