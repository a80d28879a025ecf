//! Where an IPv4 address is on the wire.
//!
//! Two sources: the page that `netd` keeps, and what senders show of themselves: whoever sent us a
//! packet can be answered where it came from. The second is bounded, is wiped by nothing but newer
//! packets, and is used first, because it is what the packet being answered said.

use alloc::vec::Vec;

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
    gleaned: Vec<([u8; 4], [u8; 6])>,
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

    /// A packet from `ip` came from `mac`: the way back, for it or for the gateway it came through.
    pub fn glean(&mut self, ip: [u8; 4], mac: [u8; 6]) {
        let hop = self.addresses.next_hop(ip);
        if !is_unicast(mac) || hop == self.addresses.ipv4 || hop == [0; 4] {
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
    pub fn resolve(&self, ip: [u8; 4]) -> Option<[u8; 6]> {
        if ip == [255; 4] {
            return Some(BROADCAST);
        }
        let hop = self.addresses.next_hop(ip);
        let gleaned = self.gleaned.iter().find(|(ip, _)| *ip == hop).map(|(_, mac)| *mac);
        gleaned.or_else(|| self.addresses.neighbour(hop))
    }
}
