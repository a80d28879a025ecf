//! Host ports that lead to the guest's.
//!
//! A port that was not asked for by number is one that the host calls free right now. QEMU binds
//! it a moment later; if somebody else is faster, QEMU says so and the boot ends with its words.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// What a forwarded port speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Datagrams.
    Udp,
    /// Streams.
    Tcp,
}

/// One forwarded port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// What it speaks.
    pub protocol: Protocol,
    /// The guest's port.
    pub guest: u16,
    /// The port on 127.0.0.1 that leads to it.
    pub host: u16,
}

/// Why a port cannot be forwarded.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The port that was asked for is taken, or not ours to take.
    #[error(
        "{protocol:?} port {port} of 127.0.0.1 cannot be used for the guest's port {guest}: \
             {source}. \
             Choose another with --port {guest}=NUMBER, or leave the choice to sluice."
    )]
    Refused {
        /// What it was to speak.
        protocol: Protocol,
        /// The host's port.
        port: u16,
        /// The guest's.
        guest: u16,
        /// Why.
        source: std::io::Error,
    },
}

/// Checks the ports that were asked for, of UDP and of TCP, and finds free ones for the rest.
///
/// # Errors
/// [`PortError::Refused`] names the first port that cannot be bound.
pub(super) fn choose(udp: &[Wanted], tcp: &[Wanted]) -> Result<Vec<Forward>, PortError> {
    // All sockets stay open until every port is chosen: no port is chosen twice.
    let mut held = Vec::new();
    let mut forwards = Vec::new();
    let udp = udp.iter().map(|wanted| (Protocol::Udp, wanted));
    for (protocol, &(guest, host)) in udp.chain(tcp.iter().map(|wanted| (Protocol::Tcp, wanted))) {
        let port = host.unwrap_or(0);
        let refused = |source| PortError::Refused { protocol, port, guest, source };
        let socket = Held::bind(protocol, port).map_err(refused)?;
        forwards.push(Forward { protocol, guest, host: socket.port().map_err(refused)? });
        held.push(socket);
    }
    Ok(forwards)
}

/// A port of the guest, and one of the host if that matters.
pub(super) type Wanted = (u16, Option<u16>);

/// A port that nobody else gets meanwhile.
enum Held {
    Udp(UdpSocket),
    Tcp(TcpListener),
}

impl Held {
    fn bind(protocol: Protocol, port: u16) -> std::io::Result<Held> {
        let at = (Ipv4Addr::LOCALHOST, port);
        match protocol {
            Protocol::Udp => UdpSocket::bind(at).map(Held::Udp),
            Protocol::Tcp => TcpListener::bind(at).map(Held::Tcp),
        }
    }

    fn port(&self) -> std::io::Result<u16> {
        let address = match self {
            Held::Udp(socket) => socket.local_addr(),
            Held::Tcp(listener) => listener.local_addr(),
        };
        address.map(|address| address.port())
    }
}

#[cfg(test)]
mod tests {
    use super::{PortError, Protocol, choose};
    use std::net::UdpSocket;

    #[test]
    fn free_ports_are_distinct() {
        let forwards = choose(&[(7, None), (9, None), (7777, None)], &[(80, None)]).unwrap();
        assert_eq!(forwards.iter().map(|f| f.guest).collect::<Vec<_>>(), [7, 9, 7777, 80]);
        assert_eq!(forwards[3].protocol, Protocol::Tcp);
        let mut hosts: Vec<u16> = forwards.iter().map(|f| f.host).collect();
        hosts.sort_unstable();
        hosts.dedup();
        assert!(hosts.len() >= 3);
        assert!(!hosts.contains(&0));
    }

    #[test]
    fn a_port_in_use_is_named() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = choose(&[(7, Some(port))], &[]).unwrap_err();
        let PortError::Refused { protocol: Protocol::Udp, port: named, guest, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!((*named, *guest), (port, 7));
        assert!(error.to_string().contains(&port.to_string()));
    }
}
