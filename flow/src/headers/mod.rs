//! The headers we know, and the spaces that are asked for most.
//!
//! This is the only place where an offset is a number. Layouts: Ethernet II and IEEE 802.1Q tags,
//! ARP (RFC 826), IPv4 (RFC 791), IPv6 (RFC 8200), ICMP (RFC 792), ICMPv6 (RFC 4443), UDP (RFC
//! 768), TCP (RFC 9293).
//!
//! [`udp_to`] and its like build spaces from these fields without going through text.

use crate::byteset::ByteSet;
use crate::cell::{Base, HeaderBase};
use crate::field::Field;
use crate::rule::Rule;
pub use flows::{
    Socket4, Socket6, arp_for, icmp_echo_to, tcp_from_to, tcp_to, tcp6_from_to, tcp6_to,
    udp_from_to, udp_to, udp6_from_to, udp6_to,
};

mod flows;
#[cfg(test)]
mod tests;

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
/// Every number that announces a VLAN tag: the one list of them.
pub const ETHERTYPE_TAGS: [u16; 3] = [ETHERTYPE_VLAN, ETHERTYPE_QINQ, ETHERTYPE_QINQ_OLD];
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
/// Fragment bits that a whole datagram has clear: more fragments, and the offset.
pub const FRAGMENT: u16 = 0x3fff;
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

    /// Where the fixed part ends and options may begin, bytes into the frame.
    #[must_use]
    pub const fn options(self) -> u16 {
        self.start + 20
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

    /// The same header where `rule` says that it is: at a constant place if the rule fixes the
    /// length of the header before it.
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
