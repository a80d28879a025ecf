//! The spaces that are asked for most: datagrams and connections to a port, pings, ARP.
//!
//! The port spaces hold untagged frames with a valid header length (IHL >= 5, so that no
//! byte behind the header is a byte of it) and a fragment offset of zero: only there is a port a
//! port. For IPv6 the transport header must follow at once; extension headers are not looked
//! behind.

use super::{
    ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, FRAGMENT_OFFSET, ICMP_ECHO, IPV4_FIRST_BYTE,
    Link, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP,
};
use crate::byteset::ByteSet;
use crate::field::Field;
use crate::rule::Rule;
use crate::space::Space;

/// An IPv4 address and a port.
pub type Socket4 = ([u8; 4], u16);

/// An IPv6 address and a port.
pub type Socket6 = ([u8; 16], u16);

/// UDP datagrams to a port of an address.
#[must_use]
pub fn udp_to(address: [u8; 4], port: u16) -> Space {
    ipv4_flow(PROTOCOL_UDP, None, (address, port))
}

/// TCP segments to a port of an address.
#[must_use]
pub fn tcp_to(address: [u8; 4], port: u16) -> Space {
    ipv4_flow(PROTOCOL_TCP, None, (address, port))
}

/// UDP datagrams of one pair of sockets, in one direction.
#[must_use]
pub fn udp_from_to(from: Socket4, to: Socket4) -> Space {
    ipv4_flow(PROTOCOL_UDP, Some(from), to)
}

/// TCP segments of one connection, in one direction.
#[must_use]
pub fn tcp_from_to(from: Socket4, to: Socket4) -> Space {
    ipv4_flow(PROTOCOL_TCP, Some(from), to)
}

/// ICMP echo requests (pings) to an address.
#[must_use]
pub fn icmp_echo_to(address: [u8; 4]) -> Space {
    let ip = Link::PLAIN.ipv4();
    let mut tests = ipv4_tests(PROTOCOL_ICMP).to_vec();
    tests.push((ip.destination(), u32::from_be_bytes(address).into(), u128::MAX));
    tests.push((ip.payload().icmp_type(), ICMP_ECHO.1.into(), 0xff));
    conjunction(ipv4_rule(), &tests)
}

/// ARP requests and replies whose target is an address.
#[must_use]
pub fn arp_for(address: [u8; 4]) -> Space {
    let arp = Link::PLAIN.arp();
    let operations = Rule::any().with(arp.operation().last(), ByteSet::range(1, 2));
    let tests = [
        (Link::PLAIN.ethertype(), ETHERTYPE_ARP.into(), 0xffff),
        (arp.hardware(), 1, 0xffff),
        (arp.protocol(), ETHERTYPE_IPV4.into(), 0xffff),
        (arp.address_lengths(), 0x0604, 0xffff),
        (arp.operation(), 0, 0xff00),
        (arp.target_protocol(), u32::from_be_bytes(address).into(), u128::MAX),
    ];
    conjunction(operations, &tests)
}

/// UDP datagrams to a port of an IPv6 address.
#[must_use]
pub fn udp6_to(address: [u8; 16], port: u16) -> Space {
    ipv6_flow(PROTOCOL_UDP, None, (address, port))
}

/// TCP segments to a port of an IPv6 address.
#[must_use]
pub fn tcp6_to(address: [u8; 16], port: u16) -> Space {
    ipv6_flow(PROTOCOL_TCP, None, (address, port))
}

/// UDP datagrams of one pair of IPv6 sockets, in one direction.
#[must_use]
pub fn udp6_from_to(from: Socket6, to: Socket6) -> Space {
    ipv6_flow(PROTOCOL_UDP, Some(from), to)
}

/// TCP segments of one IPv6 connection, in one direction.
#[must_use]
pub fn tcp6_from_to(from: Socket6, to: Socket6) -> Space {
    ipv6_flow(PROTOCOL_TCP, Some(from), to)
}

/// A field, and the value it has under a mask.
type Test = (Field, u128, u128);

fn ipv4_flow(protocol: u8, from: Option<Socket4>, to: Socket4) -> Space {
    let ip = Link::PLAIN.ipv4();
    let mut tests = ipv4_tests(protocol).to_vec();
    tests.push((ip.destination(), u32::from_be_bytes(to.0).into(), u128::MAX));
    tests.push((ip.payload().destination_port(), to.1.into(), u128::MAX));
    if let Some((address, port)) = from {
        tests.push((ip.source(), u32::from_be_bytes(address).into(), u128::MAX));
        tests.push((ip.payload().source_port(), port.into(), u128::MAX));
    }
    conjunction(ipv4_rule(), &tests)
}

fn ipv6_flow(protocol: u8, from: Option<Socket6>, to: Socket6) -> Space {
    let ip = Link::PLAIN.ipv6();
    let mut tests = alloc::vec![
        (Link::PLAIN.ethertype(), ETHERTYPE_IPV6.into(), u128::MAX),
        (ip.first_byte(), 0x60, 0xf0),
        (ip.next_header(), protocol.into(), u128::MAX),
        (ip.destination(), u128::from_be_bytes(to.0), u128::MAX),
        (ip.payload().destination_port(), to.1.into(), u128::MAX),
    ];
    if let Some((address, port)) = from {
        tests.push((ip.source(), u128::from_be_bytes(address), u128::MAX));
        tests.push((ip.payload().source_port(), port.into(), u128::MAX));
    }
    conjunction(Some(Rule::any()), &tests)
}

/// Version 4 and a valid header length: no mask says that.
fn ipv4_rule() -> Option<Rule> {
    Rule::any().with(Link::PLAIN.ipv4().first_byte().first(), IPV4_FIRST_BYTE)
}

/// Untagged, the protocol, and a fragment offset of zero.
fn ipv4_tests(protocol: u8) -> [Test; 3] {
    let ip = Link::PLAIN.ipv4();
    [
        (Link::PLAIN.ethertype(), ETHERTYPE_IPV4.into(), u128::MAX),
        (ip.protocol(), protocol.into(), u128::MAX),
        (ip.fragment(), 0, FRAGMENT_OFFSET.into()),
    ]
}

fn conjunction(rule: Option<Rule>, tests: &[Test]) -> Space {
    let Some(mut rule) = rule else { return Space::empty() };
    let fits = tests.iter().all(|&(field, value, mask)| field.narrow(&mut rule, value, mask));
    if fits { Space::from(rule) } else { Space::empty() }
}
