//! Just enough of an IP packet to know whose it is: addresses, protocol, ports.
//!
//! What is not there, or is a later fragment, has no flow. Extension headers of IPv6 are not
//! followed: a packet with one belongs to no socket.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Protocol number of ICMP.
pub(crate) const ICMP: u8 = 1;
/// Protocol number of TCP.
pub(crate) const TCP: u8 = 6;
/// Protocol number of UDP.
pub(crate) const UDP: u8 = 17;

/// What a binding serves, as seen from here: protocol, own port, and whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tuple {
    /// Protocol; 0 for any.
    pub(crate) protocol: u8,
    /// Our port; 0 for any.
    pub(crate) local: u16,
    /// The other side; `None` for anybody.
    pub(crate) remote: Option<(IpAddr, u16)>,
}

impl Tuple {
    /// Everything.
    pub(crate) const ANY: Tuple = Tuple { protocol: 0, local: 0, remote: None };

    /// The same service for anybody.
    pub(crate) fn service(self) -> Tuple {
        Tuple { remote: None, ..self }
    }
}

/// Source address of an IPv4 or IPv6 packet.
pub(crate) fn source(packet: &[u8]) -> Option<IpAddr> {
    address(packet, 12, 8)
}

/// Destination address.
pub(crate) fn destination(packet: &[u8]) -> Option<IpAddr> {
    address(packet, 16, 24)
}

fn address(packet: &[u8], four_at: usize, six_at: usize) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => Some(Ipv4Addr::from(*packet.get(four_at..)?.first_chunk::<4>()?).into()),
        6 => Some(Ipv6Addr::from(*packet.get(six_at..)?.first_chunk::<16>()?).into()),
        _ => None,
    }
}

/// The flow of a packet of ours (RFC 791 3.1, RFC 8200 3).
pub(crate) fn flow(packet: &[u8]) -> Option<Tuple> {
    let first = *packet.first()?;
    let (protocol, header) = match first >> 4 {
        4 => (*packet.get(9)?, usize::from(first & 15) * 4),
        6 => (*packet.get(6)?, 40),
        _ => return None,
    };
    let remote = destination(packet)?;
    let (local, other) = match protocol {
        TCP | UDP => (port(packet, header)?, port(packet, header + 2)?),
        _ => (0, 0),
    };
    Some(Tuple { protocol, local, remote: Some((remote, other)) })
}

fn port(packet: &[u8], at: usize) -> Option<u16> {
    packet.get(at..)?.first_chunk::<2>().map(|bytes| u16::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::{TCP, Tuple, UDP, destination, flow, source};
    use alloc::vec;
    use core::net::IpAddr;

    #[test]
    fn ports_stand_behind_options_and_nothing_is_read_beyond_the_end() {
        let mut packet = vec![0; 60];
        packet[0] = 0x46;
        packet[9] = UDP;
        packet[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        packet[24..28].copy_from_slice(&[0x1e, 0x61, 0, 53]);
        let remote = Some((IpAddr::from([10, 0, 0, 2]), 53));
        let tuple = Tuple { protocol: UDP, local: 7777, remote };
        assert_eq!(flow(&packet).unwrap(), tuple);
        assert_eq!(source(&packet), Some(IpAddr::from([10, 0, 0, 1])));
        for length in 0..28 {
            assert_eq!(flow(&packet[..length]), None, "{length}");
        }
        packet[0] = 0x4f;
        assert_eq!(flow(&packet), None);
        packet[0] = 0x55;
        assert_eq!((flow(&packet), source(&packet), destination(&packet)), (None, None, None));
    }

    #[test]
    fn ipv6_has_its_ports_at_forty() {
        let mut packet = vec![0; 44];
        packet[0] = 0x60;
        packet[6] = TCP;
        packet[39] = 9;
        packet[40..44].copy_from_slice(&[0, 80, 0x30, 0x39]);
        let remote: IpAddr = "::9".parse().unwrap();
        let tuple = Tuple { protocol: TCP, local: 80, remote: Some((remote, 12345)) };
        assert_eq!(flow(&packet).unwrap(), tuple);
        for length in 0..44 {
            assert_eq!(flow(&packet[..length]), None, "{length}");
        }
        packet[6] = 58;
        assert_eq!(flow(&packet).unwrap().local, 0);
    }
}
