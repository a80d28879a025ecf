//! TCP segments: read from frames that anybody may have sent, and headers written for our own.
//!
//! What is read is whole and right: lengths, IP and TCP checksums; fragments and IPv6 extension
//! headers are not followed. A [`Template`] holds the headers of one connection with the sums of
//! what never changes in them, so that a segment costs a few additions.

use core::net::IpAddr;

use crate::checksum::{fold, sum};
use crate::ethernet::{HEADER_BYTES, Header, IPV4, IPV6};
use crate::packet::{TCP, destination, source};

/// No more data from the sender.
pub(super) const FIN: u8 = 1;
/// Synchronises sequence numbers.
pub(super) const SYN: u8 = 2;
/// Ends the connection at once.
pub(super) const RST: u8 = 4;
/// To be handed to the program at once.
pub(super) const PSH: u8 = 8;
/// The acknowledgement counts.
pub(super) const ACK: u8 = 16;

const TCP_BYTES: usize = 20;
const FOUR_BYTES: usize = 20;
const SIX_BYTES: usize = 40;
/// Ethernet, IPv6, TCP and the options of a SYN.
const HEADERS_MAX: usize = HEADER_BYTES + SIX_BYTES + TCP_BYTES;
/// Bytes of options in our SYN: the segment size, and the window's scale behind a filler.
pub(super) const OPTIONS_BYTES: usize = 8;

/// A segment to one of our ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment<'a> {
    /// Who sent it: the frame's source.
    pub(super) station: [u8; 6],
    /// From whom.
    pub(super) remote: IpAddr,
    /// To which address of ours.
    pub(super) local: IpAddr,
    /// From and to which port.
    pub(super) ports: (u16, u16),
    /// Number of its first byte.
    pub(super) sequence: u32,
    /// Number of the first byte that the sender waits for.
    pub(super) acknowledged: u32,
    /// [`FIN`] to [`ACK`].
    pub(super) flags: u8,
    /// The window, not scaled.
    pub(super) window: u16,
    /// Its options.
    options: &'a [u8],
    /// What it carries.
    pub(super) payload: &'a [u8],
}

impl<'a> Segment<'a> {
    /// The segment in a frame; `None` for anything else and for what is damaged (RFC 9293 3.1).
    pub(super) fn read(frame: &'a [u8]) -> Option<Segment<'a>> {
        let (header, packet) = Header::split(frame)?;
        let bytes = match header.ethertype {
            IPV4 => four(packet)?,
            IPV6 => six(packet)?,
            _ => return None,
        };
        let (remote, local) = (source(packet)?, destination(packet)?);
        let pseudo = pseudo(packet)?;
        if fold(pseudo + sum(bytes) + length_sum(bytes.len())) != 0xffff {
            return None;
        }
        let fixed = bytes.first_chunk::<TCP_BYTES>()?;
        let [p, q, r, s, a, b, c, d, e, f, g, h, offset, flags, i, j, ..] = *fixed;
        let header_bytes = usize::from(offset >> 4) * 4;
        Some(Segment {
            station: header.source,
            remote,
            local,
            ports: (u16::from_be_bytes([p, q]), u16::from_be_bytes([r, s])),
            sequence: u32::from_be_bytes([a, b, c, d]),
            acknowledged: u32::from_be_bytes([e, f, g, h]),
            flags: flags & (FIN | SYN | RST | PSH | ACK),
            window: u16::from_be_bytes([i, j]),
            options: bytes.get(TCP_BYTES..header_bytes)?,
            payload: bytes.get(header_bytes..)?,
        })
    }

    /// Whether that flag is set.
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Sequence numbers that it takes.
    pub(super) fn length(&self) -> u32 {
        let flags = u32::from(self.has(SYN)) + u32::from(self.has(FIN));
        flags.wrapping_add(self.payload.len() as u32)
    }

    /// The largest segment and the window's scale that a SYN offers (RFC 9293 3.7.1, RFC 7323 2).
    pub(super) fn offers(&self) -> (Option<u16>, Option<u8>) {
        let (mut size, mut scale) = (None, None);
        let mut rest = self.options;
        while let [kind, after @ ..] = rest {
            rest = match (kind, after) {
                (0, _) => break,
                (1, after) => after,
                (_, [length, ..]) if *length >= 2 => {
                    let value = after.get(1..usize::from(*length) - 1).unwrap_or_default();
                    match (kind, value) {
                        (2, [a, b]) => size = Some(u16::from_be_bytes([*a, *b])),
                        (3, [shift]) => scale = Some((*shift).min(14)),
                        _ => {}
                    }
                    after.get(usize::from(*length) - 1..).unwrap_or_default()
                }
                _ => break,
            };
        }
        (size, scale)
    }
}

/// What an IPv4 packet carries, if that is a whole TCP segment.
fn four(packet: &[u8]) -> Option<&[u8]> {
    let fixed = packet.first_chunk::<FOUR_BYTES>()?;
    let header = usize::from(fixed[0] & 15) * 4;
    let total = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    // More fragments follow, or this is a later one.
    let part = u16::from_be_bytes([fixed[6], fixed[7]]) & 0x3fff != 0;
    let ours = fixed[0] >> 4 == 4 && header >= FOUR_BYTES && fixed[9] == TCP && !part;
    let right = ours && fold(sum(packet.get(..header)?)) == 0xffff;
    packet.get(header..total).filter(|_| right)
}

/// What an IPv6 packet carries, if that is a whole TCP segment.
fn six(packet: &[u8]) -> Option<&[u8]> {
    let fixed = packet.first_chunk::<SIX_BYTES>()?;
    let length = usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
    let ours = fixed[0] >> 4 == 6 && fixed[6] == TCP;
    packet.get(SIX_BYTES..SIX_BYTES + length).filter(|_| ours)
}

/// Sum of the pseudo header, but for the length (RFC 9293 3.1, RFC 8200 8.1).
fn pseudo(packet: &[u8]) -> Option<u32> {
    let addresses = match packet.first()? >> 4 {
        4 => packet.get(12..20)?,
        _ => packet.get(8..SIX_BYTES)?,
    };
    Some(sum(addresses) + u32::from(u16::from_ne_bytes([0, TCP])))
}

fn length_sum(length: usize) -> u32 {
    u32::from((length as u16).to_be())
}

/// The fields of a segment of ours that change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    /// Number of its first byte.
    pub(super) sequence: u32,
    /// What we have.
    pub(super) acknowledged: u32,
    /// Its flags.
    pub(super) flags: u8,
    /// What we have room for.
    pub(super) window: u16,
}

/// The headers of a connection's segments.
#[derive(Clone, Debug)]
pub(super) struct Template {
    bytes: [u8; HEADERS_MAX],
    /// Of the IP header, in bytes.
    ip: usize,
    /// Of the IPv4 header without its length.
    ip_sum: u32,
    /// Of pseudo header and ports.
    tcp_sum: u32,
}

impl Template {
    /// For answers to a segment, from the station that it was sent to.
    pub(super) fn answering(segment: &Segment<'_>, station: [u8; 6]) -> Template {
        let mut bytes = [0; HEADERS_MAX];
        let mut packet = [0; SIX_BYTES];
        let ip = match (segment.local, segment.remote) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                // Version and length, "do not fragment", 64 hops (RFC 791 3.1).
                (packet[0], packet[6], packet[8], packet[9]) = (0x45, 0x40, 64, TCP);
                packet[12..16].copy_from_slice(&ours.octets());
                packet[16..20].copy_from_slice(&theirs.octets());
                FOUR_BYTES
            }
            (ours, theirs) => {
                (packet[0], packet[6], packet[7]) = (0x60, TCP, 64);
                packet[8..24].copy_from_slice(&mapped(ours));
                packet[24..].copy_from_slice(&mapped(theirs));
                SIX_BYTES
            }
        };
        let ethertype = if ip == FOUR_BYTES { IPV4 } else { IPV6 };
        let header = Header { destination: segment.station, source: station, ethertype };
        bytes[..HEADER_BYTES].copy_from_slice(&header.bytes());
        bytes[HEADER_BYTES..HEADER_BYTES + ip].copy_from_slice(&packet[..ip]);
        let tcp = &mut bytes[HEADER_BYTES + ip..];
        tcp[..2].copy_from_slice(&segment.ports.1.to_be_bytes());
        tcp[2..4].copy_from_slice(&segment.ports.0.to_be_bytes());
        let ports = sum(&tcp[..4]);
        let ip_sum = sum(&packet[..ip]);
        let tcp_sum = pseudo(&packet).unwrap_or(0) + ports;
        Template { bytes, ip, ip_sum, tcp_sum }
    }

    /// Whether this is for IPv6, whose headers leave less room.
    pub(super) fn is_six(&self) -> bool {
        self.ip == SIX_BYTES
    }

    /// The other side is at that station from now on.
    pub(super) fn follow(&mut self, station: [u8; 6]) {
        self.bytes[..6].copy_from_slice(&station);
    }

    /// The headers of a segment with so many bytes of options and payload behind them, and their
    /// sum.
    #[inline]
    pub(super) fn headers(&mut self, fields: Fields, options: usize, more: (usize, u32)) -> &[u8] {
        let length = TCP_BYTES + options + more.0;
        let total = if self.is_six() { length } else { FOUR_BYTES + length };
        // Nothing here is longer than a frame.
        let total = (total as u16).to_be_bytes();
        let ip = &mut self.bytes[HEADER_BYTES..];
        if self.ip == SIX_BYTES {
            ip[4..6].copy_from_slice(&total);
        } else {
            ip[2..4].copy_from_slice(&total);
            let sum = !fold(self.ip_sum + u32::from(u16::from_ne_bytes(total)));
            ip[10..12].copy_from_slice(&sum.to_ne_bytes());
        }
        let tcp = &mut ip[self.ip..];
        tcp[4..8].copy_from_slice(&fields.sequence.to_be_bytes());
        tcp[8..12].copy_from_slice(&fields.acknowledged.to_be_bytes());
        tcp[12] = (((TCP_BYTES + options) / 4) << 4) as u8;
        tcp[13] = fields.flags;
        tcp[14..16].copy_from_slice(&fields.window.to_be_bytes());
        tcp[16..18].fill(0);
        let changing = sum(&tcp[4..TCP_BYTES]);
        let sum = !fold(self.tcp_sum + length_sum(length) + changing + more.1);
        tcp[16..18].copy_from_slice(&sum.to_ne_bytes());
        self.bytes.get(..HEADER_BYTES + self.ip + TCP_BYTES).unwrap_or_default()
    }
}

/// An address in 16 bytes.
fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The options of our SYN: the largest segment that we take, and that windows are scaled by
/// nothing, if the other side knows scaling.
pub(super) fn options(size: u16, scales: bool) -> [u8; OPTIONS_BYTES] {
    let [a, b] = size.to_be_bytes();
    if scales { [2, 4, a, b, 1, 3, 3, 0] } else { [2, 4, a, b, 1, 1, 1, 1] }
}

#[cfg(test)]
mod tests {
    use super::{ACK, Fields, PSH, SYN, Segment, Template, options};
    use crate::checksum::sum;
    use alloc::vec::Vec;
    use core::net::IpAddr;

    fn there(six: bool) -> (IpAddr, IpAddr) {
        let text = if six { ("fe80::9", "fe80::15") } else { ("10.0.2.2", "10.0.2.15") };
        (text.0.parse().unwrap(), text.1.parse().unwrap())
    }

    /// What the other side would answer to: swapped once more, it is what we read.
    fn frame(six: bool, fields: Fields, tail: &[&[u8]]) -> Vec<u8> {
        let (remote, local) = there(six);
        let asked = Segment {
            station: [2; 6],
            remote: local,
            local: remote,
            ports: (80, 4000),
            sequence: 0,
            acknowledged: 0,
            flags: 0,
            window: 0,
            options: &[],
            payload: &[],
        };
        let all = tail.concat();
        let options = if fields.flags & SYN != 0 { 8 } else { 0 };
        let mut template = Template::answering(&asked, [4; 6]);
        let headers = template.headers(fields, options, (all.len() - options, sum(&all)));
        [headers, &all].concat()
    }

    const FIELDS: Fields = Fields { sequence: 7, acknowledged: 9, flags: ACK | PSH, window: 800 };

    #[test]
    fn what_is_written_can_be_read() {
        for six in [false, true] {
            let bytes = frame(six, FIELDS, &[b"odd"]);
            let segment = Segment::read(&bytes).unwrap();
            assert_eq!((segment.remote, segment.local), there(six));
            assert_eq!((segment.ports, segment.payload), ((4000, 80), &b"odd"[..]));
            assert_eq!((segment.sequence, segment.acknowledged), (7, 9));
            assert_eq!((segment.window, segment.length()), (800, 3));
            // What an Ethernet card puts behind a short frame is not part of it.
            let mut padded = bytes.clone();
            padded.extend([9; 7]);
            assert_eq!(Segment::read(&padded), Some(segment));
        }
    }

    #[test]
    fn nothing_damaged_is_read() {
        for six in [false, true] {
            let bytes = frame(six, FIELDS, &[b"payload"]);
            for length in 0..bytes.len() {
                assert_eq!(Segment::read(&bytes[..length]), None, "{length}");
            }
            // Behind the stations and the fields that no checksum is over.
            let from = if six { 14 + 8 } else { 14 };
            for (at, bit) in (from..bytes.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
                let mut wrong = bytes.clone();
                wrong[at] ^= 1 << bit;
                assert_eq!(Segment::read(&wrong), None, "{at}");
            }
        }
    }

    #[test]
    fn a_syn_says_what_it_offers() {
        let fields = Fields { flags: SYN, ..FIELDS };
        let bytes = frame(false, fields, &[&options(1460, true)]);
        let segment = Segment::read(&bytes).unwrap();
        assert_eq!((segment.offers(), segment.length()), ((Some(1460), Some(0)), 1));
        let bytes = frame(true, fields, &[&options(1440, false)]);
        assert_eq!(Segment::read(&bytes).unwrap().offers(), (Some(1440), None));
        for odd in [[2, 0, 5, 5, 1, 1, 1, 1], [2, 9, 5, 5, 1, 1, 1, 1], [2, 3, 5, 3, 3, 99, 2, 1]] {
            let bytes = frame(false, fields, &[&odd]);
            let (size, scale) = Segment::read(&bytes).unwrap().offers();
            assert!(size.is_none() && scale.is_none_or(|shift| shift <= 14));
        }
    }
}
