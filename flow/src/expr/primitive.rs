//! The tests of an expression: one keyword, one reader.
//!
//! As in pcap-filter(7) a test is `[protocol] [side] [kind] value`; a protocol word may also stand
//! alone or name bytes of its header.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::ExprError;
use super::cursor::Cursor;
use super::test::{Family, Header, Net, Ports, Side, Test};
use super::value;
use crate::headers;
use crate::length::LengthRange;

/// A protocol word: its name, the family it names, the protocol number behind IP, its header.
type Protocol = (&'static str, Family, Option<u8>, Header);

const PROTOCOLS: [Protocol; 8] = [
    ("ip", Family::Ip, None, Header::Ip),
    ("ip6", Family::Ip6, None, Header::Ip6),
    ("arp", Family::Arp, None, Header::Arp),
    ("tcp", Family::Any, Some(headers::PROTOCOL_TCP), Header::Transport(headers::PROTOCOL_TCP)),
    ("udp", Family::Any, Some(headers::PROTOCOL_UDP), Header::Transport(headers::PROTOCOL_UDP)),
    ("sctp", Family::Any, Some(headers::PROTOCOL_SCTP), Header::Transport(headers::PROTOCOL_SCTP)),
    ("icmp", Family::Ip, Some(headers::PROTOCOL_ICMP), Header::Transport(headers::PROTOCOL_ICMP)),
    ("icmp6", Family::Ip6, Some(headers::PROTOCOL_ICMP6), Header::Icmp6),
];

const TEST: &str =
    "a test, such as `udp`, `dst port 53`, `host 10.0.2.15` or `ip[6:2] & 0x1fff == 0`";
const KIND: &str = "`host`, `net`, `port`, `portrange` or an address";

/// Reads one test.
pub(super) fn test(cursor: &mut Cursor<'_>) -> Result<Test, ExprError> {
    match cursor.word() {
        "any" => constant(cursor, "any", true),
        "none" => constant(cursor, "none", false),
        "greater" | "less" | "len" => length(cursor),
        "vlan" => vlan(cursor),
        "ether" => ether(cursor),
        "src" | "dst" | "host" | "net" | "port" | "portrange" => {
            qualified(cursor, Family::Any, None)
        }
        word => match PROTOCOLS.iter().find(|(name, ..)| *name == word) {
            Some(protocol) => protocol_test(cursor, protocol),
            None => cursor.fail(TEST),
        },
    }
}

fn constant(cursor: &mut Cursor<'_>, word: &str, value: bool) -> Result<Test, ExprError> {
    cursor.take_word(word);
    Ok(Test::Constant(value))
}

/// `greater N`, `less N`, `len == N`. Both words include N.
fn length(cursor: &mut Cursor<'_>) -> Result<Test, ExprError> {
    const BYTES: &str = "a length in bytes, at most 65535";
    let (min, max) = if cursor.take_word("greater") {
        (cursor.number(65535, BYTES)?, 65535)
    } else if cursor.take_word("less") {
        (0, cursor.number(65535, BYTES)?)
    } else {
        cursor.take_word("len");
        let (low, high) = value::single_range(cursor, 65535)?;
        (low.into(), high.into())
    };
    let bound = |value: u64| u16::try_from(value).unwrap_or(u16::MAX);
    Ok(Test::Length(LengthRange::new(bound(min), bound(max))))
}

/// `vlan`, `vlan 5`; what follows is inside the tag.
fn vlan(cursor: &mut Cursor<'_>) -> Result<Test, ExprError> {
    let outside = cursor.link;
    cursor.enter_tag()?;
    cursor.take_word("vlan");
    if !cursor.at_number() {
        return Ok(Test::Vlan(outside, None));
    }
    let id = cursor.number(headers::VLAN_ID.into(), "a VLAN id, at most 4095")?;
    Ok(Test::Vlan(outside, Some(id as u16)))
}

/// `ether proto N`, `ether src MAC`, `ether[0] == 1`.
fn ether(cursor: &mut Cursor<'_>) -> Result<Test, ExprError> {
    cursor.take_word("ether");
    if cursor.peek_symbol("[") {
        return value::accessor(cursor, Header::Ether);
    }
    if cursor.take_word("proto") {
        let number = cursor.number(0xffff, "an ethertype, at most 0xffff")?;
        return Ok(Test::EtherType(cursor.link, number as u16));
    }
    let side = side(cursor)?;
    if !cursor.take_word("host") && side.is_none() {
        return cursor.fail("`[`, `proto`, `src`, `dst` or `host`");
    }
    let address = cursor.take_run(
        |c| c.is_ascii_hexdigit() || c == ':',
        mac,
        "an Ethernet address, such as 52:54:00:12:34:56",
    )?;
    Ok(Test::Ether(side.unwrap_or(Side::Either), address))
}

/// `udp`, `udp dst port 53`, `udp[4:2] > 8`, `ip proto 47`.
fn protocol_test(cursor: &mut Cursor<'_>, protocol: &Protocol) -> Result<Test, ExprError> {
    let &(name, family, number, header) = protocol;
    cursor.take_word(name);
    if cursor.peek_symbol("[") {
        return value::accessor(cursor, header);
    }
    match (cursor.word(), number) {
        ("src" | "dst" | "host" | "net" | "port" | "portrange", _) => {
            qualified(cursor, family, number)
        }
        ("proto", None) if family != Family::Arp => {
            cursor.take_word("proto");
            let number = cursor.number(255, "a protocol number, at most 255")?;
            Ok(Test::Protocol(cursor.link, family, number as u8))
        }
        (_, Some(number)) => Ok(Test::Protocol(cursor.link, family, number)),
        (_, None) => Ok(Test::EtherType(cursor.link, ethertype(family))),
    }
}

fn ethertype(family: Family) -> u16 {
    match family {
        Family::Ip6 => headers::ETHERTYPE_IPV6,
        Family::Arp => headers::ETHERTYPE_ARP,
        Family::Ip | Family::Any => headers::ETHERTYPE_IPV4,
    }
}

/// `[side] [host|net|port|portrange] value`
fn qualified(
    cursor: &mut Cursor<'_>,
    family: Family,
    protocol: Option<u8>,
) -> Result<Test, ExprError> {
    let side = side(cursor)?;
    let either = side.unwrap_or(Side::Either);
    match cursor.word() {
        "port" | "portrange" if family != Family::Arp && is_port_protocol(protocol) => {
            ports(cursor, protocol).map(|ports| Test::Port(cursor.link, family, either, ports))
        }
        "host" | "net" if protocol.is_none() => net(cursor, family, either),
        // `src 10.0.2.15`: a host.
        _ if side.is_some() && protocol.is_none() && cursor.at_address() => {
            net(cursor, family, either)
        }
        _ if protocol.is_some() => cursor.fail("`port` or `portrange`"),
        _ => cursor.fail(KIND),
    }
}

fn is_port_protocol(protocol: Option<u8>) -> bool {
    let known = [headers::PROTOCOL_TCP, headers::PROTOCOL_UDP, headers::PROTOCOL_SCTP];
    protocol.is_none_or(|number| known.contains(&number))
}

/// `src`, `dst`, `src or dst`, `src and dst`
fn side(cursor: &mut Cursor<'_>) -> Result<Option<Side>, ExprError> {
    if cursor.take_word("dst") {
        return Ok(Some(Side::Destination));
    }
    if !cursor.take_word("src") {
        return Ok(None);
    }
    let side = match cursor.word() {
        "or" => Side::Either,
        "and" => Side::Both,
        _ => return Ok(Some(Side::Source)),
    };
    cursor.take_word(cursor.word());
    if !cursor.take_word("dst") {
        return cursor.fail("`dst`");
    }
    Ok(Some(side))
}

fn ports(cursor: &mut Cursor<'_>, protocol: Option<u8>) -> Result<Ports, ExprError> {
    const PORT: &str = "a port, at most 65535";
    let is_range = cursor.take_word("portrange");
    cursor.take_word("port");
    let low = cursor.number(65535, PORT)? as u16;
    if !is_range {
        return Ok(Ports { protocol, low, high: low });
    }
    cursor.expect_symbol("-", "`-` and the last port")?;
    let high = cursor.number(65535, PORT)? as u16;
    // As in tcpdump, the ends may come in either order.
    Ok(Ports { protocol, low: low.min(high), high: high.max(low) })
}

/// `[host] ADDRESS` or `net ADDRESS/PREFIX`
fn net(cursor: &mut Cursor<'_>, family: Family, side: Side) -> Result<Test, ExprError> {
    let is_net = cursor.take_word("net");
    cursor.take_word("host");
    let before = cursor.clone();
    let address = match family {
        Family::Ip | Family::Arp => address(cursor, v4, "an IPv4 address")?,
        Family::Ip6 => address(cursor, v6, "an IPv6 address")?,
        Family::Any => {
            address(cursor, |text| v4(text).or_else(|| v6(text)), "an IPv4 or IPv6 address")?
        }
    };
    let mut net = Net { address, prefix: 0 };
    net.prefix = net.width();
    if is_net {
        cursor.expect_symbol("/", "`/` and a prefix length")?;
        net.prefix = cursor.number(net.width().into(), "a prefix length in bits")? as u8;
    }
    if net.number() & !net.mask() != 0 {
        return before.fail("an address whose bits behind the prefix are zero");
    }
    let family = match (family, address) {
        (Family::Any, IpAddr::V6(_)) => Family::Ip6,
        _ => family,
    };
    Ok(Test::Net(cursor.link, family, side, net))
}

fn address(
    cursor: &mut Cursor<'_>,
    read: impl Fn(&str) -> Option<IpAddr>,
    expected: &'static str,
) -> Result<IpAddr, ExprError> {
    cursor.take_run(|c| c.is_ascii_hexdigit() || c == '.' || c == ':', read, expected)
}

fn v4(text: &str) -> Option<IpAddr> {
    text.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
}

fn v6(text: &str) -> Option<IpAddr> {
    text.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}

fn mac(text: &str) -> Option<u64> {
    let mut parts = text.split(':');
    let mut number = 0;
    for _ in 0..6 {
        let part = parts.next().filter(|part| (1..=2).contains(&part.len()))?;
        number = number << 8 | u64::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(number)
}
