//! The page of addresses: one writer (`netd`), many readers, no lock.
//!
//! A sequence lock: the word is odd while the page is written, and a reader that saw it odd or
//! moved looks again, a bounded number of times. What a reader returns was the page's content at
//! one moment; before the first writing there is none.

use core::sync::atomic::{Ordering, fence};

use abi::address::{
    GATEWAY, IPV4, MAC, NEIGHBOUR_BYTES, NEIGHBOUR_FIRST, NEIGHBOURS, NEIGHBOURS_MAX, PREFIX,
    SEQUENCE,
};
use abi::limits::PAGE_BYTES;
use alloc::vec::Vec;

use crate::sys::Window;

/// How often a reader looks before it gives up.
const TRIES: usize = 64;

/// What the page says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// The network card's address.
    pub mac: [u8; 6],
    /// Our IPv4 address.
    pub ipv4: [u8; 4],
    /// Its prefix length in bits.
    pub prefix: u32,
    /// The gateway's IPv4 address; zero for none.
    pub gateway: [u8; 4],
    /// Who is where.
    pub neighbours: Vec<([u8; 4], [u8; 6])>,
}

impl Addresses {
    /// Whether that address is in our own network.
    pub fn is_local(&self, address: [u8; 4]) -> bool {
        let bits = self.prefix.min(32);
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        (u32::from_be_bytes(address) ^ u32::from_be_bytes(self.ipv4)) & mask == 0
    }

    /// Where a packet to that address is to be sent first: there, or to the gateway.
    pub fn next_hop(&self, address: [u8; 4]) -> [u8; 4] {
        if self.is_local(address) || self.gateway == [0; 4] { address } else { self.gateway }
    }

    /// The neighbour of that address.
    pub fn neighbour(&self, address: [u8; 4]) -> Option<[u8; 6]> {
        self.neighbours.iter().find(|(ip, _)| *ip == address).map(|(_, mac)| *mac)
    }

    /// Adds or changes a neighbour; whether anything changed. The oldest makes room.
    pub fn learn(&mut self, address: [u8; 4], mac: [u8; 6]) -> bool {
        if let Some((_, known)) = self.neighbours.iter_mut().find(|(ip, _)| *ip == address) {
            return core::mem::replace(known, mac) != mac;
        }
        if self.neighbours.len() >= NEIGHBOURS_MAX {
            self.neighbours.remove(0);
        }
        self.neighbours.push((address, mac));
        true
    }
}

/// The page, mapped.
#[derive(Clone, Debug)]
pub struct AddressPage(Window);

impl AddressPage {
    /// Over a window of at least a page; `None` for a smaller one.
    pub fn new(window: Window) -> Option<AddressPage> {
        (window.bytes() >= PAGE_BYTES).then_some(AddressPage(window))
    }

    /// The sequence word: a cheap way to see that something changed.
    pub fn sequence(&self) -> u32 {
        self.0.load_u32(SEQUENCE)
    }

    /// What the page says; `None` while it was never written, or if it never held still.
    pub fn read(&self) -> Option<Addresses> {
        let mut copy = [0; PAGE_BYTES];
        for _ in 0..TRIES {
            let before = self.sequence();
            if before == 0 {
                return None;
            }
            if !before.is_multiple_of(2) {
                core::hint::spin_loop();
                continue;
            }
            self.0.read(0, &mut copy);
            fence(Ordering::Acquire);
            if self.sequence() == before {
                return Some(parse(&copy));
            }
        }
        None
    }

    /// Replaces what the page says. Only its owner may, and only where it is mapped writable.
    pub fn publish(&self, addresses: &Addresses) {
        let sequence = self.sequence() | 1;
        self.0.store_u32(SEQUENCE, sequence);
        fence(Ordering::Release);
        self.0.write(MAC, &addresses.mac);
        self.0.write(IPV4, &addresses.ipv4);
        self.0.write(PREFIX, &addresses.prefix.to_le_bytes());
        self.0.write(GATEWAY, &addresses.gateway);
        let count = addresses.neighbours.len().min(NEIGHBOURS_MAX);
        self.0.write(NEIGHBOURS, &(count as u32).to_le_bytes());
        for (place, (ip, mac)) in addresses.neighbours.iter().take(count).enumerate() {
            let at = NEIGHBOUR_FIRST + place * NEIGHBOUR_BYTES;
            self.0.write(at, ip);
            self.0.write(at + 4, mac);
        }
        // Zero means "never written", so it is left out when the word wraps.
        let next = sequence.wrapping_add(1);
        self.0.store_u32(SEQUENCE, if next == 0 { 2 } else { next });
    }
}

fn parse(page: &[u8; PAGE_BYTES]) -> Addresses {
    let count = (u32::from_le_bytes(bytes(page, NEIGHBOURS)) as usize).min(NEIGHBOURS_MAX);
    let neighbour = |place: usize| {
        let at = NEIGHBOUR_FIRST + place * NEIGHBOUR_BYTES;
        (bytes(page, at), bytes(page, at + 4))
    };
    Addresses {
        mac: bytes(page, MAC),
        ipv4: bytes(page, IPV4),
        prefix: u32::from_le_bytes(bytes(page, PREFIX)),
        gateway: bytes(page, GATEWAY),
        neighbours: (0..count).map(neighbour).collect(),
    }
}

/// `N` bytes of the page; every offset is below `NEIGHBOUR_FIRST + MAX * BYTES`, inside the page.
fn bytes<const N: usize>(page: &[u8; PAGE_BYTES], at: usize) -> [u8; N] {
    core::array::from_fn(|i| page[at + i])
}

#[cfg(test)]
mod tests {
    use super::{AddressPage, Addresses};
    use crate::sys::host;
    use abi::Handle;
    use abi::address::{NEIGHBOURS, NEIGHBOURS_MAX, SEQUENCE};
    use std::vec;

    fn sample(n: u8) -> Addresses {
        Addresses {
            mac: [n; 6],
            ipv4: [10, 0, 2, n],
            prefix: 24,
            gateway: [10, 0, 2, n],
            neighbours: vec![([n; 4], [n; 6]); usize::from(n) % 8],
        }
    }

    #[test]
    fn what_was_published_is_read() {
        let page = AddressPage::new(host::page_window(Handle(1))).unwrap();
        assert_eq!(page.read(), None);
        for n in [3, 7, 1] {
            page.publish(&sample(n));
            assert_eq!(page.read(), Some(sample(n)));
        }
    }

    #[test]
    fn a_writer_that_stopped_half_way_is_not_believed() {
        let window = host::page_window(Handle(2));
        let page = AddressPage::new(window.clone()).unwrap();
        page.publish(&sample(3));
        window.store_u32(SEQUENCE, 9);
        assert_eq!(page.read(), None);
        page.publish(&sample(4));
        assert_eq!(page.read(), Some(sample(4)));
        window.store_u32(SEQUENCE, u32::MAX - 1);
        page.publish(&sample(5));
        assert_eq!(page.read(), Some(sample(5)));
    }

    #[test]
    fn a_count_from_nowhere_is_bounded() {
        let window = host::page_window(Handle(3));
        let page = AddressPage::new(window.clone()).unwrap();
        page.publish(&sample(3));
        window.store_u32(NEIGHBOURS, u32::MAX);
        assert_eq!(page.read().unwrap().neighbours.len(), NEIGHBOURS_MAX);
    }

    #[test]
    fn a_reader_never_sees_two_writings_mixed() {
        let page = AddressPage::new(host::page_window(Handle(4))).unwrap();
        page.publish(&sample(1));
        let writer = page.clone();
        let thread = std::thread::spawn(move || {
            for round in 0..20_000u32 {
                writer.publish(&sample((round % 251) as u8));
            }
        });
        let mut seen = 0;
        while !thread.is_finished() {
            if let Some(now) = page.read() {
                assert_eq!(now, sample(now.mac[0]));
                seen += 1;
            }
        }
        thread.join().unwrap();
        assert!(seen > 0);
    }

    #[test]
    fn next_hops_and_neighbours() {
        let mut addresses = sample(2);
        assert_eq!(addresses.next_hop([10, 0, 2, 99]), [10, 0, 2, 99]);
        assert_eq!(addresses.next_hop([10, 0, 3, 99]), [10, 0, 2, 2]);
        addresses.prefix = 0;
        assert_eq!(addresses.next_hop([1, 1, 1, 1]), [1, 1, 1, 1]);
        addresses.prefix = 99;
        assert!(!addresses.is_local([10, 0, 2, 3]));
        assert!(addresses.learn([1; 4], [1; 6]));
        assert!(!addresses.learn([1; 4], [1; 6]));
        assert!(addresses.learn([1; 4], [2; 6]));
        assert_eq!(addresses.neighbour([1; 4]), Some([2; 6]));
        for n in 0..2 * NEIGHBOURS_MAX {
            addresses.learn([9, 9, (n >> 8) as u8, n as u8], [7; 6]);
        }
        assert_eq!(addresses.neighbours.len(), NEIGHBOURS_MAX);
        assert_eq!(addresses.neighbour([1; 4]), None);
    }
}
