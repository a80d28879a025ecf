//! What a test means, as a space.

use alloc::vec::Vec;

use super::test::{Family, Header, Net, Ports, Side, Test, Value};
use crate::byteset::ByteSet;
use crate::field::Field;
use crate::headers::{self, Link, Transport};
use crate::rule::Rule;
use crate::space::Space;

impl Test {
    /// The frames in which the test holds.
    pub(super) fn space(&self) -> Space {
        match self {
            Test::Constant(true) => Space::all(),
            Test::Constant(false) | Test::Length(None) => Space::empty(),
            Test::Length(Some(range)) => of(Rule::any().with_length(*range)),
            Test::EtherType(link, number) => of(carries(*link, *number)),
            Test::Ether(side, address) => ether(*side, *address),
            Test::Vlan(link, id) => vlan(*link, *id),
            Test::Protocol(link, family, number) => protocol(*link, *family, *number),
            Test::Net(link, family, side, net) => addresses(*link, *family, *side, *net),
            Test::Port(link, family, side, ports) => port(*link, *family, *side, *ports),
            Test::Bytes(link, header, value) => bytes(*link, *header, value),
            Test::Byte(cell, set) => of(Rule::any().with(*cell, *set)),
        }
    }
}

fn of(rule: Option<Rule>) -> Space {
    Space::from_rules(rule.into_iter().collect())
}

/// Both spaces' frames. The spaces of single tests have a handful of rules each.
fn and(left: &Space, right: &Space) -> Space {
    let pairs = left.rules().iter().flat_map(|a| right.rules().iter().map(move |b| (a, b)));
    Space::from_rules(pairs.filter_map(|(a, b)| a.intersect(b)).collect())
}

/// The frames in which the field is the number.
fn is(rule: Option<Rule>, field: Field, number: u128, mask: u128) -> Option<Rule> {
    let mut rule = rule?;
    field.narrow(&mut rule, number, mask).then_some(rule)
}

fn carries(link: Link, ethertype: u16) -> Option<Rule> {
    is(Some(Rule::any()), link.ethertype(), ethertype.into(), u128::MAX)
}

/// The test on one side, on either or on both.
fn on_sides(side: Side, test: impl Fn(bool) -> Space) -> Space {
    match side {
        Side::Source => test(true),
        Side::Destination => test(false),
        Side::Either => test(true).union(&test(false)),
        Side::Both => and(&test(true), &test(false)),
    }
}

fn ether(side: Side, address: u64) -> Space {
    on_sides(side, |source| {
        let field = if source { headers::ETHERNET_SOURCE } else { headers::ETHERNET_DESTINATION };
        field.equals(address.into())
    })
}

fn vlan(link: Link, id: Option<u16>) -> Space {
    let control = link.tag_control(link.tags);
    let rules = headers::ETHERTYPE_TAGS.into_iter().filter_map(|protocol| {
        let rule = carries(link, protocol);
        match id {
            Some(id) => is(rule, control, id.into(), headers::VLAN_ID.into()),
            None => rule,
        }
    });
    Space::from_rules(rules.collect())
}

fn protocol(link: Link, family: Family, number: u8) -> Space {
    let v4 = || {
        let rule = carries(link, headers::ETHERTYPE_IPV4);
        of(is(rule, link.ipv4().protocol(), number.into(), 0xff))
    };
    let v6 = || {
        let rule = carries(link, headers::ETHERTYPE_IPV6);
        of(is(rule, link.ipv6().next_header(), number.into(), 0xff))
    };
    by_family(family, v4, v6)
}

fn by_family(family: Family, v4: impl Fn() -> Space, v6: impl Fn() -> Space) -> Space {
    match family {
        Family::Any => v4().union(&v6()),
        Family::Ip => v4(),
        Family::Ip6 => v6(),
        Family::Arp => Space::empty(),
    }
}

/// A host or net: IPv4 and ARP unless one is named, or IPv6.
fn addresses(link: Link, family: Family, side: Side, net: Net) -> Space {
    let (ip, ip6, arp) = (link.ipv4(), link.ipv6(), link.arp());
    let test = |ethertype: u16, source: Field, destination: Field| {
        on_sides(side, |is_source| {
            let field = if is_source { source } else { destination };
            of(is(carries(link, ethertype), field, net.number(), net.mask()))
        })
    };
    let v4 = || test(headers::ETHERTYPE_IPV4, ip.source(), ip.destination());
    let arp = || test(headers::ETHERTYPE_ARP, arp.sender_protocol(), arp.target_protocol());
    match family {
        Family::Ip => v4(),
        Family::Arp => arp(),
        Family::Ip6 => test(headers::ETHERTYPE_IPV6, ip6.source(), ip6.destination()),
        Family::Any => v4().union(&arp()),
    }
}

fn port(link: Link, family: Family, side: Side, ports: Ports) -> Space {
    let on = |base: Option<Rule>, transport: Transport| {
        on_sides(side, |source| {
            let field = if source { transport.source_port() } else { transport.destination_port() };
            and(&of(base.clone()), &field.between(0xffff, ports.low.into(), ports.high.into()))
        })
    };
    let protocols = match ports.protocol {
        Some(number) => ByteSet::exact(number),
        None => [headers::PROTOCOL_TCP, headers::PROTOCOL_UDP, headers::PROTOCOL_SCTP]
            .map(ByteSet::exact)
            .into_iter()
            .fold(ByteSet::EMPTY, ByteSet::union),
    };
    by_family(
        family,
        || on(first_fragment(link, protocols), link.ipv4().payload()),
        || on(plain_ipv6(link, protocols), link.ipv6().payload()),
    )
}

/// IPv4 with a transport header where its length says: version 4, IHL >= 5, fragment offset zero.
fn first_fragment(link: Link, protocols: ByteSet) -> Option<Rule> {
    let ip = link.ipv4();
    let rule = carries(link, headers::ETHERTYPE_IPV4)?
        .with(ip.first_byte().first(), headers::IPV4_FIRST_BYTE)?
        .with(ip.protocol().first(), protocols);
    is(rule, ip.fragment(), 0, headers::FRAGMENT_OFFSET.into())
}

/// IPv6 with the transport header at once behind the fixed header.
fn plain_ipv6(link: Link, protocols: ByteSet) -> Option<Rule> {
    let ip = link.ipv6();
    carries(link, headers::ETHERTYPE_IPV6)?
        .with(ip.first_byte().first(), ByteSet::masked(0x60, 0xf0))?
        .with(ip.next_header().first(), protocols)
}

fn bytes(link: Link, header: Header, value: &Value) -> Space {
    let Field { offset, width, .. } = value.field;
    let at = |start: u16| Field::frame(start.saturating_add(offset), width);
    let (base, field) = match header {
        Header::Ether => (Some(Rule::any()), value.field),
        Header::Arp => (carries(link, headers::ETHERTYPE_ARP), at(link.payload())),
        Header::Ip => (carries(link, headers::ETHERTYPE_IPV4), at(link.payload())),
        Header::Ip6 => (carries(link, headers::ETHERTYPE_IPV6), at(link.payload())),
        Header::Transport(protocol) => (
            first_fragment(link, ByteSet::exact(protocol)),
            link.ipv4().payload().at(offset, width),
        ),
        Header::Icmp6 => (
            plain_ipv6(link, ByteSet::exact(headers::PROTOCOL_ICMP6)),
            link.ipv6().payload().at(offset, width),
        ),
    };
    let rules: Vec<Rule> = value
        .ranges
        .iter()
        .flat_map(|&(low, high)| {
            field.between(value.mask.into(), low.into(), high.into()).into_rules()
        })
        .collect();
    and(&of(base), &Space::from_rules(rules))
}
