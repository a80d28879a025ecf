//! Whole frames from their fields: ARP, UDP and ICMP over IPv4.
//!
//! For programs without a stack, and for tests. Every checksum is right; lengths that a field
//! cannot hold give `None`.

use alloc::vec::Vec;

use crate::checksum::internet;
use crate::ethernet::{ARP, BROADCAST, Header, IPV4};

/// Who sends to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Ethernet source.
    pub source_mac: [u8; 6],
    /// Ethernet destination.
    pub destination_mac: [u8; 6],
    /// IPv4 source.
    pub source: [u8; 4],
    /// IPv4 destination.
    pub destination: [u8; 4],
}

/// A UDP datagram; `ports` are source and destination, `options` a multiple of four bytes of IPv4
/// options, at most 40.
pub fn udp(path: &Path, ports: (u16, u16), options: &[u8], payload: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(8 + payload.len()).ok()?;
    let mut header = [0; 8];
    header[..2].copy_from_slice(&ports.0.to_be_bytes());
    header[2..4].copy_from_slice(&ports.1.to_be_bytes());
    header[4..6].copy_from_slice(&length.to_be_bytes());
    let [high, low] = length.to_be_bytes();
    let pseudo = [0, 17, high, low];
    let sum = internet(&[&path.source, &path.destination, &pseudo, &header, payload]);
    // RFC 768: a computed zero is sent as all ones.
    let sum = if sum == 0 { 0xffff } else { sum };
    header[6..].copy_from_slice(&sum.to_be_bytes());
    ipv4(path, 17, options, &[&header, payload])
}

/// An ICMP message: type, code, the four bytes after the checksum, and the rest.
pub fn icmp(
    path: &Path,
    kind: (u8, u8),
    word: [u8; 4],
    options: &[u8],
    payload: &[u8],
) -> Option<Vec<u8>> {
    let mut header = [kind.0, kind.1, 0, 0, 0, 0, 0, 0];
    header[4..].copy_from_slice(&word);
    let sum = internet(&[&header, payload]);
    header[2..4].copy_from_slice(&sum.to_be_bytes());
    ipv4(path, 1, options, &[&header, payload])
}

/// An IPv4 packet of these parts.
pub fn ipv4(path: &Path, protocol: u8, options: &[u8], parts: &[&[u8]]) -> Option<Vec<u8>> {
    if !options.len().is_multiple_of(4) || options.len() > 40 {
        return None;
    }
    let header_bytes = 20 + options.len();
    let body: usize = parts.iter().map(|part| part.len()).sum();
    let total = u16::try_from(header_bytes + body).ok()?;
    let mut header = [0; 20];
    header[0] = 0x40 | (header_bytes / 4) as u8;
    header[2..4].copy_from_slice(&total.to_be_bytes());
    header[8] = 64;
    header[9] = protocol;
    header[12..16].copy_from_slice(&path.source);
    header[16..].copy_from_slice(&path.destination);
    let sum = internet(&[&header, options]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let ethernet =
        Header { destination: path.destination_mac, source: path.source_mac, ethertype: IPV4 };
    let mut frame = ethernet.bytes().to_vec();
    frame.extend_from_slice(&header);
    frame.extend_from_slice(options);
    parts.iter().for_each(|part| frame.extend_from_slice(part));
    Some(frame)
}

/// An ARP message (RFC 826) for IPv4 over Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpMessage {
    /// 1 asks, 2 answers.
    pub operation: u16,
    /// Who speaks: hardware and IPv4 address.
    pub sender: ([u8; 6], [u8; 4]),
    /// About whom.
    pub target: ([u8; 6], [u8; 4]),
}

/// Hardware Ethernet, protocol IPv4, their address lengths.
const ARP_PREFIX: [u8; 6] = [0, 1, 8, 0, 6, 4];

impl ArpMessage {
    /// The question who has `wanted`.
    pub fn request(sender: ([u8; 6], [u8; 4]), wanted: [u8; 4]) -> ArpMessage {
        ArpMessage { operation: 1, sender, target: ([0; 6], wanted) }
    }

    /// The frame: questions go to everybody, answers to the target.
    pub fn frame(&self) -> Vec<u8> {
        let destination = if self.operation == 1 { BROADCAST } else { self.target.0 };
        let header = Header { destination, source: self.sender.0, ethertype: ARP };
        let mut frame = header.bytes().to_vec();
        frame.extend_from_slice(&ARP_PREFIX);
        frame.extend_from_slice(&self.operation.to_be_bytes());
        for (mac, ip) in [self.sender, self.target] {
            frame.extend_from_slice(&mac);
            frame.extend_from_slice(&ip);
        }
        frame
    }

    /// Reads a frame; `None` unless it is a whole ARP message for IPv4 over Ethernet whose sender
    /// is the frame's.
    pub fn read(frame: &[u8]) -> Option<ArpMessage> {
        let (header, body) = Header::split(frame)?;
        let (prefix, body) = body.split_first_chunk::<6>()?;
        let (operation, body) = body.split_first_chunk::<2>()?;
        let (sender, body) = hardware_and_ip(body)?;
        let (target, _) = hardware_and_ip(body)?;
        let whole = header.ethertype == ARP && *prefix == ARP_PREFIX && header.source == sender.0;
        whole.then_some(ArpMessage { operation: u16::from_be_bytes(*operation), sender, target })
    }
}

type HardwareAndIp = ([u8; 6], [u8; 4]);

fn hardware_and_ip(bytes: &[u8]) -> Option<(HardwareAndIp, &[u8])> {
    let (mac, rest) = bytes.split_first_chunk::<6>()?;
    let (ip, rest) = rest.split_first_chunk::<4>()?;
    Some(((*mac, *ip), rest))
}

#[cfg(test)]
mod tests {
    use super::{ArpMessage, Path, icmp, udp};
    use crate::checksum::internet;

    const PATH: Path = Path {
        source_mac: [2, 0, 0, 0, 0, 1],
        destination_mac: [2, 0, 0, 0, 0, 2],
        source: [10, 0, 2, 2],
        destination: [10, 0, 2, 15],
    };

    #[test]
    fn checksums_are_right() {
        let frame = udp(&PATH, (5, 7), &[1; 4], b"odd").unwrap();
        assert_eq!(frame.len(), 14 + 24 + 8 + 3);
        assert_eq!(internet(&[&frame[14..38]]), 0);
        let pseudo = [0, 17, 0, 11];
        assert_eq!(internet(&[&frame[26..34], &pseudo, &frame[38..]]), 0);
        let ping = icmp(&PATH, (8, 0), [0, 1, 0, 2], &[], b"abc").unwrap();
        assert_eq!(internet(&[&ping[34..]]), 0);
    }

    #[test]
    fn what_does_not_fit_is_no_frame() {
        assert_eq!(udp(&PATH, (5, 7), &[1; 3], b""), None);
        assert_eq!(udp(&PATH, (5, 7), &[1; 44], b""), None);
        assert_eq!(udp(&PATH, (5, 7), &[], &[0; 65_528]), None);
        assert_eq!(udp(&PATH, (5, 7), &[], &[0; 65_508]), None);
    }

    #[test]
    fn arp_comes_back_and_lies_do_not() {
        let ask = ArpMessage::request(([2; 6], [10, 0, 2, 15]), [10, 0, 2, 2]);
        let frame = ask.frame();
        assert_eq!((frame.len(), ArpMessage::read(&frame)), (42, Some(ask)));
        for length in 0..42 {
            assert_eq!(ArpMessage::read(&frame[..length]), None);
        }
        for wrong in [6, 12, 14, 16, 18, 19] {
            let mut other = frame.clone();
            other[wrong] ^= 0x10;
            assert_eq!(ArpMessage::read(&other), None);
        }
    }
}
