//! Expressions: what they mean, where they fail, and that descriptions mean what they describe.

mod world;

use proptest::prelude::*;
use sluice_flow::expr::{describe, parse};
use sluice_flow::{FlowError, Space, headers, limits};

const HOST: [u8; 4] = [10, 0, 2, 15];

#[track_caller]
fn space(text: &str) -> Space {
    match parse(text) {
        Ok(expr) => expr.to_space().unwrap_or_else(|error| panic!("{text}: {error}")),
        Err(error) => panic!("{text}: {error}"),
    }
}

#[track_caller]
fn assert_same(left: &Space, right: &Space) {
    assert_eq!(left.subset_of(right), Ok(()), "left is larger");
    assert_eq!(right.subset_of(left), Ok(()), "right is larger");
}

#[track_caller]
fn assert_means(text: &str, expected: &Space) {
    assert_same(&space(text), expected);
}

#[test]
fn the_builders_have_names() {
    assert_means(
        "ip and udp and dst host 10.0.2.15 and dst port 7777",
        &headers::udp_to(HOST, 7777),
    );
    assert_means("tcp dst port 80 and ip dst host 10.0.2.15", &headers::tcp_to(HOST, 80));
    assert_means("ip dst 10.0.2.15 && icmp[icmptype] == icmp-echo", &headers::icmp_echo_to(HOST));
    assert_means(
        "arp dst host 10.0.2.15 and arp[0:2] == 1 and arp[2:2] == 0x0800 and arp[4:2] = 0x604 \
         and arp[6:2] in 1,2",
        &headers::arp_for(HOST),
    );
    let mut v6 = [0; 16];
    v6[0..2].copy_from_slice(&[0xfe, 0xc0]);
    v6[15] = 1;
    assert_means("ip6 dst host fec0::1 and udp dst port 53", &headers::udp6_to(v6, 53));
    assert_means(
        "udp src port 9 and src 10.0.2.2 and dst 10.0.2.15 and dst port 7777",
        &headers::udp_from_to(([10, 0, 2, 2], 9), (HOST, 7777)),
    );
}

#[test]
fn words_mean_what_they_mean_to_tcpdump() {
    assert_means("ip", &space("ether proto 0x0800"));
    assert_means("udp", &space("ip proto 17 or ip6 proto 17"));
    assert_means("host 10.0.2.15", &space("ip host 10.0.2.15 or arp host 10.0.2.15"));
    assert_means("host 1.2.3.4", &space("src host 1.2.3.4 or dst host 1.2.3.4"));
    assert_means("src or dst port 53", &space("port 53"));
    assert_means("src and dst port 53", &space("src port 53 and dst port 53"));
    assert_means("port 53", &space("tcp port 53 or udp port 53 or sctp port 53"));
    assert_means("net 10.0.0.0/8", &space("src net 10.0.0.0/8 or dst net 10.0.0.0/8"));
    assert_means("ip src net 10.0.0.0/8", &space("ip[12] == 10 and ip[12:4] != 0"));
    assert_means("portrange 5-9", &space("portrange 9-5"));
    assert_means(
        "udp dst portrange 5-9",
        &space("udp[2:2] >= 5 and udp[2:2] <= 9 or udp[0]==300 or ip6 and udp dst portrange 5-9"),
    );
    assert_means("greater 60 and less 60", &space("len == 60"));
    assert_means("not not any", &Space::all());
    assert_means("len > 1522 or less 13", &Space::empty());
    assert_means(
        "ether host 02:00:00:00:00:01",
        &space("ether src 2:0:0:0:0:1 or ether dst 2:0:0:0:0:1"),
    );
    assert_means("ip[6:2] & 0x1fff & 0xff != 0", &space("ip[7] > 0"));
}

#[test]
fn and_and_or_bind_alike_from_the_left() {
    assert_means("ip or arp and less 60", &space("(ip or arp) and less 60"));
    assert_means("not ip or arp", &space("(not ip) or arp"));
    assert_means(
        "ip and not udp",
        &space(
            "ip and (ip proto != 17 or not greater 24)"
                .replace("ip proto != 17", "ip[9] != 17")
                .as_str(),
        ),
    );
}

#[test]
fn a_tag_shifts_what_is_written_after_it() {
    assert_means(
        "vlan 5 and ip",
        &space(
            "ether[12:2] in 0x8100,0x88a8,0x9100 and ether[14:2] & 0xfff == 5 \
         and ether[16:2] == 0x800",
        ),
    );
    let tagged = space("vlan and udp dst port 53");
    assert_eq!(tagged.disjoint_from(&space("udp dst port 53")), Ok(()));
    let mut frame = vec![0; 60];
    frame[12..14].copy_from_slice(&[0x81, 0]);
    frame[16..18].copy_from_slice(&[8, 0]);
    frame[18] = 0x46;
    frame[27] = 17;
    frame[45] = 53;
    assert!(tagged.contains(&frame));
    assert_means(
        "ip or vlan or ip",
        &space("ip or ether[12:2] in 0x8100,0x88a8,0x9100 or ether[16:2] == 0x800"),
    );
    assert!(parse("vlan and vlan and ip").is_ok());
}

#[test]
fn a_port_is_no_port_where_there_is_no_header() {
    let port = space("port 53");
    for claim in ["ip[6:2] & 0x1fff != 0", "ip[0] & 0x0f < 5", "ip[0] & 0xf0 != 0x40"] {
        assert_eq!(port.disjoint_from(&space(&format!("ip and {claim}"))), Ok(()), "{claim}");
    }
    assert_eq!(space("icmp[0] == 8").disjoint_from(&space("ip[6:2] & 0x1fff != 0")), Ok(()));
}

#[test]
fn errors_say_where_and_what() {
    let cases = [
        ("", 1, "a test"),
        ("udp and", 8, "a test"),
        ("udp dst port 65536", 14, "a port"),
        ("udp dst port", 13, "a port"),
        ("udp port 53 80", 13, "`and`, `or` or the end"),
        ("foo", 1, "a test"),
        ("udp and (dst port 5", 20, "`)`"),
        ("host 10.0.2", 6, "an IPv4 or IPv6 address"),
        ("ip host fe80::1", 9, "an IPv4 address"),
        ("ip6 host 10.0.0.1", 10, "an IPv6 address"),
        ("net 10.0.0.1/8", 5, "an address whose bits"),
        ("net 10.0.0.0/33", 14, "a prefix length"),
        ("net 10.0.0.0", 13, "`/`"),
        ("ether src 1:2:3:4:5", 11, "an Ethernet address"),
        ("ether src 1:2:3:4:5:6:7", 11, "an Ethernet address"),
        ("ether 1:2:3:4:5:6", 7, "`[`, `proto`"),
        ("ip[6:3] == 0", 3, "a width"),
        ("ip[6:2", 7, "`]`"),
        ("ip[6:2] 0", 9, "`==`"),
        ("ip[1600] == 0", 4, "an offset"),
        ("ip[0] == 99999999999", 10, "a number"),
        ("vlan 4096", 6, "a VLAN id"),
        ("vlan and vlan and vlan", 19, "fewer VLAN tags"),
        ("src udp", 5, "`host`, `net`"),
        ("src or port 5", 8, "`dst`"),
        ("tcp host 10.0.0.1", 5, "`port`"),
        ("arp port 5", 5, "`host`"),
        ("icmp port 5", 6, "`port`"),
        ("udp \u{e9}", 5, "only ASCII"),
        ("UDP", 1, "a test"),
        ("ether[2 + ip[0]] == 1", 11, "`((ether"),
    ];
    for (text, column, expected) in cases {
        let error = parse(text).expect_err(text);
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.expected.starts_with(expected), "{text}: {error}");
    }
}

#[test]
fn hostile_text_is_bounded() {
    let deep = "(".repeat(2000);
    assert!(parse(&deep).unwrap_err().expected.contains("NESTING_MAX"));
    assert!(parse(&"not ".repeat(1000)).unwrap_err().expected.starts_with("a test"));
    assert_eq!(parse(&("not ".repeat(1000) + "ip")).unwrap().to_space(), Ok(space("ip")));
    assert!(parse(&" ".repeat(5000)).unwrap_err().expected.contains("TEXT_MAX"));
    let many: Vec<String> = (0..70).map(|n| format!("(udp[9] == {n} and udp[8] == {n})")).collect();
    let result = parse(&many.join(" or ")).unwrap().to_space();
    assert_eq!(result, Err(FlowError::Budget { limit: "RULES_MAX" }));
    let wide: Vec<String> = (0..100).map(|n| format!("(port {n} or port {})", 500 + n)).collect();
    let result = parse(&wide.join(" and ")).unwrap().to_space();
    assert!(result.is_ok() || matches!(result, Err(FlowError::Budget { .. })));
}

#[test]
fn descriptions_are_what_a_person_would_say() {
    let cases = [
        ("ip and udp and dst host 10.0.2.15 and dst port 7777", headers::udp_to(HOST, 7777)),
        ("ip and icmp and dst host 10.0.2.15 and icmp[icmptype] == 8", headers::icmp_echo_to(HOST)),
        (
            "ip6 and tcp and dst host fe80::1 and dst port 80",
            space("ip6 and tcp dst port 80 and ip6 dst host fe80::1"),
        ),
        ("any", Space::all()),
        ("none", Space::empty()),
        ("greater 60 and less 100", space("greater 60 and less 100")),
        ("ether[36] in 0x00-0x13", space("ether[36] <= 19")),
        (
            "ip and udp and src net 10.0.0.0/8 and dst portrange 256-511",
            space("ip src net 10.0.0.0/8 and udp dst portrange 256-511"),
        ),
        (
            "ether proto 0x8100 and vlan 7 and ip and udp and dst port 53",
            space("ether proto 0x8100 and vlan 7 and ip and udp dst port 53"),
        ),
        ("(arp) or (ip6)", space("arp or ip6")),
        ("vlan 7 and ip and udp and dst port 53", space("vlan 7 and ip and udp dst port 53")),
        ("ip and udp and dst portrange 1000-2000", space("ip and udp dst portrange 1000-2000")),
        (
            "ip and tcp and dst port 80 and tcp[tcpflags] & 0x02 == 0x02",
            space("tcp dst port 80 and tcp[tcpflags] & tcp-syn != 0"),
        ),
        (
            "(ip and src port 53) or (ip and dst port 53) or (ip6 and src port 53) \
             or (ip6 and dst port 53)",
            space("port 53"),
        ),
        (
            "(arp and src host 10.0.2.15) or (arp and dst host 10.0.2.15)",
            space("arp host 10.0.2.15"),
        ),
        (
            "ip and ip[0] == 0x45 and udp and dst port 53",
            space("ip and ip[0] == 0x45 and udp dst port 53"),
        ),
    ];
    for (text, space) in cases {
        assert_eq!(describe(&space), text);
        assert_means(text, &space);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_description_means_its_space(space in world::spaces()) {
        if space.check().is_err() {
            return Ok(());
        }
        let text = describe(&space);
        match parse(&text) {
            Ok(expr) => {
                let again = expr.to_space().unwrap();
                prop_assert_eq!(again.subset_of(&space), Ok(()), "{}", text);
                prop_assert_eq!(space.subset_of(&again), Ok(()), "{}", text);
            }
            Err(error) => prop_assert!(text.len() > limits::TEXT_MAX, "{error}: {text}"),
        }
    }

    #[test]
    fn no_text_is_a_surprise(words in proptest::collection::vec(prop::sample::select(vec![
        "udp", "ip", "ip6", "vlan", "and", "or", "not", "(", ")", "port", "src", "dst", "host",
        "10.0.0.1", "53", "[", "]", "2:2", "==", "&", "0x1f", "net", "/8", "ether", "in", "1-2",
        ",", "less", "!", "+", "fe80::", "proto", "arp", "icmp[0]", "len", ">", "<<", "\u{1f600}",
    ]), 0..12)) {
        let text = words.join(" ");
        match parse(&text) {
            Ok(expr) => { let _ = expr.to_space(); }
            Err(error) => prop_assert!((1..=text.len() + 1).contains(&error.column)),
        }
    }
}
