//! The page of addresses: one writer (`netd`), many readers, no lock.
//!
//! A sequence lock: the word is odd while the page is written, and a reader that saw it odd or
//! moved looks again, a bounded number of times. What a reader returns was the page's content at
//! one moment; before the first writing there is none.

use core::sync::atomic::{Ordering, fence};

use abi::address::{
    GATEWAY, IPV4, IPV6, LINK_LOCAL, MAC, NEIGHBOUR_BYTES, NEIGHBOUR_FIRST, NEIGHBOUR6_BYTES,
    NEIGHBOUR6_FIRST, NEIGHBOURS, NEIGHBOURS_MAX, NEIGHBOURS6, NEIGHBOURS6_MAX, PREFIX, PREFIX6,
    ROUTER, SEQUENCE,
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
    /// The same of IPv6.
    pub six: Six,
}

/// What the page says of IPv6. An address of zeros is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Six {
    /// Our link-local address.
    pub link_local: [u8; 16],
    /// Our other address.
    pub address: [u8; 16],
    /// Its prefix length in bits.
    pub prefix: u32,
    /// The router's address.
    pub router: [u8; 16],
    /// Who is where.
    pub neighbours: Vec<([u8; 16], [u8; 6])>,
}

/// The address of nobody.
const NONE: [u8; 16] = [0; 16];

impl Six {
    /// Only the link-local address that comes with the card (RFC 4291, appendix A).
    pub fn link_local(mac: [u8; 6]) -> Six {
        let [a, b, c, d, e, f] = mac;
        let link_local = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f];
        Six { link_local, ..Six::default() }
    }

    /// Whether that address is ours.
    pub fn is_ours(&self, address: [u8; 16]) -> bool {
        address != NONE && (address == self.link_local || address == self.address)
    }

    /// Whether that address is on our link: link-local, or in our network.
    pub fn is_local(&self, address: [u8; 16]) -> bool {
        let bits = self.prefix.min(128);
        let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
        let differ = u128::from_be_bytes(address) ^ u128::from_be_bytes(self.address);
        let link_local = address[0] == 0xfe && address[1] & 0xc0 == 0x80;
        link_local || (self.address != NONE && differ & mask == 0)
    }

    /// Where a packet to that address is to be sent first: there, or to the router.
    pub fn next_hop(&self, address: [u8; 16]) -> [u8; 16] {
        let direct = self.is_local(address) || self.router == NONE;
        if direct { address } else { self.router }
    }

    /// The neighbour of that address.
    pub fn neighbour(&self, address: [u8; 16]) -> Option<[u8; 6]> {
        self.neighbours.iter().find(|(ip, _)| *ip == address).map(|(_, mac)| *mac)
    }

    /// Adds or changes a neighbour; whether anything changed. The oldest makes room.
    pub fn learn(&mut self, address: [u8; 16], mac: [u8; 6]) -> bool {
        learn(&mut self.neighbours, NEIGHBOURS6_MAX, address, mac)
    }
}

fn learn<A: PartialEq>(
    neighbours: &mut Vec<(A, [u8; 6])>,
    most: usize,
    address: A,
    mac: [u8; 6],
) -> bool {
    if let Some((_, known)) = neighbours.iter_mut().find(|(ip, _)| *ip == address) {
        return core::mem::replace(known, mac) != mac;
    }
    if neighbours.len() >= most {
        neighbours.remove(0);
    }
    neighbours.push((address, mac));
    true
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
        learn(&mut self.neighbours, NEIGHBOURS_MAX, address, mac)
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
        self.publish_six(&addresses.six);
        // Zero means "never written", so it is left out when the word wraps.
        let next = sequence.wrapping_add(1);
        self.0.store_u32(SEQUENCE, if next == 0 { 2 } else { next });
    }

    fn publish_six(&self, six: &Six) {
        self.0.write(LINK_LOCAL, &six.link_local);
        self.0.write(IPV6, &six.address);
        self.0.write(PREFIX6, &six.prefix.to_le_bytes());
        self.0.write(ROUTER, &six.router);
        let count = six.neighbours.len().min(NEIGHBOURS6_MAX);
        self.0.write(NEIGHBOURS6, &(count as u32).to_le_bytes());
        for (place, (ip, mac)) in six.neighbours.iter().take(count).enumerate() {
            let at = NEIGHBOUR6_FIRST + place * NEIGHBOUR6_BYTES;
            self.0.write(at, ip);
            self.0.write(at + 16, mac);
        }
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
        six: parse_six(page),
    }
}

fn parse_six(page: &[u8; PAGE_BYTES]) -> Six {
    let count = (u32::from_le_bytes(bytes(page, NEIGHBOURS6)) as usize).min(NEIGHBOURS6_MAX);
    let neighbour = |place: usize| {
        let at = NEIGHBOUR6_FIRST + place * NEIGHBOUR6_BYTES;
        (bytes(page, at), bytes(page, at + 16))
    };
    Six {
        link_local: bytes(page, LINK_LOCAL),
        address: bytes(page, IPV6),
        prefix: u32::from_le_bytes(bytes(page, PREFIX6)),
        router: bytes(page, ROUTER),
        neighbours: (0..count).map(neighbour).collect(),
    }
}

/// `N` bytes of the page; every offset is one of `abi::address`, whose ends it checks.
fn bytes<const N: usize>(page: &[u8; PAGE_BYTES], at: usize) -> [u8; N] {
    core::array::from_fn(|i| page[at + i])
}

#[cfg(test)]
mod tests {
    use super::{AddressPage, Addresses, Six};
    use crate::sys::host;
    use abi::Handle;
    use abi::address::{NEIGHBOURS, NEIGHBOURS_MAX, NEIGHBOURS6, NEIGHBOURS6_MAX, SEQUENCE};
    use std::vec;

    fn sample(n: u8) -> Addresses {
        Addresses {
            mac: [n; 6],
            ipv4: [10, 0, 2, n],
            prefix: 24,
            gateway: [10, 0, 2, n],
            neighbours: vec![([n; 4], [n; 6]); usize::from(n) % 8],
            six: Six {
                link_local: [n; 16],
                address: [n; 16],
                prefix: 64,
                router: [n; 16],
                neighbours: vec![([n; 16], [n; 6]); usize::from(n) % 8],
            },
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
        window.store_u32(NEIGHBOURS6, u32::MAX);
        assert_eq!(page.read().unwrap().neighbours.len(), NEIGHBOURS_MAX);
        assert_eq!(page.read().unwrap().six.neighbours.len(), NEIGHBOURS6_MAX);
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

    #[test]
    fn the_same_of_ipv6() {
        let mut six = Six::link_local([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        let ours = "fe80::5054:ff:fe12:3456".parse::<core::net::Ipv6Addr>().unwrap();
        assert_eq!(core::net::Ipv6Addr::from(six.link_local), ours);
        assert!(six.is_ours(ours.octets()) && !six.is_ours([0; 16]));
        let ip = |text: &str| text.parse::<core::net::Ipv6Addr>().unwrap().octets();
        assert!(six.is_local(ip("fe80::9")) && !six.is_local(ip("fd00::9")));
        assert!(!six.is_local([0; 16]));
        (six.address, six.prefix, six.router) = (ip("fd00::15"), 64, ip("fe80::2"));
        assert!(six.is_local(ip("fd00::9")) && !six.is_local(ip("fd01::9")));
        assert_eq!(six.next_hop(ip("fd01::9")), ip("fe80::2"));
        assert_eq!(six.next_hop(ip("fd00::9")), ip("fd00::9"));
        for n in 0..2 * NEIGHBOURS6_MAX {
            assert!(six.learn([n as u8; 16], [7; 6]));
        }
        assert_eq!((six.neighbours.len(), six.neighbour([0; 16])), (NEIGHBOURS6_MAX, None));
    }
}
