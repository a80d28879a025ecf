//! What the owner of a receive space may send, unless told otherwise.
//!
//! [`mirror`] turns a space around, field by field:
//!
//! - *swap* the Ethernet, IP and ARP addresses and the ports;
//! - *keep* ethertype, VLAN tags, IP version and header length, protocol;
//! - *answer* with the other type of ICMP echo and neighbour discovery, the other operation of ARP;
//! - *force* the Ethernet source (and ARP's sender hardware address) to be ours, and IPv4 datagrams
//!   not to be fragments;
//! - *free* is the rest: lengths, time to live, checksums, options, flags, payload.
//!
//! A field is known only where the rule says which header it is in. A rule that tests bytes of
//! which nobody knows what they are is refused: freeing them could let another owner's replies be
//! forged.

use core::fmt;

use crate::byteset::ByteSet;
use crate::cell::{Base, Cell, HeaderBase};
use crate::field::Field;
use crate::headers::{self, Link, Transport};
use crate::limits::VLAN_DEPTH_MAX;
use crate::rule::Rule;
use crate::space::Space;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Our Ethernet address.
    pub mac: [u8; 6],
}

/// Why a space has no mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MirrorError {
    /// A rule leaves open which fields it tests.
    Ambiguous {
        /// Index of the rule in the space.
        rule: usize,
        /// What it leaves open.
        why: &'static str,
    },
}

impl fmt::Display for MirrorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MirrorError::Ambiguous { rule, why } = self;
        write!(f, "rule {rule} cannot be turned around: {why}")
    }
}

impl core::error::Error for MirrorError {}

/// The frames that answer those of `space`.
///
/// # Errors
/// [`MirrorError::Ambiguous`] for the first rule whose fields are not known.
pub fn mirror(space: &Space, identity: &Identity) -> Result<Space, MirrorError> {
    let mut rules = alloc::vec::Vec::new();
    for (index, rule) in space.rules().iter().enumerate() {
        let turned = turn(rule, identity);
        rules.extend(turned.map_err(|why| MirrorError::Ambiguous { rule: index, why })?);
    }
    Ok(Space::from_rules(rules).simplify())
}

/// ICMP types and their answers (RFC 792); what is not listed answers itself.
const ICMP_ANSWERS: [(u8, u8); 1] = [headers::ICMP_ECHO];
/// ICMPv6 types and their answers: echo (RFC 4443), router and neighbour discovery (RFC 4861).
const ICMP6_ANSWERS: [(u8, u8); 3] = [headers::ICMP6_ECHO, (133, 134), (135, 136)];
/// ARP's operations, low byte.
const ARP_ANSWERS: [(u8, u8); 1] = [(1, 2)];

/// One rule turned around, or what is not known about it. `None`: it has no answers.
fn turn(rule: &Rule, identity: &Identity) -> Result<Option<Rule>, &'static str> {
    let (link, ethertype) = link(rule)?;
    let mut turn = Turn { from: rule, to: Some(Rule::any()) };
    turn.keep(Link::PLAIN.ethertype());
    for index in 0..link.tags {
        turn.keep(link.tag_control(index));
        turn.keep(link.tag_protocol(index + 1));
    }
    turn.copy(headers::ETHERNET_SOURCE, headers::ETHERNET_DESTINATION);
    turn.force(headers::ETHERNET_SOURCE, mac(identity), u128::MAX);
    match ethertype {
        headers::ETHERTYPE_IPV4 => turn.ipv4(link)?,
        headers::ETHERTYPE_IPV6 => turn.ipv6(link)?,
        headers::ETHERTYPE_ARP => turn.arp(link, identity),
        _ => {}
    }
    Ok(turn.to)
}

/// The tags and the ethertype of the rule's frames.
fn link(rule: &Rule) -> Result<(Link, u16), &'static str> {
    let mut link = Link::PLAIN;
    loop {
        let fixed = link.ethertype().fixed(rule).and_then(|number| u16::try_from(number).ok());
        let ethertype = fixed.ok_or("it does not fix the ethertype")?;
        if !headers::ETHERTYPE_TAGS.contains(&ethertype) {
            return Ok((link, ethertype));
        }
        if link.tags == VLAN_DEPTH_MAX {
            return Err("it has more VLAN tags than we know (VLAN_DEPTH_MAX)");
        }
        link.tags += 1;
    }
}

fn mac(identity: &Identity) -> u128 {
    identity.mac.iter().fold(0, |number, &byte| number << 8 | u128::from(byte))
}

/// A rule and its answer in the making.
struct Turn<'a> {
    from: &'a Rule,
    to: Option<Rule>,
}

impl Turn<'_> {
    fn ipv4(&mut self, link: Link) -> Result<(), &'static str> {
        let ip = link.ipv4();
        let place = ip.payload().within(self.from);
        let protocol = self.from.set(ip.protocol().first());
        self.demand_known(ip.options(), HeaderBase::ipv4_payload(ip.start), place)?;
        self.keep(ip.first_byte());
        self.restrict(ip.first_byte().first(), headers::IPV4_FIRST_BYTE);
        self.force(ip.fragment(), 0, headers::FRAGMENT.into());
        self.keep(ip.protocol());
        self.swap(ip.source(), ip.destination());
        self.transport(protocol, place, ip.payload(), (headers::PROTOCOL_ICMP, &ICMP_ANSWERS))
    }

    fn ipv6(&mut self, link: Link) -> Result<(), &'static str> {
        let ip = link.ipv6();
        if !self.from.is_absolute() {
            return Err("it tests bytes behind a header that is none of IPv6");
        }
        let protocol = self.from.set(ip.next_header().first());
        self.keep(ip.first_byte());
        self.restrict(ip.first_byte().first(), ByteSet::masked(0x60, 0xf0));
        self.keep(ip.next_header());
        self.swap(ip.source(), ip.destination());
        let place = ip.payload();
        self.transport(protocol, place, place, (headers::PROTOCOL_ICMP6, &ICMP6_ANSWERS))
    }

    fn arp(&mut self, link: Link, identity: &Identity) {
        let arp = link.arp();
        for field in [arp.hardware(), arp.protocol(), arp.address_lengths()] {
            self.keep(field);
        }
        let (high, low) = (arp.operation().first(), arp.operation().last());
        self.restrict(high, self.from.set(high));
        self.restrict(low, answers(self.from.set(low), &ARP_ANSWERS));
        self.swap(arp.sender_protocol(), arp.target_protocol());
        self.copy(arp.sender_hardware(), arp.target_hardware());
        self.force(arp.sender_hardware(), mac(identity), u128::MAX);
    }

    /// Turns the transport header around, which stands at `place` in the rule's frames and at `to`
    /// in the answers: ports, or the type of an ICMP message.
    fn transport(
        &mut self,
        protocol: ByteSet,
        place: Transport,
        to: Transport,
        icmp: (u8, &[(u8, u8)]),
    ) -> Result<(), &'static str> {
        let ported = [headers::PROTOCOL_TCP, headers::PROTOCOL_UDP, headers::PROTOCOL_SCTP];
        if protocol.values().all(|number| ported.contains(&number)) {
            self.copy(place.source_port(), to.destination_port());
            self.copy(place.destination_port(), to.source_port());
            return Ok(());
        }
        if protocol.single() == Some(icmp.0) {
            let set = self.from.set(place.icmp_type().first());
            self.restrict(to.icmp_type().first(), answers(set, icmp.1));
            return Ok(());
        }
        let behind = |cell: Cell| cell.base == place.base && cell.offset >= place.start;
        if self.from.cells().any(|(cell, _)| behind(cell)) && protocol.single().is_none() {
            return Err("it tests bytes of a transport header without fixing the protocol");
        }
        Ok(())
    }

    /// Refuses rules that test bytes of which it is open whether they are options or payload:
    /// those at a constant offset behind `fixed`, or behind another base than `base`.
    fn demand_known(
        &self,
        fixed: u16,
        base: HeaderBase,
        place: Transport,
    ) -> Result<(), &'static str> {
        let is_known = |cell: Cell| match cell.base {
            Base::Frame => cell.offset < fixed || place.base == Base::Frame,
            Base::Header(other) => other == base,
        };
        if self.from.cells().all(|(cell, _)| is_known(cell)) {
            return Ok(());
        }
        Err("it tests bytes behind the IPv4 header without heeding the header's length")
    }

    fn swap(&mut self, one: Field, other: Field) {
        self.copy(one, other);
        self.copy(other, one);
    }

    fn keep(&mut self, field: Field) {
        self.copy(field, field);
    }

    /// What the rule asks of one field, the answer asks of another.
    fn copy(&mut self, from: Field, to: Field) {
        for (ours, theirs) in from.cells().zip(to.cells()) {
            self.restrict(theirs, self.from.set(ours));
        }
    }

    fn force(&mut self, field: Field, value: u128, mask: u128) {
        if let Some(mut rule) = self.to.take() {
            self.to = field.narrow(&mut rule, value, mask).then_some(rule);
        }
    }

    fn restrict(&mut self, cell: Cell, set: ByteSet) {
        if let Some(rule) = self.to.as_mut().filter(|_| !set.is_all())
            && !rule.restrict(cell, set)
        {
            self.to = None;
        }
    }
}

/// The answers to the members of `set`: the other one of a pair, and whatever is in no pair itself.
fn answers(set: ByteSet, pairs: &[(u8, u8)]) -> ByteSet {
    let answer = |value: u8| {
        pairs
            .iter()
            .find_map(|&(a, b)| match value {
                _ if value == a => Some(b),
                _ if value == b => Some(a),
                _ => None,
            })
            .unwrap_or(value)
    };
    ByteSet::from_fn(|value| set.contains(answer(value)))
}
