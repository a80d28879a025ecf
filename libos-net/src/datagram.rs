//! UDP over IPv4 in one step: from a frame to a datagram, and back.
//!
//! What nearly every datagram looks like is read and written here, without a stack: an IPv4 header
//! without options, no fragment, one address of ours, right checksums. [`read`] says nothing about
//! any other frame; the stack judges those ([`crate::udp`]), so that what is accepted, and what is
//! sent, is what the stack accepts and sends (the tests hold one against the other).

use core::net::{Ipv4Addr, SocketAddrV4};
use core::ops::Range;

use crate::checksum::{fold, sum};
use crate::ethernet::{HEADER_BYTES, IPV4};
use crate::packet::UDP;

/// Bytes of the three headers.
pub(crate) const HEADERS: usize = UDP_AT + 8;

/// Where the IPv4 header begins.
const IP_AT: usize = HEADER_BYTES;
/// Where both addresses stand, one behind the other.
const ADDRESSES_AT: usize = IP_AT + 12;
/// Where the UDP header begins.
const UDP_AT: usize = IP_AT + 20;
/// Where the UDP checksum stands.
const UDP_SUM_AT: usize = UDP_AT + 6;

/// EtherType, version and header length as every frame has them that is read here.
const PLAIN: [u8; 3] = [(IPV4 >> 8) as u8, IPV4 as u8, 0x45];

/// A datagram in its frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Datagram {
    /// Who sent it.
    pub(crate) from: SocketAddrV4,
    /// The Ethernet address that it came from.
    pub(crate) mac: [u8; 6],
    /// Where its data lies.
    pub(crate) data: Range<usize>,
}

/// The datagram in a frame, if it is a plain one to this address and port.
#[inline]
pub(crate) fn read(frame: &[u8], ours: [u8; 4], port: u16) -> Option<Datagram> {
    let (head, _) = frame.split_first_chunk::<HEADERS>()?;
    let half = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let plain = head[12..15] == PLAIN && head[23] == UDP && half(20) & 0x3fff == 0;
    let mine = head[30..34] == ours && half(36) == port;
    let (total, length) = (usize::from(half(16)), usize::from(half(38)));
    let ends = IP_AT + total <= frame.len() && (8..=total.saturating_sub(20)).contains(&length);
    if !plain || !mine || !ends {
        return None;
    }
    if fold(sum(&head[IP_AT..UDP_AT])) != !0 {
        return None;
    }
    let data = HEADERS..UDP_AT + length;
    // A sum that was not taken is zero (RFC 768).
    if half(UDP_SUM_AT) != 0 {
        let pseudo = pseudo(&head[ADDRESSES_AT..UDP_AT], length as u16);
        if fold(pseudo + sum(frame.get(UDP_AT..data.end)?)) != !0 {
            return None;
        }
    }
    let address = Ipv4Addr::new(head[26], head[27], head[28], head[29]);
    let mac = [head[6], head[7], head[8], head[9], head[10], head[11]];
    Some(Datagram { from: SocketAddrV4::new(address, half(UDP_AT)), mac, data })
}

/// Who sends to whom, with both Ethernet addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) source_mac: [u8; 6],
    pub(crate) mac: [u8; 6],
    pub(crate) from: SocketAddrV4,
    pub(crate) to: SocketAddrV4,
}

/// Writes the headers and the data into a frame; the frame's length. `None` if it does not fit.
#[inline]
pub(crate) fn write(frame: &mut [u8], way: &Way, hops: u8, data: &[u8]) -> Option<usize> {
    let end = HEADERS + data.len();
    let frame = frame.get_mut(..end)?;
    let (head, rest) = frame.split_first_chunk_mut::<HEADERS>()?;
    rest.copy_from_slice(data);
    let (total, length) = (u16::try_from(end - IP_AT).ok()?, (end - UDP_AT) as u16);
    head[..6].copy_from_slice(&way.mac);
    head[6..12].copy_from_slice(&way.source_mac);
    head[12..15].copy_from_slice(&PLAIN);
    head[15] = 0;
    head[16..18].copy_from_slice(&total.to_be_bytes());
    // No identification, and no fragments: RFC 6864, 4.1.
    head[18..22].copy_from_slice(&[0, 0, 0x40, 0]);
    head[22..26].copy_from_slice(&[hops, UDP, 0, 0]);
    head[26..30].copy_from_slice(&way.from.ip().octets());
    head[30..34].copy_from_slice(&way.to.ip().octets());
    head[34..36].copy_from_slice(&way.from.port().to_be_bytes());
    head[36..38].copy_from_slice(&way.to.port().to_be_bytes());
    head[38..40].copy_from_slice(&length.to_be_bytes());
    head[40..].fill(0);
    let header = !fold(sum(&head[IP_AT..UDP_AT]));
    head[24..26].copy_from_slice(&header.to_ne_bytes());
    let pseudo = pseudo(&head[ADDRESSES_AT..UDP_AT], length);
    let checksum = match !fold(pseudo + sum(&head[UDP_AT..]) + sum(data)) {
        // Zero says that there is none.
        0 => u16::MAX,
        checksum => checksum,
    };
    head[UDP_SUM_AT..].copy_from_slice(&checksum.to_ne_bytes());
    Some(end)
}

/// Of the pseudo header: both addresses, protocol, length.
#[inline]
fn pseudo(addresses: &[u8], length: u16) -> u32 {
    sum(addresses) + u32::from(u16::from(UDP).to_be()) + u32::from(length.to_be())
}

#[cfg(test)]
mod tests {
    use super::{HEADERS, Way, read, write};
    use crate::checksum::internet;
    use crate::frames::{Path, udp};
    use alloc::vec;
    use alloc::vec::Vec;
    use core::net::SocketAddrV4;

    const PATH: Path = Path {
        source_mac: [2, 0, 0, 0, 0, 1],
        destination_mac: [2, 0, 0, 0, 0, 2],
        source: [10, 0, 2, 2],
        destination: [10, 0, 2, 15],
    };

    fn way() -> Way {
        Way {
            source_mac: PATH.source_mac,
            mac: PATH.destination_mac,
            from: SocketAddrV4::new(PATH.source.into(), 5),
            to: SocketAddrV4::new(PATH.destination.into(), 7),
        }
    }

    fn payloads() -> impl Iterator<Item = Vec<u8>> {
        let mut state = 1u64;
        (0..=1472usize).map(move |length| {
            (0..length)
                .map(|_| {
                    state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(99);
                    (state >> 40) as u8
                })
                .collect()
        })
    }

    #[test]
    fn what_is_written_is_right_and_is_read_again() {
        let mut frame = [0xaa; 1514];
        for data in payloads() {
            let end = write(&mut frame, &way(), 64, &data).unwrap();
            let mut wanted = udp(&PATH, (5, 7), &[], &data).unwrap();
            // "Do not fragment", which that one leaves out.
            wanted[20] = 0x40;
            wanted[24..26].fill(0);
            let sum = internet(&[&wanted[14..34]]);
            wanted[24..26].copy_from_slice(&sum.to_be_bytes());
            assert_eq!(frame[..end], wanted, "{} bytes", data.len());
            let datagram = read(&frame[..end], PATH.destination, 7).unwrap();
            assert_eq!((datagram.from, datagram.mac), (way().from, PATH.source_mac));
            assert_eq!(frame[datagram.data], data);
        }
        assert_eq!(write(&mut frame, &way(), 64, &[0; 1473]), None);
    }

    #[test]
    fn a_sum_of_zero_is_sent_as_all_ones() {
        let mut frame = [0; 128];
        let end = write(&mut frame, &way(), 64, &[0, 0]).unwrap();
        let missing = u16::from_be_bytes([frame[40], frame[41]]);
        // With what is missing as data the sum is all ones, whose complement is zero.
        write(&mut frame, &way(), 64, &missing.to_be_bytes()).unwrap();
        assert_eq!(frame[40..42], [0xff; 2]);
        assert!(read(&frame[..end], PATH.destination, 7).is_some());
        frame[40..42].fill(0);
        assert!(read(&frame[..end], PATH.destination, 7).is_some(), "none was taken");
    }

    #[test]
    fn every_bit_counts_and_nothing_is_read_beyond_the_end() {
        for length in [0, 1, 2, 31] {
            let good = udp(&PATH, (5, 7), &[], &vec![0x5a; length]).unwrap();
            assert!(read(&good, PATH.destination, 7).is_some());
            for bit in 12 * 8..good.len() * 8 {
                let mut other = good.clone();
                other[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(read(&other, PATH.destination, 7), None, "bit {bit}");
            }
            for end in 0..good.len() {
                assert_eq!(read(&good[..end], PATH.destination, 7), None, "cut to {end}");
            }
            let padded = [&good[..], &[0xff; 18]].concat();
            assert_eq!(read(&padded, PATH.destination, 7), read(&good, PATH.destination, 7));
        }
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_stack() {
        let options = udp(&PATH, (5, 7), &[1; 4], b"options").unwrap();
        assert_eq!(read(&options, PATH.destination, 7), None);
        let mut frame = [0; 64];
        let end = write(&mut frame, &way(), 64, b"fragment").unwrap();
        for flags in [0x20, 0x60] {
            let mut other = frame;
            other[20] = flags;
            other[24..26].fill(0);
            let sum = internet(&[&other[14..34]]);
            other[24..26].copy_from_slice(&sum.to_be_bytes());
            assert_eq!(read(&other[..end], PATH.destination, 7), None);
        }
        assert_eq!(read(&frame[..end], [10, 0, 2, 16], 7), None);
        assert_eq!(read(&frame[..end], PATH.destination, 8), None);
        assert_eq!(end, HEADERS + 8);
    }
}
