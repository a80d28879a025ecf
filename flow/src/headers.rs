//! The headers we know, and the spaces that are asked for most.
//!
//! This is the only place where an offset is a number. Layouts: Ethernet II and IEEE 802.1Q tags, ARP
//! (RFC 826), IPv4 (RFC 791), IPv6 (RFC 8200), ICMP (RFC 792), ICMPv6 (RFC 4443), UDP (RFC 768), TCP
//! (RFC 9293).
//!
//! The port spaces below hold untagged frames with a valid header length (IHL >= 5, so that no byte
//! behind the header is a byte of it) and a fragment offset of zero: only there is a port a port. For
//! IPv6 the transport header must follow at once; extension headers are not looked behind.

use crate::byteset::ByteSet;
use crate::cell::{Base, Cell, HeaderBase};
use crate::field::Field;
use crate::rule::Rule;
use crate::space::Space;

/// IPv4 (IEEE 802 numbers, as all `ETHERTYPE_*`).
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// IEEE 802.1Q customer tag.
pub const ETHERTYPE_VLAN: u16 = 0x8100;
/// IEEE 802.1ad service tag.
pub const ETHERTYPE_QINQ: u16 = 0x88a8;
/// The service tag's number before it was standardised.
pub const ETHERTYPE_QINQ_OLD: u16 = 0x9100;
/// IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

/// ICMP (IANA protocol numbers, as all `PROTOCOL_*`).
pub const PROTOCOL_ICMP: u8 = 1;
/// TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// UDP.
pub const PROTOCOL_UDP: u8 = 17;
/// ICMPv6.
pub const PROTOCOL_ICMP6: u8 = 58;
/// SCTP.
pub const PROTOCOL_SCTP: u8 = 132;

/// ICMP echo reply and request (RFC 792 page 14).
pub const ICMP_ECHO: (u8, u8) = (0, 8);
/// ICMPv6 echo reply and request (RFC 4443 sections 4.1 and 4.2).
pub const ICMP6_ECHO: (u8, u8) = (129, 128);

/// Bits of the fragment field that hold the fragment offset (RFC 791 section 3.1).
pub const FRAGMENT_OFFSET: u16 = 0x1fff;
/// Bits of a tag's control field that hold the VLAN id (IEEE 802.1Q section 9.6).
pub const VLAN_ID: u16 = 0x0fff;

/// First bytes of IPv4 headers with version 4 and a valid header length.
pub const IPV4_FIRST_BYTE: ByteSet = ByteSet::range(0x45, 0x4f);

/// The Ethernet destination address.
pub const ETHERNET_DESTINATION: Field = Field::frame(0, 6);
/// The Ethernet source address.
pub const ETHERNET_SOURCE: Field = Field::frame(6, 6);

/// An Ethernet header with a number of VLAN tags: where what follows it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// VLAN tags between the source address and the ethertype.
    pub tags: u16,
}

impl Link {
    /// No tag.
    pub const PLAIN: Link = Link { tags: 0 };

    /// What the header carries.
    #[must_use]
    pub const fn ethertype(self) -> Field {
        Field::frame(12 + 4 * self.tags, 2)
    }

    /// The protocol of tag number `index`, counted from 0 at the outermost.
    #[must_use]
    pub const fn tag_protocol(self, index: u16) -> Field {
        Field::frame(12 + 4 * index, 2)
    }

    /// Priority, drop bit and id of tag number `index`.
    #[must_use]
    pub const fn tag_control(self, index: u16) -> Field {
        Field::frame(14 + 4 * index, 2)
    }

    /// Where the payload starts, bytes into the frame.
    #[must_use]
    pub const fn payload(self) -> u16 {
        14 + 4 * self.tags
    }

    /// The IPv4 header behind this one.
    #[must_use]
    pub const fn ipv4(self) -> Ipv4 {
        Ipv4 { start: self.payload() }
    }

    /// The IPv6 header behind this one.
    #[must_use]
    pub const fn ipv6(self) -> Ipv6 {
        Ipv6 { start: self.payload() }
    }

    /// The ARP packet behind this header.
    #[must_use]
    pub const fn arp(self) -> Arp {
        Arp { start: self.payload() }
    }
}

/// Declares the fields of a header at a constant place: name, offset, width.
macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident $offset:literal $width:literal;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub const fn $name(self) -> Field {
            Field::frame(self.start + $offset, $width)
        }
    )*};
}

/// An IPv4 header (RFC 791 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4 {
    /// Its first byte, bytes into the frame.
    pub start: u16,
}

impl Ipv4 {
    fields! {
        /// Version (high nibble) and header length in 32-bit words (low nibble).
        first_byte 0 1;
        /// Type of service.
        service 1 1;
        /// Length of header and payload, bytes.
        total_length 2 2;
        /// Identification of the datagram.
        identification 4 2;
        /// Flags and fragment offset, see [`FRAGMENT_OFFSET`].
        fragment 6 2;
        /// Time to live.
        time_to_live 8 1;
        /// What the datagram carries.
        protocol 9 1;
        /// Checksum of the header.
        checksum 10 2;
        /// Source address.
        source 12 4;
        /// Destination address.
        destination 16 4;
    }

    /// What stands behind the header, options included.
    #[must_use]
    pub const fn payload(self) -> Transport {
        Transport { base: Base::Header(HeaderBase::ipv4_payload(self.start)), start: 0 }
    }
}

/// An IPv6 header (RFC 8200 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6 {
    /// Its first byte, bytes into the frame.
    pub start: u16,
}

impl Ipv6 {
    fields! {
        /// Version (high nibble) and half of the traffic class.
        first_byte 0 1;
        /// Length of what follows, bytes.
        payload_length 4 2;
        /// What follows.
        next_header 6 1;
        /// Hop limit.
        hop_limit 7 1;
        /// Source address.
        source 8 16;
        /// Destination address.
        destination 24 16;
    }

    /// What stands behind the fixed header.
    #[must_use]
    pub const fn payload(self) -> Transport {
        Transport { base: Base::Frame, start: self.start + 40 }
    }
}

/// An ARP packet for IPv4 over Ethernet (RFC 826).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Its first byte, bytes into the frame.
    pub start: u16,
}

impl Arp {
    fields! {
        /// Hardware type, 1 for Ethernet.
        hardware 0 2;
        /// Protocol type, an ethertype.
        protocol 2 2;
        /// Lengths of hardware and protocol addresses, bytes: 6 and 4.
        address_lengths 4 2;
        /// Request (1) or reply (2).
        operation 6 2;
        /// Sender's Ethernet address.
        sender_hardware 8 6;
        /// Sender's IPv4 address.
        sender_protocol 14 4;
        /// Target's Ethernet address.
        target_hardware 18 6;
        /// Target's IPv4 address.
        target_protocol 24 4;
    }
}

/// A UDP, TCP, SCTP, ICMP or ICMPv6 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// What `start` counts from.
    pub base: Base,
    /// Its first byte, bytes behind the base.
    pub start: u16,
}

impl Transport {
    /// `width` bytes at `offset` into the header.
    #[must_use]
    pub const fn at(self, offset: u16, width: u8) -> Field {
        Field { base: self.base, offset: self.start.saturating_add(offset), width }
    }

    /// The same header where `rule` says that it is: at a constant place if the rule fixes the length of
    /// the header before it.
    #[must_use]
    pub fn within(self, rule: &Rule) -> Transport {
        let Base::Header(base) = self.base else { return self };
        let mut lengths = rule.lengths(base);
        match (lengths.next().and_then(|only| base.address(only, self.start)), lengths.next()) {
            (Some(start), None) => Transport { base: Base::Frame, start },
            _ => self,
        }
    }

    /// Source port (UDP, TCP, SCTP).
    #[must_use]
    pub const fn source_port(self) -> Field {
        self.at(0, 2)
    }

    /// Destination port (UDP, TCP, SCTP).
    #[must_use]
    pub const fn destination_port(self) -> Field {
        self.at(2, 2)
    }

    /// Message type (ICMP, ICMPv6).
    #[must_use]
    pub const fn icmp_type(self) -> Field {
        self.at(0, 1)
    }

    /// Message code (ICMP, ICMPv6).
    #[must_use]
    pub const fn icmp_code(self) -> Field {
        self.at(1, 1)
    }

    /// TCP's flags (RFC 9293 section 3.1): FIN is bit 0, SYN bit 1, RST bit 2, ACK bit 4.
    #[must_use]
    pub const fn tcp_flags(self) -> Field {
        self.at(13, 1)
    }
}

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
    let operations = Rule::any().with(low_byte(arp.operation()), ByteSet::range(1, 2));
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
    Rule::any().with(Cell::frame(Link::PLAIN.ipv4().start), IPV4_FIRST_BYTE)
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

fn low_byte(field: Field) -> Cell {
    Cell { base: field.base, offset: field.offset + u16::from(field.width) - 1 }
}

fn conjunction(rule: Option<Rule>, tests: &[Test]) -> Space {
    let Some(mut rule) = rule else { return Space::empty() };
    let fits = tests.iter().all(|&(field, value, mask)| field.narrow(&mut rule, value, mask));
    if fits { Space::from(rule) } else { Space::empty() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An untagged UDP datagram with `words` 32-bit words of IPv4 header.
    fn udp_frame(words: u8, to: Socket4) -> alloc::vec::Vec<u8> {
        let mut frame = alloc::vec![0; 14 + usize::from(words) * 4 + 8];
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
        assert_eq!(
            udp6_from_to(([2; 16], 9), ([1; 16], 80)).subset_of(&udp6_to([1; 16], 80)),
            Ok(())
        );
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
}
