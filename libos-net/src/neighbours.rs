//! Where an IP address is on the wire.
//!
//! Two sources: the page that `netd` keeps, and what senders show of themselves: whoever sent us a
//! packet can be answered where it came from. The second is bounded, is wiped by nothing but newer
//! packets, and is used first, because it is what the packet being answered said.

use alloc::vec::Vec;
use core::net::IpAddr;

use libos::addresses::{AddressPage, Addresses};

use crate::ethernet::{BROADCAST, is_unicast};

/// Senders remembered at most.
pub const GLEANED_MAX: usize = 64;

/// Our addresses, and everybody else's.
#[derive(Debug)]
pub struct Neighbours {
    page: AddressPage,
    sequence: u32,
    addresses: Addresses,
    gleaned: Vec<(IpAddr, [u8; 6])>,
}

impl Neighbours {
    /// Over the page of addresses.
    pub fn new(page: AddressPage) -> Neighbours {
        let mut made =
            Neighbours { page, sequence: 0, addresses: Addresses::default(), gleaned: Vec::new() };
        made.refresh();
        made
    }

    /// Our addresses as last read.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Reads the page again if it changed.
    pub fn refresh(&mut self) {
        let sequence = self.page.sequence();
        if sequence != self.sequence
            && let Some(now) = self.page.read()
        {
            self.addresses = now;
            self.sequence = sequence;
        }
    }

    /// Counts how often the page changed.
    pub(crate) fn sequence(&self) -> u32 {
        self.sequence
    }

    /// A packet from `ip` came from `mac`: the way back, for it or for the gateway it came through.
    pub fn glean(&mut self, ip: IpAddr, mac: [u8; 6]) {
        let hop = self.next_hop(ip);
        let nobody = hop.is_unspecified() || hop.is_multicast() || self.is_ours(hop);
        if !is_unicast(mac) || nobody {
            return;
        }
        if let Some((_, known)) = self.gleaned.iter_mut().find(|(ip, _)| *ip == hop) {
            *known = mac;
            return;
        }
        if self.gleaned.len() == GLEANED_MAX {
            self.gleaned.remove(0);
        }
        self.gleaned.push((hop, mac));
    }

    /// The Ethernet address for a packet to `ip`; `None` if nobody has said.
    pub fn resolve(&self, ip: IpAddr) -> Option<[u8; 6]> {
        if let Some(group) = group(ip) {
            return Some(group);
        }
        let hop = self.next_hop(ip);
        let gleaned = self.gleaned.iter().find(|(ip, _)| *ip == hop).map(|(_, mac)| *mac);
        gleaned.or_else(|| match hop {
            IpAddr::V4(hop) => self.addresses.neighbour(hop.octets()),
            IpAddr::V6(hop) => self.addresses.six.neighbour(hop.octets()),
        })
    }

    fn next_hop(&self, ip: IpAddr) -> IpAddr {
        match ip {
            IpAddr::V4(ip) => self.addresses.next_hop(ip.octets()).into(),
            IpAddr::V6(ip) => self.addresses.six.next_hop(ip.octets()).into(),
        }
    }

    fn is_ours(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => ip.octets() == self.addresses.ipv4,
            IpAddr::V6(ip) => self.addresses.six.is_ours(ip.octets()),
        }
    }
}

/// The Ethernet address of a group (RFC 1112 6.4, RFC 2464 7); `None` for a single station.
fn group(ip: IpAddr) -> Option<[u8; 6]> {
    match ip {
        IpAddr::V4(ip) if ip.is_broadcast() => Some(BROADCAST),
        IpAddr::V4(ip) if ip.is_multicast() => {
            let [_, b, c, d] = ip.octets();
            Some([0x01, 0x00, 0x5e, b & 0x7f, c, d])
        }
        IpAddr::V6(ip) if ip.is_multicast() => {
            let [.., a, b, c, d] = ip.octets();
            Some([0x33, 0x33, a, b, c, d])
        }
        _ => None,
    }
}
