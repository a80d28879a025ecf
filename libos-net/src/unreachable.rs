//! ICMP errors, read from the wire: which packet of ours they are about.
//!
//! An error carries the begin of the packet that caused it. It is about us only if that packet came
//! from an address of ours; what is cut short, or fails its checksum, is about nobody (RFC 792, RFC
//! 1191).

use core::net::{Ipv4Addr, SocketAddr};

use libos::errors::NetError;

use crate::checksum::internet;
use crate::ethernet::{Header, IPV4};
use crate::packet::{TCP, UDP};

/// ICMP's protocol number.
const ICMP: u8 = 1;
/// Types: destination unreachable, time exceeded, parameter problem.
const ERRORS: [u8; 3] = [3, 11, 12];
/// Destination unreachable because it was too long and must not be cut.
const TOO_LONG: (u8, u8) = (3, 4);

/// The error in a frame, about a packet of TCP or UDP that came from `ours`.
pub fn read(frame: &[u8], ours: [u8; 4]) -> Option<NetError> {
    let (header, packet) = Header::split(frame)?;
    let (protocol, body) = four(packet).filter(|_| header.ethertype == IPV4)?;
    let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    let body = body.get(..total.checked_sub(packet.len() - body.len())?)?;
    let (fixed, inner) = body.split_first_chunk::<8>()?;
    let kind = (fixed[0], fixed[1]);
    if protocol != ICMP || !ERRORS.contains(&kind.0) || internet(&[body]) != 0 {
        return None;
    }
    let (protocol, ports) = four(inner)?;
    let [a, b, c, d, ..] = *ports.first_chunk::<4>()?;
    let from_us = inner.get(12..16)? == ours && matches!(protocol, TCP | UDP);
    let to = Ipv4Addr::from(*inner.get(16..)?.first_chunk::<4>()?);
    let mtu =
        if kind == TOO_LONG { u32::from(u16::from_be_bytes([fixed[6], fixed[7]])) } else { 0 };
    from_us.then_some(NetError {
        protocol,
        kind,
        local: u16::from_be_bytes([a, b]),
        remote: SocketAddr::new(to.into(), u16::from_be_bytes([c, d])),
        mtu,
    })
}

/// Protocol and what follows the header of an IPv4 packet that is no later fragment.
fn four(packet: &[u8]) -> Option<(u8, &[u8])> {
    let header = packet.first_chunk::<20>()?;
    let bytes = usize::from(header[0] & 15) * 4;
    let first = header[6] & 0x1f == 0 && header[7] == 0;
    let rest = packet.get(bytes..)?;
    (header[0] >> 4 == 4 && bytes >= 20 && first).then_some((header[9], rest))
}

#[cfg(test)]
mod tests {
    use super::read;
    use crate::frames::{Path, icmp, udp};
    use alloc::vec::Vec;
    use core::net::SocketAddr;

    const OURS: [u8; 4] = [10, 0, 2, 15];
    const OUT: Path = Path {
        source_mac: [2, 0, 0, 0, 0, 1],
        destination_mac: [2, 0, 0, 0, 0, 2],
        source: OURS,
        destination: [10, 0, 2, 99],
    };

    fn error(kind: (u8, u8), options: &[u8], cut: usize) -> Vec<u8> {
        let sent = udp(&OUT, (5000, 53), options, b"question").unwrap();
        let back = Path {
            source_mac: OUT.destination_mac,
            destination_mac: OUT.source_mac,
            source: [10, 0, 2, 2],
            destination: OURS,
        };
        icmp(&back, kind, [0, 0, 5, 0x14], &[], &sent[14..14 + cut]).unwrap()
    }

    #[test]
    fn an_error_names_the_packet_that_caused_it() {
        for (options, cut) in [(0, 28), (0, 36), (8, 36), (8, 44)] {
            let found = read(&error((3, 3), &[1; 8][..options], cut), OURS).unwrap();
            assert_eq!((found.protocol, found.kind, found.local), (17, (3, 3), 5000));
            assert_eq!(found.remote, SocketAddr::from(([10, 0, 2, 99], 53)));
            assert!(found.is_unreachable() && found.mtu == 0);
        }
        let long = read(&error((3, 4), &[], 28), OURS).unwrap();
        assert!(!long.is_unreachable() && long.mtu == 1300);
        assert_eq!(read(&error((11, 0), &[], 28), OURS).unwrap().kind, (11, 0));
    }

    #[test]
    fn what_is_not_about_us_is_about_nobody() {
        let good = error((3, 3), &[], 36);
        for length in 0..good.len() {
            assert_eq!(read(&good[..length], OURS), None, "cut to {length}");
        }
        for place in (12..15).chain(34..good.len()) {
            let mut other = good.clone();
            other[place] ^= 0x80;
            assert_eq!(read(&other, OURS), None, "changed at {place}");
        }
        assert_eq!(read(&good, [10, 0, 2, 16]), None);
        for (kind, cut) in [((8, 0), 36), ((0, 0), 36), ((5, 0), 36), ((3, 3), 23), ((3, 3), 0)] {
            assert_eq!(read(&error(kind, &[], cut), OURS), None, "{kind:?} {cut}");
        }
    }
}
