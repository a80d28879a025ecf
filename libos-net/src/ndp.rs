//! Neighbour discovery and echo over ICMPv6 (RFC 4861, RFC 4443): read from the wire, and written.
//!
//! What is read was checked as the RFC demands (7.1.1, 7.1.2): a hop limit that no router has
//! touched, the checksum, options that add up. What fails a check is no message.

use alloc::vec::Vec;
use core::net::Ipv6Addr;

use crate::checksum::internet;
use crate::ethernet::{HEADER_BYTES, Header, IPV6, is_unicast};

/// Protocol number of ICMPv6.
pub const ICMP6: u8 = 58;
/// Bytes of an IPv6 header.
const IP_BYTES: usize = 40;
/// Hop limit that shows that no router was between.
const LINK_HOPS: u8 = 255;
/// Options of a message that are looked at, at most.
const OPTIONS_MAX: usize = 16;

const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOURCE_LINK: u8 = 1;
const TARGET_LINK: u8 = 2;
/// In an advertisement: it answers a question, and replaces what was known.
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// Who sends to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path6 {
    /// Ethernet source.
    pub source_mac: [u8; 6],
    /// Ethernet destination.
    pub destination_mac: [u8; 6],
    /// IPv6 source.
    pub source: Ipv6Addr,
    /// IPv6 destination.
    pub destination: Ipv6Addr,
}

impl Path6 {
    /// The way back.
    pub fn back(&self) -> Path6 {
        Path6 {
            source_mac: self.destination_mac,
            destination_mac: self.source_mac,
            source: self.destination,
            destination: self.source,
        }
    }
}

/// A message that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Who has that address?
    Solicitation {
        /// The address.
        target: Ipv6Addr,
        /// Where the asker is, if it says so.
        link: Option<[u8; 6]>,
    },
    /// Somebody has that address.
    Advertisement {
        /// The address.
        target: Ipv6Addr,
        /// Where it is.
        link: Option<[u8; 6]>,
    },
    /// A router says that it is one, or that it no longer is.
    Router {
        /// Where it is, if it says so.
        link: Option<[u8; 6]>,
        /// Seconds for which it is a default router; zero if it is none.
        seconds: u16,
    },
    /// Are you there?
    Echo {
        /// Identifier and sequence number.
        word: [u8; 4],
        /// To be sent back.
        data: &'a [u8],
    },
}

/// The group that everybody with an address like that listens to (RFC 4291, 2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// The Ethernet address of a group (RFC 2464, 7).
pub fn group_mac(group: Ipv6Addr) -> [u8; 6] {
    let [.., a, b, c, d] = group.octets();
    [0x33, 0x33, a, b, c, d]
}

/// Reads a frame: the way that it came, and what it says.
pub fn read(frame: &[u8]) -> Option<(Path6, Message<'_>)> {
    let (header, packet) = Header::split(frame)?;
    let (ip, rest) = packet.split_first_chunk::<IP_BYTES>()?;
    let body = rest.get(..usize::from(u16::from_be_bytes([ip[4], ip[5]])))?;
    if header.ethertype != IPV6 || ip[0] >> 4 != 6 || ip[6] != ICMP6 || body.len() < 8 {
        return None;
    }
    let (source, destination) = (address(&ip[8..])?, address(&ip[24..])?);
    let path = Path6 {
        source_mac: header.source,
        destination_mac: header.destination,
        source,
        destination,
    };
    if sum(&path, body) != 0 || source.is_multicast() {
        return None;
    }
    let near = ip[7] == LINK_HOPS && body[1] == 0;
    let message = match body[0] {
        ECHO_REQUEST if body[1] == 0 => echo(body)?,
        SOLICITATION if near => solicitation(&path, body)?,
        ADVERTISEMENT if near => advertisement(&path, body)?,
        ROUTER_ADVERTISEMENT if near => router(&path, body)?,
        _ => return None,
    };
    Some((path, message))
}

fn address(bytes: &[u8]) -> Option<Ipv6Addr> {
    bytes.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes))
}

fn echo(body: &[u8]) -> Option<Message<'_>> {
    let word = body.get(4..)?.first_chunk::<4>()?;
    Some(Message::Echo { word: *word, data: body.get(8..)? })
}

fn solicitation<'a>(path: &Path6, body: &[u8]) -> Option<Message<'a>> {
    let target = address(body.get(8..)?)?;
    let link = link(body.get(24..)?, SOURCE_LINK)?;
    // Who has no address yet asks the group, and has no place to be answered at.
    let probe = path.source.is_unspecified();
    let to_group = path.destination == solicited_node(target);
    let valid = !target.is_multicast() && (!probe || (to_group && link.is_none()));
    valid.then_some(Message::Solicitation { target, link })
}

fn advertisement<'a>(path: &Path6, body: &[u8]) -> Option<Message<'a>> {
    let target = address(body.get(8..)?)?;
    let link = link(body.get(24..)?, TARGET_LINK)?;
    let solicited = body.get(4)? & SOLICITED != 0;
    let to_all = solicited && path.destination.is_multicast();
    let valid = !target.is_multicast() && !to_all;
    valid.then_some(Message::Advertisement { target, link })
}

/// Only routers of this link count: they speak from link-local addresses (6.1.2).
fn router<'a>(path: &Path6, body: &[u8]) -> Option<Message<'a>> {
    let fixed = body.first_chunk::<16>()?;
    let link = link(body.get(16..)?, SOURCE_LINK)?;
    let seconds = u16::from_be_bytes([fixed[6], fixed[7]]);
    path.source.is_unicast_link_local().then_some(Message::Router { link, seconds })
}

/// The link-layer address among the options; `None` if the options do not add up.
fn link(options: &[u8], wanted: u8) -> Option<Option<[u8; 6]>> {
    let mut rest = options;
    let mut found = None;
    for _ in 0..OPTIONS_MAX {
        let [kind, units, ..] = *rest else { return rest.is_empty().then_some(found) };
        let length = usize::from(units) * 8;
        let option = rest.get(..length).filter(|option| !option.is_empty())?;
        if kind == wanted && length == 8 {
            found = option.get(2..)?.first_chunk::<6>().copied().filter(|mac| is_unicast(*mac));
        }
        rest = rest.get(length..)?;
    }
    None
}

/// "Who has that address?", from an address of ours.
pub fn ask(mac: [u8; 6], source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let destination = solicited_node(target);
    let destination_mac = group_mac(destination);
    let path = Path6 { source_mac: mac, destination_mac, source, destination };
    let option = [&[SOURCE_LINK, 1][..], &mac].concat();
    message(&path, SOLICITATION, [0; 4], &[&target.octets(), &option])
}

/// All nodes, and all routers, of a link (RFC 4291, 2.7.1).
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// See [`ALL_NODES`].
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// "Who is a router here?", from an address of ours.
pub fn ask_routers(mac: [u8; 6], source: Ipv6Addr) -> Vec<u8> {
    let (destination, destination_mac) = (ALL_ROUTERS, group_mac(ALL_ROUTERS));
    let path = Path6 { source_mac: mac, destination_mac, source, destination };
    let option = [&[SOURCE_LINK, 1][..], &mac].concat();
    message(&path, ROUTER_SOLICITATION, [0; 4], &[&option])
}

/// "I am a router, for so long", to all nodes.
pub fn route(mac: [u8; 6], source: Ipv6Addr, seconds: u16) -> Vec<u8> {
    let (destination, destination_mac) = (ALL_NODES, group_mac(ALL_NODES));
    let path = Path6 { source_mac: mac, destination_mac, source, destination };
    let [high, low] = seconds.to_be_bytes();
    let option = [&[SOURCE_LINK, 1][..], &mac].concat();
    message(&path, ROUTER_ADVERTISEMENT, [64, 0, high, low], &[&[0; 8], &option])
}

/// "We have that address", to who asked by that way.
pub fn tell(asked: &Path6, mac: [u8; 6], target: Ipv6Addr) -> Vec<u8> {
    let mut path = Path6 { source_mac: mac, source: target, ..asked.back() };
    let mut flags = SOLICITED | OVERRIDE;
    if asked.source.is_unspecified() {
        // Nobody in particular: all nodes (7.2.4).
        path.destination = ALL_NODES;
        path.destination_mac = group_mac(path.destination);
        flags = OVERRIDE;
    }
    let option = [&[TARGET_LINK, 1][..], &mac].concat();
    message(&path, ADVERTISEMENT, [flags, 0, 0, 0], &[&target.octets(), &option])
}

/// The answer to an echo request that came by that way to an address of ours.
pub fn pong(asked: &Path6, mac: [u8; 6], word: [u8; 4], data: &[u8]) -> Vec<u8> {
    let path = Path6 { source_mac: mac, ..asked.back() };
    message(&path, ECHO_REPLY, word, &[data])
}

/// An echo request.
pub fn ping(path: &Path6, word: [u8; 4], data: &[u8]) -> Vec<u8> {
    message(path, ECHO_REQUEST, word, &[data])
}

fn message(path: &Path6, kind: u8, word: [u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let mut body = alloc::vec![kind, 0, 0, 0];
    body.extend_from_slice(&word);
    parts.iter().for_each(|part| body.extend_from_slice(part));
    let check = sum(path, &body).to_be_bytes();
    body[2..4].copy_from_slice(&check);
    let header =
        Header { destination: path.destination_mac, source: path.source_mac, ethertype: IPV6 };
    let mut frame = Vec::with_capacity(HEADER_BYTES + IP_BYTES + body.len());
    frame.extend_from_slice(&header.bytes());
    frame.extend_from_slice(&[0x60, 0, 0, 0]);
    // What is answered came in a frame: it is no longer than one.
    frame.extend_from_slice(&(body.len() as u16).to_be_bytes());
    frame.extend_from_slice(&[ICMP6, LINK_HOPS]);
    frame.extend_from_slice(&path.source.octets());
    frame.extend_from_slice(&path.destination.octets());
    frame.extend_from_slice(&body);
    frame
}

/// The checksum with its pseudo-header (RFC 8200, 8.1): zero over what has its own right one.
fn sum(path: &Path6, body: &[u8]) -> u16 {
    let length = (body.len() as u32).to_be_bytes();
    let (source, destination) = (path.source.octets(), path.destination.octets());
    internet(&[&source, &destination, &length, &[0, 0, 0, ICMP6], body])
}

#[cfg(test)]
mod tests {
    use super::{Message, Path6, ask, group_mac, ping, pong, read, route, solicited_node, tell};
    use alloc::vec;
    use core::net::Ipv6Addr;

    const US: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const THEM: [u8; 6] = [2, 0, 0, 0, 0, 2];

    fn ip(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    #[test]
    fn a_question_is_read_and_answered() {
        let (ours, theirs) = (ip("fe80::15"), ip("fe80::2"));
        let question = ask(THEM, theirs, ours);
        let (path, message) = read(&question).unwrap();
        assert_eq!(message, Message::Solicitation { target: ours, link: Some(THEM) });
        assert_eq!(path.destination, solicited_node(ours));
        assert_eq!(path.destination_mac, [0x33, 0x33, 0xff, 0, 0, 0x15]);
        let answer = tell(&path, US, ours);
        let (back, message) = read(&answer).unwrap();
        assert_eq!(message, Message::Advertisement { target: ours, link: Some(US) });
        assert_eq!((back.source, back.destination), (ours, theirs));
        assert_eq!((back.source_mac, back.destination_mac), (US, THEM));
    }

    #[test]
    fn who_has_no_address_yet_is_answered_through_the_group() {
        let ours = ip("fd00::15");
        let destination = solicited_node(ours);
        let asked = Path6 {
            source_mac: THEM,
            destination_mac: group_mac(destination),
            source: Ipv6Addr::UNSPECIFIED,
            destination,
        };
        let answer = tell(&asked, US, ours);
        let (back, _) = read(&answer).unwrap();
        assert_eq!(
            (back.destination, back.destination_mac),
            (ip("ff02::1"), [0x33, 0x33, 0, 0, 0, 1])
        );
    }

    #[test]
    fn a_router_says_what_it_is_and_only_from_this_link() {
        let frame = route(THEM, ip("fe80::2"), 1800);
        let (path, message) = read(&frame).unwrap();
        assert_eq!(message, Message::Router { link: Some(THEM), seconds: 1800 });
        assert_eq!(path.destination, super::ALL_NODES);
        assert_eq!(read(&route(THEM, ip("fd00::2"), 1800)), None);
        for length in 0..frame.len() {
            assert_eq!(read(&frame[..length]), None);
        }
        let question = super::ask_routers(US, ip("fe80::15"));
        assert_eq!((question[54], question.len()), (133, 14 + 40 + 16));
        assert_eq!(read(&question), None, "nothing that a station answers");
    }

    #[test]
    fn an_echo_comes_back_whole() {
        let path = Path6 {
            source_mac: THEM,
            destination_mac: US,
            source: ip("fd00::2"),
            destination: ip("fd00::15"),
        };
        for length in [0, 1, 56, 1400] {
            let data = vec![7; length];
            let question = ping(&path, [1, 2, 3, 4], &data);
            let (asked, message) = read(&question).unwrap();
            assert_eq!(message, Message::Echo { word: [1, 2, 3, 4], data: &data });
            let answer = pong(&asked, US, [1, 2, 3, 4], &data);
            assert_eq!((answer.len(), answer[54]), (question.len(), 129));
            assert_eq!(super::sum(&asked.back(), &answer[54..]), 0);
        }
    }

    #[test]
    fn what_fails_a_check_is_no_message() {
        let good = ask(THEM, ip("fe80::2"), ip("fe80::15"));
        for length in 0..good.len() {
            assert_eq!(read(&good[..length]), None, "cut to {length}");
        }
        for place in (12..14).chain(18..good.len()) {
            let mut other = good.clone();
            other[place] ^= 1;
            assert_eq!(read(&other), None, "changed at {place}");
        }
        let mut far = good.clone();
        far[21] = 64;
        assert_eq!(read(&far), None, "through a router");
        // An option of no length would be read for ever.
        let path = read(&good).unwrap().0;
        let endless = super::message(
            &path,
            135,
            [0; 4],
            &[&ip("fe80::15").octets(), &[1, 0, 9, 9, 9, 9, 9, 9]],
        );
        assert_eq!(read(&endless), None);
        let group = super::message(&path, 135, [0; 4], &[&ip("ff02::1").octets()]);
        assert_eq!(read(&group), None);
        let bare = super::message(&path, 135, [0; 4], &[&ip("fe80::15").octets()]);
        assert!(matches!(read(&bare), Some((_, Message::Solicitation { link: None, .. }))));
        let lies = super::message(
            &path,
            135,
            [0; 4],
            &[&ip("fe80::15").octets(), &[1, 1, 0xff, 9, 9, 9, 9, 9]],
        );
        assert!(matches!(read(&lies), Some((_, Message::Solicitation { link: None, .. }))));
    }
}
