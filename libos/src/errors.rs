//! The page of errors: what ICMP said of packets that stacks have sent. One writer (`netd`), many
//! readers, no lock.
//!
//! Records are numbered. A reader keeps the number that it has read up to; one that was overwritten
//! while it was copied, or before, is skipped. What is there is what somebody on the wire has
//! claimed: a reader believes it only where it does no harm (RFC 5927).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::sync::atomic::{Ordering, fence};

use abi::address::{ERROR_BYTES, ERRORS_COUNT, ERRORS_FIRST, ERRORS_MAX};
use abi::limits::PAGE_BYTES;

use crate::sys::Window;

/// A packet of ours did not arrive, it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetError {
    /// Its protocol.
    pub protocol: u8,
    /// ICMP type and code, as its family numbers them.
    pub kind: (u8, u8),
    /// The port that it came from.
    pub local: u16,
    /// Where it went.
    pub remote: SocketAddr,
    /// The MTU of the link that it was too long for; zero if that is not what happened.
    pub mtu: u32,
}

impl NetError {
    /// Whether nothing that is sent there arrives: no way, no such host, nobody listening
    /// (RFC 792; RFC 4443, 3.1).
    pub fn is_unreachable(&self) -> bool {
        match self.remote {
            SocketAddr::V4(_) => self.kind.0 == 3 && self.kind.1 != 4,
            SocketAddr::V6(_) => self.kind.0 == 1,
        }
    }

    fn bytes(&self) -> [u8; ERROR_BYTES] {
        let mut bytes = [0; ERROR_BYTES];
        bytes[0] = if self.remote.is_ipv4() { 4 } else { 6 };
        bytes[1] = self.protocol;
        (bytes[2], bytes[3]) = self.kind;
        bytes[4..6].copy_from_slice(&self.local.to_le_bytes());
        bytes[6..8].copy_from_slice(&self.remote.port().to_le_bytes());
        bytes[8..12].copy_from_slice(&self.mtu.to_le_bytes());
        match self.remote.ip() {
            IpAddr::V4(ip) => bytes[12..16].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => bytes[12..28].copy_from_slice(&ip.octets()),
        }
        bytes
    }

    fn read(bytes: &[u8; ERROR_BYTES]) -> NetError {
        let short = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let address: [u8; 16] = core::array::from_fn(|i| bytes[12 + i]);
        let [a, b, c, d, ..] = address;
        let ip: IpAddr = if bytes[0] == 4 {
            Ipv4Addr::new(a, b, c, d).into()
        } else {
            Ipv6Addr::from(address).into()
        };
        NetError {
            protocol: bytes[1],
            kind: (bytes[2], bytes[3]),
            local: short(4),
            remote: SocketAddr::new(ip, short(6)),
            mtu: u32::from_le_bytes(core::array::from_fn(|i| bytes[8 + i])),
        }
    }
}

/// The page, mapped.
#[derive(Clone, Debug)]
pub struct ErrorPage(Window);

impl ErrorPage {
    /// Over a window of at least a page; `None` for a smaller one.
    pub fn new(window: Window) -> Option<ErrorPage> {
        (window.bytes() >= PAGE_BYTES).then_some(ErrorPage(window))
    }

    /// Adds a record. Only its owner may, and only where it is mapped writable.
    pub fn publish(&self, error: &NetError) {
        let count = self.0.load_u32(ERRORS_COUNT);
        self.0.write(place(count), &error.bytes());
        fence(Ordering::Release);
        self.0.store_u32(ERRORS_COUNT, count.wrapping_add(1));
    }

    /// A reader of what is published from now on.
    pub fn reader(&self) -> ErrorReader {
        ErrorReader { seen: self.0.load_u32(ERRORS_COUNT), page: self.clone() }
    }
}

fn place(number: u32) -> usize {
    ERRORS_FIRST + number as usize % ERRORS_MAX * ERROR_BYTES
}

/// Where somebody has read up to.
#[derive(Clone, Debug)]
pub struct ErrorReader {
    page: ErrorPage,
    seen: u32,
}

impl ErrorReader {
    /// The next record, if there is one.
    pub fn read(&mut self) -> Option<NetError> {
        for _ in 0..2 * ERRORS_MAX {
            let count = self.page.0.load_u32(ERRORS_COUNT);
            let behind = count.wrapping_sub(self.seen);
            if behind == 0 {
                return None;
            }
            if behind as usize >= ERRORS_MAX {
                // The oldest may be being overwritten: all but the youngest are given up.
                self.seen = count.wrapping_sub(ERRORS_MAX as u32 / 2);
            }
            let mut bytes = [0; ERROR_BYTES];
            self.page.0.read(place(self.seen), &mut bytes);
            fence(Ordering::Acquire);
            let now = self.page.0.load_u32(ERRORS_COUNT);
            if now.wrapping_sub(self.seen) as usize >= ERRORS_MAX {
                continue;
            }
            self.seen = self.seen.wrapping_add(1);
            return Some(NetError::read(&bytes));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{ErrorPage, NetError};
    use crate::sys::host;
    use abi::Handle;
    use abi::address::{ERRORS_COUNT, ERRORS_MAX};
    use core::net::SocketAddr;

    fn error(local: u16, remote: &str) -> NetError {
        let remote: SocketAddr = remote.parse().unwrap();
        NetError { protocol: 17, kind: (3, 3), local, remote, mtu: 1280 }
    }

    #[test]
    fn records_come_in_order_once_and_only_new_ones() {
        let window = host::page_window(Handle(31));
        window.store_u32(ERRORS_COUNT, u32::MAX - 2);
        let page = ErrorPage::new(window).unwrap();
        page.publish(&error(1, "10.0.2.2:9"));
        let mut reader = page.reader();
        assert_eq!(reader.read(), None);
        let all = [error(7, "10.0.2.2:9"), error(8, "[fd00::1]:65535"), error(9, "1.2.3.4:1")];
        all.iter().for_each(|error| page.publish(error));
        for wanted in all {
            assert_eq!(reader.read(), Some(wanted));
        }
        assert_eq!(reader.read(), None);
        assert!(all[0].is_unreachable() && !all[1].is_unreachable());
    }

    #[test]
    fn who_is_far_behind_gets_the_youngest() {
        let page = ErrorPage::new(host::page_window(Handle(32))).unwrap();
        let mut reader = page.reader();
        for number in 0..1000 {
            page.publish(&error(number, "10.0.2.2:9"));
        }
        let first = reader.read().unwrap().local;
        assert!(first > 1000 - ERRORS_MAX as u16, "{first}");
        for number in first + 1..1000 {
            assert_eq!(reader.read().unwrap().local, number);
        }
        assert_eq!(reader.read(), None);
    }
}
