//! From a space to an expression that a person can read.
//!
//! For each rule, candidates are tried in the order in which a person would say them. A candidate
//! is kept if the text so far, parsed again, is one rule around the rule to be described, and a
//! smaller one than before. What is left unsaid is said byte by byte. So the text means the space
//! by construction: `parse(&describe(s))` gives the same set.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;

use super::parse;
use crate::byteset::ByteSet;
use crate::cell::{Base, Cell};
use crate::field::Field;
use crate::headers::{self, Link};
use crate::limits::VLAN_DEPTH_MAX;
use crate::rule::Rule;
use crate::space::Space;

/// An expression for `space`: its rules, joined by `or`.
#[must_use]
pub fn describe(space: &Space) -> String {
    let mut rules = space.simplify().into_rules();
    // `vlan` moves all that is written after it, so only the last rule may say the word.
    rules.sort_by_key(|rule| tag(rule, Link::PLAIN).is_some());
    match rules.split_last() {
        None => "none".to_string(),
        Some((rule, [])) => Text::of(rule, true).text,
        Some((last, others)) => {
            let mut all = String::new();
            for rule in others {
                let _ = write!(all, "({}) or ", Text::of(rule, false).text);
            }
            let _ = write!(all, "({})", Text::of(last, true).text);
            all
        }
    }
}

/// The protocol of the VLAN tag that follows `link` in all frames of `rule`.
fn tag(rule: &Rule, link: Link) -> Option<u16> {
    const TAGS: [u16; 3] =
        [headers::ETHERTYPE_VLAN, headers::ETHERTYPE_QINQ, headers::ETHERTYPE_QINQ_OLD];
    let protocol = link.ethertype().fixed(rule)?;
    TAGS.into_iter().find(|&tag| protocol == tag.into())
}

/// A text and the one rule that it means.
struct Text<'a> {
    rule: &'a Rule,
    text: String,
    said: Rule,
}

impl<'a> Text<'a> {
    fn of(rule: &'a Rule, may_say_vlan: bool) -> Text<'a> {
        let mut text = Text { rule, text: String::new(), said: Rule::any() };
        text.ethernet();
        let link = if may_say_vlan { text.tags() } else { Link::PLAIN };
        match link.ethertype().fixed(rule).and_then(|number| u16::try_from(number).ok()) {
            Some(headers::ETHERTYPE_IPV4) => text.ipv4(link),
            Some(headers::ETHERTYPE_IPV6) => text.ipv6(link),
            Some(headers::ETHERTYPE_ARP) => text.arp(link),
            Some(number) => text.say(&format!("ether proto {number:#06x}")),
            None => {}
        }
        text.rest();
        if text.text.is_empty() {
            text.text.push_str("any");
        }
        text
    }

    /// Says `candidate`, if that is true and news.
    fn say(&mut self, candidate: &str) {
        let text = match self.text.as_str() {
            "" => candidate.to_string(),
            before => format!("{before} and {candidate}"),
        };
        let Ok(Ok(space)) = parse(&text).map(|expr| expr.to_space()) else { return };
        if let [said] = space.rules()
            && self.rule.is_plainly_inside(said)
            && *said != self.said
        {
            self.said = said.clone();
            self.text = text;
        }
    }

    fn ethernet(&mut self) {
        let sides = [("src", headers::ETHERNET_SOURCE), ("dst", headers::ETHERNET_DESTINATION)];
        for (side, field) in sides {
            if let Some(number) = field.fixed(self.rule) {
                let bytes: Vec<String> =
                    number.to_be_bytes()[10..].iter().map(|byte| format!("{byte:02x}")).collect();
                self.say(&format!("ether {side} {}", bytes.join(":")));
            }
        }
    }

    /// Says the VLAN tags, outermost first. `vlan` alone leaves the tag's protocol open, so that
    /// is said before it.
    fn tags(&mut self) -> Link {
        let mut link = Link::PLAIN;
        while let Some(protocol) = tag(self.rule, link).filter(|_| link.tags < VLAN_DEPTH_MAX) {
            self.say(&format!("ether proto {protocol:#06x}"));
            let before = self.text.len();
            let (value, mask) = known(self.rule, link.tag_control(link.tags));
            if mask & u128::from(headers::VLAN_ID) == headers::VLAN_ID.into() {
                self.say(&format!("vlan {}", value & u128::from(headers::VLAN_ID)));
            } else {
                self.say_tag();
            }
            if self.text.len() == before {
                break;
            }
            link.tags += 1;
        }
        link
    }

    /// Says `vlan`, which is no news behind its protocol, but moves what follows.
    fn say_tag(&mut self) {
        let text = format!("{} and vlan", self.text);
        let means = parse(&text).map(|expr| expr.to_space());
        if matches!(means, Ok(Ok(space)) if space.rules() == [self.said.clone()]) {
            self.text = text;
        }
    }

    fn ipv4(&mut self, link: Link) {
        let ip = link.ipv4();
        self.say("ip");
        // Where the header's length is fixed, ports have constant places.
        if let Some(first) = ip.first_byte().fixed(self.rule) {
            self.say(&format!("ip[0] == {first:#04x}"));
        }
        let protocol = ip.protocol().fixed(self.rule).unwrap_or(256);
        self.protocol("ip", protocol);
        let sides = [("src", ip.source()), ("dst", ip.destination())];
        for (side, field) in sides {
            if let Some((value, prefix)) = prefix(self.rule, field) {
                let address = core::net::Ipv4Addr::from_bits(value as u32);
                match prefix {
                    32 => self.say(&format!("{side} host {address}")),
                    _ => self.say(&format!("{side} net {address}/{prefix}")),
                }
            }
        }
        let transport = ip.payload().within(self.rule);
        if protocol == u128::from(headers::PROTOCOL_ICMP) {
            self.number("icmp[icmptype]", transport.icmp_type());
            self.number("icmp[icmpcode]", transport.icmp_code());
        }
        self.ports(transport.source_port(), transport.destination_port());
        if protocol == u128::from(headers::PROTOCOL_TCP)
            && transport.tcp_flags().is_tested(self.rule)
        {
            let set = self.rule.set(transport.tcp_flags().first());
            self.say(&set_test("tcp[tcpflags]", set));
        }
        self.say("ip[6:2] & 0x1fff == 0");
        self.say("ip[0] & 0xf0 == 0x40");
    }

    fn ipv6(&mut self, link: Link) {
        let ip = link.ipv6();
        self.say("ip6");
        let protocol = ip.next_header().fixed(self.rule).unwrap_or(256);
        self.protocol("ip6", protocol);
        for (side, field) in [("src", ip.source()), ("dst", ip.destination())] {
            if let Some((value, prefix)) = prefix(self.rule, field) {
                let address = core::net::Ipv6Addr::from_bits(value);
                match prefix {
                    128 => self.say(&format!("{side} host {address}")),
                    _ => self.say(&format!("{side} net {address}/{prefix}")),
                }
            }
        }
        let transport = ip.payload();
        if protocol == u128::from(headers::PROTOCOL_ICMP6) {
            self.number("icmp6[icmptype]", transport.icmp_type());
        }
        self.ports(transport.source_port(), transport.destination_port());
        self.say("ip6[0] & 0xf0 == 0x60");
    }

    fn arp(&mut self, link: Link) {
        let arp = link.arp();
        self.say("arp");
        self.number("arp[6:2]", arp.operation());
        for (side, field) in [("src", arp.sender_protocol()), ("dst", arp.target_protocol())] {
            if let Some((value, 32)) = prefix(self.rule, field) {
                let address = core::net::Ipv4Addr::from_bits(value as u32);
                self.say(&format!("{side} host {address}"));
            }
        }
    }

    fn protocol(&mut self, family: &str, number: u128) {
        let known = [
            (headers::PROTOCOL_ICMP, "icmp"),
            (headers::PROTOCOL_TCP, "tcp"),
            (headers::PROTOCOL_UDP, "udp"),
            (headers::PROTOCOL_ICMP6, "icmp6"),
            (headers::PROTOCOL_SCTP, "sctp"),
        ];
        if let Some((_, word)) = known.iter().find(|(known, _)| u128::from(*known) == number) {
            self.say(word);
        }
        if number < 256 {
            self.say(&format!("{family} proto {number}"));
        }
    }

    fn ports(&mut self, source: Field, destination: Field) {
        for (side, field) in [("src", source), ("dst", destination)] {
            match range(self.rule, field) {
                Some((0, 0xffff)) | None => {}
                Some((low, high)) if low == high => self.say(&format!("{side} port {low}")),
                Some((low, high)) => self.say(&format!("{side} portrange {low}-{high}")),
            }
        }
    }

    fn number(&mut self, name: &str, field: Field) {
        if !field.is_tested(self.rule) {
            return;
        }
        match range(self.rule, field) {
            Some((low, high)) if low == high => self.say(&format!("{name} == {low}")),
            Some((low, high)) => self.say(&format!("{name} in {low}-{high}")),
            None => {}
        }
    }

    /// Says what is still open, byte by byte, and the length.
    fn rest(&mut self) {
        for (cell, set) in self.rule.cells() {
            if self.said.set(cell) != set || !self.said.implies_existence(cell) {
                self.append(&byte_test(cell, set), self.said.with(cell, set));
            }
        }
        let length = self.rule.length();
        if self.said.length().min < length.min {
            self.append(&format!("greater {}", length.min), None);
        }
        if self.said.length().max > length.max {
            self.append(&format!("less {}", length.max), None);
        }
    }

    /// Says `test` whatever it is worth, because it is one of the rule's own.
    fn append(&mut self, test: &str, said: Option<Rule>) {
        if !self.text.is_empty() {
            self.text.push_str(" and ");
        }
        self.text.push_str(test);
        if let Some(said) = said {
            self.said = said;
        }
    }
}

/// `ether[36] in 0x00-0x13`
fn byte_test(cell: Cell, set: ByteSet) -> String {
    let place = match cell.base {
        Base::Frame => format!("ether[{}]", cell.offset),
        Base::Header(base) => format!(
            "ether[{} + ((ether[{}] & {:#04x}) << {})]",
            base.add + cell.offset,
            base.at,
            base.mask,
            base.shift
        ),
    };
    set_test(&place, set)
}

/// `place & 0x02 != 0x00`
fn set_test(place: &str, set: ByteSet) -> String {
    let set_or_not = [(set, "=="), (set.complement(), "!=")];
    for (set, relation) in set_or_not {
        match (set.single(), set.as_masked()) {
            (Some(value), _) => return format!("{place} {relation} {value:#04x}"),
            (None, Some((value, mask))) if mask != 0 => {
                return format!("{place} & {mask:#04x} {relation} {value:#04x}");
            }
            _ => {}
        }
    }
    let mut list = String::new();
    for (low, high) in set.intervals() {
        let comma = if list.is_empty() { "" } else { "," };
        let _ = match low == high {
            true => write!(list, "{comma}{low:#04x}"),
            false => write!(list, "{comma}{low:#04x}-{high:#04x}"),
        };
    }
    format!("{place} in {list}")
}

/// The bits that the rule fixes in a field, and which those are. Bytes whose sets are no masks
/// count as open.
fn known(rule: &Rule, field: Field) -> (u128, u128) {
    field.cells().fold((0, 0), |(value, mask), cell| {
        let (bits, known) = rule.set(cell).as_masked().unwrap_or((0, 0));
        (value << 8 | u128::from(bits), mask << 8 | u128::from(known))
    })
}

/// The field's value and how many of its leading bits the rule fixes, if it fixes no others.
fn prefix(rule: &Rule, field: Field) -> Option<(u128, u32)> {
    let (value, mask) = known(rule, field);
    let prefix = (mask << (128 - 8 * u32::from(field.width))).leading_ones();
    let exact = prefix > 0 && mask.count_ones() == prefix;
    exact.then_some((value, prefix))
}

/// The field's least and greatest value, if the rule's sets are those of one range.
fn range(rule: &Rule, field: Field) -> Option<(u128, u128)> {
    let (mut low, mut high) = (0u128, 0u128);
    let mut open = false;
    for cell in field.cells() {
        let set = rule.set(cell);
        let mut intervals = set.intervals();
        let (first, last) = intervals.next()?;
        // Below the first byte that varies, all bytes must be free.
        if intervals.next().is_some() || (open && !set.is_all()) {
            return None;
        }
        open |= first != last;
        low = low << 8 | u128::from(first);
        high = high << 8 | u128::from(last);
    }
    Some((low, high))
}
