//! Ethernet II headers: read, and written.

/// Bytes of a header without VLAN tags.
pub const HEADER_BYTES: usize = 14;
/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// The address of everybody.
pub const BROADCAST: [u8; 6] = [0xff; 6];

/// A header's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// To whom.
    pub destination: [u8; 6],
    /// From whom.
    pub source: [u8; 6],
    /// What follows.
    pub ethertype: u16,
}

impl Header {
    /// The header of a frame and what follows it; `None` if the frame is too short.
    pub fn split(frame: &[u8]) -> Option<(Header, &[u8])> {
        let (destination, rest) = frame.split_first_chunk::<6>()?;
        let (source, rest) = rest.split_first_chunk::<6>()?;
        let (ethertype, payload) = rest.split_first_chunk::<2>()?;
        let ethertype = u16::from_be_bytes(*ethertype);
        Some((Header { destination: *destination, source: *source, ethertype }, payload))
    }

    /// As it is sent.
    pub fn bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..6].copy_from_slice(&self.destination);
        bytes[6..12].copy_from_slice(&self.source);
        bytes[12..].copy_from_slice(&self.ethertype.to_be_bytes());
        bytes
    }
}

/// Whether an address can be somebody's own: not a group's, not zero.
pub fn is_unicast(mac: [u8; 6]) -> bool {
    mac[0] & 1 == 0 && mac != [0; 6]
}

#[cfg(test)]
mod tests {
    use super::{BROADCAST, Header, is_unicast};

    #[test]
    fn a_header_comes_back() {
        let header = Header { destination: [1; 6], source: [2; 6], ethertype: 0x88b5 };
        let mut frame = header.bytes().to_vec();
        assert_eq!(Header::split(&frame), Some((header, &[][..])));
        frame.push(9);
        assert_eq!(Header::split(&frame), Some((header, &[9][..])));
        for length in 0..14 {
            assert_eq!(Header::split(&frame[..length]), None);
        }
    }

    #[test]
    fn groups_and_nobody_are_not_unicast() {
        assert!(is_unicast([2, 0, 0, 0, 0, 1]));
        assert!(!is_unicast(BROADCAST) && !is_unicast([0; 6]) && !is_unicast([1, 0, 0, 0, 0, 1]));
    }
}
