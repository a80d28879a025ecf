//! A text about some rules, said phrase by phrase.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::known::{byte_test, known, may_be_tagged, prefix, range, set_test, tag};
use super::parse;
use crate::field::Field;
use crate::headers::{self, Link};
use crate::limits::VLAN_DEPTH_MAX;
use crate::rule::Rule;
use crate::space::Space;

/// A text about a group of rules, and what it means so far.
pub(super) struct Text<'a> {
    rules: &'a [Rule],
    /// The first of them, which candidates are made from.
    rule: &'a Rule,
    pub(super) text: String,
    said: Space,
}

impl<'a> Text<'a> {
    /// A text that means the union of several rules, if one is found.
    pub(super) fn of_group(rules: &'a [Rule], may_say_vlan: bool) -> Option<String> {
        let text = (rules.len() > 1).then(|| Text::of(rules, may_say_vlan).text)?;
        let means = parse(&text).ok()?.to_space().ok()?;
        let space = Space::from_rules(rules.to_vec());
        (means.subset_of(&space).is_ok() && space.subset_of(&means).is_ok()).then_some(text)
    }

    /// A text about `rules`. About one rule it is exact; about several it may say too little.
    pub(super) fn of(rules: &'a [Rule], may_say_vlan: bool) -> Text<'a> {
        let mut text = Text { rules, rule: &rules[0], text: String::new(), said: Space::all() };
        text.ethernet();
        let link = if may_say_vlan { text.tags() } else { Link::PLAIN };
        match link.ethertype().fixed(text.rule).and_then(|number| u16::try_from(number).ok()) {
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

    /// Says `candidate`, if that is true of all rules and news.
    fn say(&mut self, candidate: &str) {
        let text = match self.text.as_str() {
            "" => candidate.to_string(),
            before => format!("{before} and {candidate}"),
        };
        let Ok(Ok(said)) = parse(&text).map(|expr| expr.to_space()) else { return };
        let is_around = |rule: &Rule| said.rules().iter().any(|said| rule.is_plainly_inside(said));
        if said.rules().len() <= self.rules.len()
            && self.rules.iter().all(is_around)
            && said != self.said
        {
            self.said = said;
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
        if self.rules.len() > 1 && may_be_tagged(self.rule, link) {
            self.say(&vlan(self.rule, link));
            link.tags += u16::from(!self.text.is_empty());
        }
        while let Some(protocol) = tag(self.rule, link).filter(|_| link.tags < VLAN_DEPTH_MAX) {
            self.say(&format!("ether proto {protocol:#06x}"));
            let before = self.text.len();
            match vlan(self.rule, link) {
                word if word == "vlan" => self.say_tag(),
                word => self.say(&word),
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
        if matches!(means, Ok(Ok(space)) if space == self.said) {
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
            let ranges = || self.rules.iter().filter_map(|rule| range(rule, field));
            let low = ranges().map(|(low, _)| low).min();
            let high = ranges().map(|(_, high)| high).max();
            match low.zip(high) {
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

    /// Says what is still open in all rules alike, byte by byte, and the length.
    fn rest(&mut self) {
        for (cell, set) in self.rule.cells() {
            let alike = self.rules.iter().all(|rule| rule.set(cell) == set);
            let open = |said: &Rule| said.set(cell) != set || !said.implies_existence(cell);
            if alike && self.said.rules().iter().any(open) {
                self.append(&byte_test(cell, set));
                let said = self.said.rules().iter().filter_map(|said| said.with(cell, set));
                self.said = Space::from_rules(said.collect());
            }
        }
        let length = self.rule.length();
        if self.said.rules().iter().any(|said| said.length().min < length.min) {
            self.append(&format!("greater {}", length.min));
        }
        if self.said.rules().iter().any(|said| said.length().max > length.max) {
            self.append(&format!("less {}", length.max));
        }
    }

    /// Says `test` whatever it is worth, because it is one of the rules' own.
    fn append(&mut self, test: &str) {
        if !self.text.is_empty() {
            self.text.push_str(" and ");
        }
        self.text.push_str(test);
    }
}

/// `vlan 5`, or `vlan` if the rule leaves the id open.
fn vlan(rule: &Rule, link: Link) -> String {
    let (value, mask) = known(rule, link.tag_control(link.tags));
    let id = u128::from(headers::VLAN_ID);
    if mask & id == id { format!("vlan {}", value & id) } else { "vlan".to_string() }
}
