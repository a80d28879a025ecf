//! What a single test of an expression says, after all names are resolved.

use core::net::IpAddr;

use crate::byteset::ByteSet;
use crate::cell::Cell;
use crate::field::Field;
use crate::headers::Link;
use crate::length::LengthRange;

/// A test without `and`, `or` and `not`, with the header it talks about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Test {
    /// Every frame, or none.
    Constant(bool),
    /// The frame's length; `None` if no frame has it.
    Length(Option<LengthRange>),
    /// The ethertype.
    EtherType(Link, u16),
    /// An Ethernet address.
    Ether(Side, u64),
    /// A VLAN tag, with an id if one is named. The link is the one outside the tag.
    Vlan(Link, Option<u16>),
    /// The protocol behind IPv4 or IPv6.
    Protocol(Link, Family, u8),
    /// An IPv4, ARP or IPv6 address.
    Net(Link, Family, Side, Net),
    /// A port of a protocol.
    Port(Link, Family, Side, Ports),
    /// Bytes of a header.
    Bytes(Link, Header, Value),
    /// A byte anywhere.
    Byte(Cell, ByteSet),
}

/// Which of two addresses or ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
    Either,
    Both,
}

/// What a protocol word restricts a test to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Any,
    Ip,
    Ip6,
    Arp,
}

/// The addresses that share the first `prefix` bits with `address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Net {
    pub(super) address: IpAddr,
    pub(super) prefix: u8,
}

impl Net {
    /// The width of the address, bits.
    pub(super) fn width(self) -> u8 {
        if self.address.is_ipv4() { 32 } else { 128 }
    }

    /// The address as a number.
    pub(super) fn number(self) -> u128 {
        match self.address {
            IpAddr::V4(address) => address.to_bits().into(),
            IpAddr::V6(address) => address.to_bits(),
        }
    }

    /// The bits of the address that count.
    pub(super) fn mask(self) -> u128 {
        let host = u32::from(self.width().saturating_sub(self.prefix));
        let all = u128::MAX >> (128 - u32::from(self.width()));
        all & u128::MAX.checked_shl(host).unwrap_or(0)
    }
}

/// Ports from `low` to `high` of TCP, UDP or SCTP, or of one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) protocol: Option<u8>,
    pub(super) low: u16,
    pub(super) high: u16,
}

/// A header whose bytes can be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    Ether,
    Arp,
    Ip,
    Ip6,
    /// What an IPv4 header carries, by protocol number.
    Transport(u8),
    /// ICMPv6 at once behind an IPv6 header.
    Icmp6,
}

/// `header[offset:width] & mask` in one of these ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    /// Offset and width; the base is the header's.
    pub(super) field: Field,
    pub(super) mask: u32,
    pub(super) ranges: alloc::vec::Vec<(u32, u32)>,
}
