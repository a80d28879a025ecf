//! What a receive space lets its owner send.

use sluice_flow::expr::parse;
use sluice_flow::mirror::{Identity, MirrorError, mirror};
use sluice_flow::{Space, headers};

const US: Identity = Identity { mac: [0x52, 0x54, 0, 0x12, 0x34, 0x56] };
const OURS: &str = "ether src 52:54:00:12:34:56";
const HOST: [u8; 4] = [10, 0, 2, 15];

#[track_caller]
fn space(text: &str) -> Space {
    let means = parse(text).map(|expr| expr.to_space());
    match means {
        Ok(Ok(space)) => space,
        other => panic!("{text}: {other:?}"),
    }
}

#[track_caller]
fn assert_mirrors(receive: &Space, transmit: &str) {
    let expected = space(transmit);
    let found = mirror(receive, &US).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(found.subset_of(&expected), Ok(()), "allows more");
    assert_eq!(expected.subset_of(&found), Ok(()), "allows less");
}

#[track_caller]
fn refusal(text: &str) -> &'static str {
    match mirror(&space(text), &US) {
        Err(MirrorError::Ambiguous { why, .. }) => why,
        Ok(space) => panic!("{text} is mirrored as {space:?}"),
    }
}

#[test]
fn a_service_sends_from_its_port_and_address() {
    assert_mirrors(
        &headers::udp_to(HOST, 7777),
        &format!(
            "{OURS} and ip and udp and src host 10.0.2.15 and src port 7777 \
             and ip[6:2] & 0x3fff == 0"
        ),
    );
    assert_mirrors(
        &headers::tcp_from_to(([10, 0, 2, 2], 4000), (HOST, 80)),
        &format!(
            "{OURS} and tcp dst port 4000 and tcp src port 80 and ip src 10.0.2.15 \
             and ip dst 10.0.2.2 and ip[6:2] & 0x3fff == 0"
        ),
    );
    assert_mirrors(
        &space("ip6 and udp dst port 53 and dst host fe80::1"),
        &format!("{OURS} and ip6 and udp src port 53 and src host fe80::1"),
    );
}

#[test]
fn forged_transmissions_are_outside() {
    let guard = mirror(&headers::udp_to(HOST, 7777), &US).unwrap();
    let mut honest = guard.witness().unwrap().unwrap();
    honest.resize(60, 0);
    assert!(guard.contains(&honest));
    let forged = [
        ("source address", 26, 11),
        ("source port", 35, 1),
        ("Ethernet source", 6, 0),
        ("protocol", 23, 6),
        ("later fragment", 21, 1),
        ("more fragments", 20, 0x20),
        ("ethertype", 13, 6),
        ("header length", 14, 0x44),
        ("options that move the port", 14, 0x46),
    ];
    for (what, at, value) in forged {
        let mut frame = honest.clone();
        frame[at] = value;
        assert!(!guard.contains(&frame), "{what}");
    }
    // Time to live, don't-fragment, total length, destination: free.
    for (at, value) in [(22, 9), (20, 0x40), (17, 99), (30, 1), (0, 0xff), (59, 1)] {
        let mut frame = honest.clone();
        frame[at] = value;
        assert!(guard.contains(&frame), "byte {at}");
    }
}

#[test]
fn echo_is_answered_with_reply() {
    assert_mirrors(
        &headers::icmp_echo_to(HOST),
        &format!("{OURS} and icmp[0] == 0 and ip src 10.0.2.15 and ip[6:2] & 0x3fff == 0"),
    );
    assert_mirrors(
        &space("icmp6[0] in 128,135 and ip6 dst host fe80::1"),
        &format!("{OURS} and icmp6[0] in 129,136 and ip6 src host fe80::1"),
    );
}

#[test]
fn arp_answers_with_our_address() {
    assert_mirrors(
        &headers::arp_for(HOST),
        &format!(
            "{OURS} and arp[0:2] == 1 and arp[2:2] == 0x800 and arp[4:2] == 0x604 \
             and arp[6:2] in 1,2 and arp src host 10.0.2.15 \
             and arp[8:4] == 0x52540012 and arp[12:2] == 0x3456"
        ),
    );
    assert_mirrors(
        &space("arp[6:2] == 1 and ether dst ff:ff:ff:ff:ff:ff and ether src 2:0:0:0:0:1"),
        &format!(
            "{OURS} and ether dst 2:0:0:0:0:1 and arp[6:2] == 2 \
             and arp[8:4] == 0x52540012 and arp[12:2] == 0x3456"
        ),
    );
}

#[test]
fn tags_and_unknown_ethertypes_are_kept() {
    assert_mirrors(
        &space("ether proto 0x8100 and vlan 5 and ip and udp dst port 53"),
        &format!(
            "{OURS} and ether proto 0x8100 and vlan 5 and ip and udp src port 53 \
             and ip[6:2] & 0x3fff == 0"
        ),
    );
    assert_mirrors(&space("ether proto 0x88b5"), &format!("{OURS} and ether proto 0x88b5"));
}

#[test]
fn a_fixed_header_length_stays_fixed() {
    assert_mirrors(
        &space("ip[0] == 0x45 and ip and udp dst port 53"),
        &format!("{OURS} and ip[0] == 0x45 and ip and udp src port 53 and ip[6:2] & 0x3fff == 0"),
    );
}

#[test]
fn several_rules_have_several_answers() {
    assert_mirrors(
        &space("ip and udp dst portrange 5-9 and ip dst 10.0.2.15 or arp[6:2] == 1 and greater 42"),
        &format!(
            "{OURS} and ip and udp src portrange 5-9 and ip src 10.0.2.15 \
             and ip[6:2] & 0x3fff == 0 \
             or ({OURS} and arp[6:2] == 2 and arp[8:4] == 0x52540012 and arp[12:2] == 0x3456)"
        ),
    );
}

#[test]
fn what_is_not_known_is_refused() {
    assert!(refusal("any").contains("ethertype"));
    assert!(refusal("ether[12] == 8").contains("ethertype"));
    assert!(refusal("ether proto 0x8100").contains("ethertype"));
    // Ports where a header without options would have them.
    assert!(refusal("ip and ether[36:2] == 53").contains("length"));
    assert!(refusal("ip and ether[2 + ((ether[14] & 0x0f) << 3)] == 53").contains("length"));
    let open =
        "ip and ip[0] >= 0x45 and ip[0] <= 0x4f and ether[16 + ((ether[14] & 0x0f) << 2)] == 0";
    assert!(refusal(open).contains("protocol"));
    assert!(refusal("ip6 and ether[54] == 1").contains("protocol"));
    // Without transport tests the protocol may stay open.
    assert_mirrors(
        &space("ip dst host 10.0.2.15"),
        &format!(
            "{OURS} and ip src host 10.0.2.15 and ip[0] in 0x45-0x4f and ip[6:2] & 0x3fff == 0"
        ),
    );
}
