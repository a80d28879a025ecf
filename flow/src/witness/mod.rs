//! Frames for people.
//!
//! A witness is bytes; what a person wants is whose packet that would have been. [`render`] says
//! it in one line, [`hexdump`] shows the bytes. Both take any bytes at all: a frame that ends
//! early or lies about its lengths is rendered as far as it goes, and the line says what is wrong.

use alloc::format;
use alloc::string::String;
use core::fmt::Write;
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::headers::{self, Link};
use crate::limits::VLAN_DEPTH_MAX;

/// One line about `frame`, such as `IPv4 10.0.2.2:1 > 10.0.2.15:7777 UDP, 46 bytes`.
#[must_use]
pub fn render(frame: &[u8]) -> String {
    let frame = Frame(frame);
    let mut link = Link::PLAIN;
    let mut line = String::new();
    while let (Some(ethertype), true) =
        (frame.number(link.ethertype().offset), link.tags < VLAN_DEPTH_MAX)
    {
        if !is_tag(ethertype) {
            break;
        }
        match frame.number(link.tag_control(link.tags).offset) {
            Some(control) => _ = write!(line, "VLAN {} ", control & headers::VLAN_ID),
            None => line.push_str("VLAN (cut off) "),
        }
        link.tags += 1;
    }
    let what = match frame.number(link.ethertype().offset) {
        None => String::from("cut off before the ethertype"),
        Some(headers::ETHERTYPE_IPV4) => ipv4(frame, link),
        Some(headers::ETHERTYPE_IPV6) => ipv6(frame, link),
        Some(headers::ETHERTYPE_ARP) => arp(frame, link),
        Some(other) => ethernet(frame, other),
    };
    format!("{line}{what}, {} bytes", frame.0.len())
}

/// The bytes of `frame`, sixteen to a line, in hexadecimal and as text.
#[must_use]
pub fn hexdump(frame: &[u8]) -> String {
    let mut dump = String::new();
    for (index, line) in frame.chunks(16).enumerate() {
        let _ = write!(dump, "{:04x} ", index * 16);
        for column in 0..16 {
            let gap = if column == 8 { "  " } else { " " };
            match line.get(column) {
                Some(byte) => _ = write!(dump, "{gap}{byte:02x}"),
                None => _ = write!(dump, "{gap}  "),
            }
        }
        dump.push_str("  ");
        let visible = |byte: &u8| if (0x20..0x7f).contains(byte) { *byte as char } else { '.' };
        dump.extend(line.iter().map(visible));
        dump.push('\n');
    }
    dump
}

/// Bytes that may end anywhere.
#[derive(Clone, Copy)]
struct Frame<'a>(&'a [u8]);

impl Frame<'_> {
    fn byte(self, at: u16) -> Option<u8> {
        self.0.get(usize::from(at)).copied()
    }

    /// A 16-bit number.
    fn number(self, at: u16) -> Option<u16> {
        Some(u16::from_be_bytes(self.bytes(at)?))
    }

    fn bytes<const N: usize>(self, at: u16) -> Option<[u8; N]> {
        let at = usize::from(at);
        self.0.get(at..at + N)?.try_into().ok()
    }
}

fn is_tag(ethertype: u16) -> bool {
    headers::ETHERTYPE_TAGS.contains(&ethertype)
}

fn ethernet(frame: Frame<'_>, ethertype: u16) -> String {
    let mac = |at: u16| frame.bytes::<6>(at).map(mac).unwrap_or_default();
    format!("Ethernet {} > {} type {ethertype:#06x}", mac(6), mac(0))
}

fn mac(bytes: [u8; 6]) -> String {
    let [a, b, c, d, e, f] = bytes;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

fn ipv4(frame: Frame<'_>, link: Link) -> String {
    let ip = link.ipv4();
    let address = |at| frame.bytes::<4>(at).map(Ipv4Addr::from);
    let (Some(first), Some(protocol), Some(fragment), Some(from), Some(to)) = (
        frame.byte(ip.first_byte().offset),
        frame.byte(ip.protocol().offset),
        frame.number(ip.fragment().offset),
        address(ip.source().offset),
        address(ip.destination().offset),
    ) else {
        return String::from("IPv4, header cut off");
    };
    let mut notes = String::new();
    if first >> 4 != 4 {
        let _ = write!(notes, ", version {}", first >> 4);
    }
    let words = u16::from(first & 0x0f);
    match words {
        0..5 => _ = write!(notes, ", header length {words} (invalid)"),
        5 => {}
        6.. => _ = write!(notes, ", {} bytes of options", words * 4 - 20),
    }
    let offset = fragment & headers::FRAGMENT_OFFSET;
    if offset != 0 {
        let _ = write!(notes, ", fragment at {}", u32::from(offset) * 8);
    } else if fragment & 0x2000 != 0 {
        notes.push_str(", first fragment");
    }
    let transport = (offset == 0).then_some(ip.start + words * 4);
    let ends = Ends { from: format!("{from}"), to: format!("{to}") };
    format!("IPv4 {}{notes}", ends.with_transport(frame, protocol, transport))
}

fn ipv6(frame: Frame<'_>, link: Link) -> String {
    let ip = link.ipv6();
    let address = |at| frame.bytes::<16>(at).map(Ipv6Addr::from);
    let (Some(protocol), Some(from), Some(to)) = (
        frame.byte(ip.next_header().offset),
        address(ip.source().offset),
        address(ip.destination().offset),
    ) else {
        return String::from("IPv6, header cut off");
    };
    // Brackets, so that a port behind the address is not taken for a part of it.
    let ends = Ends { from: format!("[{from}]"), to: format!("[{to}]") };
    format!("IPv6 {}", ends.with_transport(frame, protocol, Some(ip.payload().start)))
}

/// Both ends of a packet, as text.
struct Ends {
    from: String,
    to: String,
}

impl Ends {
    /// The ends with what the transport header at `at` adds to them.
    fn with_transport(&self, frame: Frame<'_>, protocol: u8, at: Option<u16>) -> String {
        let Ends { from, to } = self;
        let name = match protocol {
            headers::PROTOCOL_ICMP => "ICMP",
            headers::PROTOCOL_TCP => "TCP",
            headers::PROTOCOL_UDP => "UDP",
            headers::PROTOCOL_ICMP6 => "ICMPv6",
            headers::PROTOCOL_SCTP => "SCTP",
            other => return format!("{from} > {to} protocol {other}"),
        };
        let Some(at) = at else { return format!("{from} > {to} {name}") };
        if matches!(protocol, headers::PROTOCOL_ICMP | headers::PROTOCOL_ICMP6) {
            return match (frame.byte(at), frame.byte(at + 1)) {
                (Some(kind), Some(code)) => {
                    format!("{from} > {to} {name} {}", message(protocol, kind, code))
                }
                _ => format!("{from} > {to} {name}, cut off"),
            };
        }
        match (frame.number(at), frame.number(at + 2)) {
            (Some(source), Some(destination)) => {
                format!("{from}:{source} > {to}:{destination} {name}")
            }
            _ => format!("{from} > {to} {name}, ports cut off"),
        }
    }
}

/// Name of an ICMP message.
fn message(protocol: u8, kind: u8, code: u8) -> String {
    let name = match (protocol, kind) {
        (headers::PROTOCOL_ICMP, 0) | (headers::PROTOCOL_ICMP6, 129) => "echo reply",
        (headers::PROTOCOL_ICMP, 8) | (headers::PROTOCOL_ICMP6, 128) => "echo request",
        (headers::PROTOCOL_ICMP, 3) | (headers::PROTOCOL_ICMP6, 1) => "unreachable",
        (headers::PROTOCOL_ICMP6, 133) => "router solicitation",
        (headers::PROTOCOL_ICMP6, 134) => "router advertisement",
        (headers::PROTOCOL_ICMP6, 135) => "neighbour solicitation",
        (headers::PROTOCOL_ICMP6, 136) => "neighbour advertisement",
        _ => return format!("type {kind} code {code}"),
    };
    String::from(name)
}

fn arp(frame: Frame<'_>, link: Link) -> String {
    let arp = link.arp();
    let address = |at| frame.bytes::<4>(at).map(Ipv4Addr::from);
    let (Some(operation), Some(sender), Some(hardware), Some(target)) = (
        frame.number(arp.operation().offset),
        address(arp.sender_protocol().offset),
        frame.bytes::<6>(arp.sender_hardware().offset).map(mac),
        address(arp.target_protocol().offset),
    ) else {
        return String::from("ARP, cut off");
    };
    match operation {
        1 => format!("ARP who has {target}? tell {sender} at {hardware}"),
        2 => format!("ARP {sender} is at {hardware}, to {target}"),
        other => format!("ARP operation {other} from {sender} to {target}"),
    }
}

#[cfg(test)]
mod tests;
