//! Worlds of filters by the million, for the bench of the proof index.
//!
//! No two filters of a world meet, so that all of them can be installed. Each comes as bytecode's
//! claim, through the whole chain of proofs, and as ternary rules over the 5-tuple for the peer.

use core::net::Ipv4Addr;

use flow::headers;
use verifier::Claim;

use crate::ovs::Ternary;
use crate::world::{lowered, proven};

/// What the filters of a world look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Connections: both addresses, both ports.
    Tuples,
    /// Networks of 2 to 1,024 addresses.
    Prefixes,
    /// Ranges of ports at an address.
    Ranges,
    /// Seven tenths connections; listeners, networks, ranges, and what comes from one address.
    Mixed,
    /// Connections that share every part with many others, counted up: and the listeners,
    /// networks and sources whose tables these parts are the keys of.
    Adversarial,
}

/// All kinds, with their names.
pub const KINDS: [(Kind, &str); 5] = [
    (Kind::Tuples, "5-tuples"),
    (Kind::Prefixes, "prefixes"),
    (Kind::Ranges, "port ranges"),
    (Kind::Mixed, "mixed"),
    (Kind::Adversarial, "adversarial"),
];

/// One tenant's filter.
#[derive(Clone, Copy, Debug)]
pub enum Filter {
    /// From one address and port to another.
    Tuple(u32, u16, u32, u16),
    /// To an address and port.
    Listener(u32, u16),
    /// To a network: address, length of the prefix.
    Network(u32, u8),
    /// To an address and a range of ports.
    Range(u32, u16, u16),
    /// TCP from an address to a port; all others are UDP.
    Source(u32, u16),
}

/// The `number`-th filter of a world.
#[must_use]
pub fn filter(kind: Kind, number: u32) -> Filter {
    let noise = scattered(number);
    match kind {
        Kind::Tuples => tuple(number, noise),
        Kind::Prefixes => {
            let prefix = 22 + (noise % 10) as u8;
            Filter::Network((number << 10).wrapping_add(0x0100_0000), prefix)
        }
        Kind::Ranges => {
            let low = (number % 64) as u16 * 1000 + (noise % 400) as u16;
            Filter::Range(0x0a00_0000 | (number / 64), low, low + (noise >> 12) as u16 % 600)
        }
        Kind::Mixed => match number % 10 {
            0 => Filter::Listener(0x0b00_0000 | number, 80),
            1 => Filter::Network(0x4000_0000 | (number / 10 * 1024), 22 + (noise % 10) as u8),
            2 => Filter::Range(0x0d00_0000 | number, (noise % 60_000) as u16, 61_000),
            _ => tuple(number, noise),
        },
        Kind::Adversarial => match number % 20 {
            0 => Filter::Listener(0x0b00_0000 | number, 80),
            1 => Filter::Network(0x4000_0000 | (number / 20 * 1024), 31),
            2 => Filter::Source(0x0c00_0000 | number, 80),
            _ => {
                Filter::Tuple(0x0e00_0000 | number >> 10, (number & 0x3ff) as u16, 0x0a00_0001, 80)
            }
        },
    }
}

fn tuple(number: u32, noise: u32) -> Filter {
    let server = 0x0a00_0000 | (number % 1000);
    Filter::Tuple(noise, (number >> 8) as u16, server, 443)
}

/// Scatters numbers one to one.
const fn scattered(number: u32) -> u32 {
    let a = number.wrapping_mul(0x9e37_79b1);
    let b = (a ^ a >> 15).wrapping_mul(0x85eb_ca6b);
    b ^ b >> 13
}

impl Filter {
    /// Through the whole chain: lowered to bytecode, proven safe, the claim extracted.
    #[must_use]
    pub fn claim(self) -> Claim {
        let space = match self {
            Filter::Tuple(from, from_port, to, to_port) => {
                headers::udp_from_to((from.to_be_bytes(), from_port), (to.to_be_bytes(), to_port))
            }
            Filter::Listener(to, port) => headers::udp_to(to.to_be_bytes(), port),
            other => {
                let text = other.text();
                let expr = flow::expr::parse(&text).unwrap_or_else(|it| panic!("{text}: {it}"));
                expr.to_space().unwrap_or_else(|error| panic!("{text}: {error}"))
            }
        };
        proven(&lowered(&space))
    }

    fn text(self) -> String {
        let masked = |address: u32, prefix: u8| address & u32::MAX << (32 - prefix);
        let host = Ipv4Addr::from;
        match self {
            Filter::Tuple(..) | Filter::Listener(..) => String::new(),
            Filter::Network(net, prefix) => {
                format!("ip and udp and dst net {}/{prefix}", host(masked(net, prefix)))
            }
            Filter::Range(to, low, high) => {
                format!("ip and udp and dst host {} and dst portrange {low}-{high}", host(to))
            }
            Filter::Source(from, port) => {
                format!("ip and tcp and src host {} and dst port {port}", host(from))
            }
        }
    }

    /// As Open vSwitch would hold it: ranges as prefixes.
    #[must_use]
    pub fn ternary(self) -> Vec<Ternary> {
        let any = (0, 0);
        let exact = |port: u16| (port, 0xffff);
        let host = |address: u32| (address, u32::MAX);
        match self {
            Filter::Tuple(from, from_port, to, to_port) => {
                vec![Ternary::of(host(from), host(to), exact(from_port), exact(to_port))]
            }
            Filter::Listener(to, port) => vec![Ternary::of((0, 0), host(to), any, exact(port))],
            Filter::Network(net, prefix) => {
                vec![Ternary::of((0, 0), (net, u32::MAX << (32 - prefix)), any, any)]
            }
            Filter::Source(from, port) => {
                vec![Ternary::of(host(from), (0, 0), any, exact(port)).other_protocol()]
            }
            Filter::Range(to, low, high) => prefixes(low, high)
                .into_iter()
                .map(|ports| Ternary::of((0, 0), host(to), any, ports))
                .collect(),
        }
    }
}

/// The fewest prefixes that make a range.
fn prefixes(low: u16, high: u16) -> Vec<(u16, u16)> {
    let (mut next, end) = (u32::from(low), u32::from(high) + 1);
    let mut all = Vec::new();
    while next < end {
        let aligned = if next == 0 { 16 } else { next.trailing_zeros() };
        let bits = aligned.min((end - next).ilog2());
        all.push((next as u16, (0xffff_u32 << bits) as u16));
        next += 1 << bits;
    }
    all
}
