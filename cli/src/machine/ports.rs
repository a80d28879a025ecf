//! Host ports that lead to the guest's.
//!
//! A port that was not asked for by number is one that the host calls free right now. QEMU binds
//! it a moment later; if somebody else is faster, QEMU says so and the boot ends with its words.

use std::net::{Ipv4Addr, UdpSocket};

/// One forwarded UDP port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
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
        "UDP port {port} of 127.0.0.1 cannot be used for the guest's port {guest}: {source}. \
             Choose another with --port {guest}=NUMBER, or leave the choice to sluice."
    )]
    Refused {
        /// The host's port.
        port: u16,
        /// The guest's.
        guest: u16,
        /// Why.
        source: std::io::Error,
    },
}

/// Checks the ports that were asked for and finds free ones for the rest.
///
/// # Errors
/// [`PortError::Refused`] names the first port that cannot be bound.
pub(super) fn choose(wanted: &[(u16, Option<u16>)]) -> Result<Vec<Forward>, PortError> {
    // All sockets stay open until every port is chosen: no port is chosen twice.
    let mut held = Vec::new();
    let mut forwards = Vec::new();
    for &(guest, host) in wanted {
        let port = host.unwrap_or(0);
        let refused = |source| PortError::Refused { port, guest, source };
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).map_err(refused)?;
        forwards.push(Forward { guest, host: socket.local_addr().map_err(refused)?.port() });
        held.push(socket);
    }
    Ok(forwards)
}

#[cfg(test)]
mod tests {
    use super::{PortError, choose};
    use std::net::UdpSocket;

    #[test]
    fn free_ports_are_distinct() {
        let forwards = choose(&[(7, None), (9, None), (7777, None)]).unwrap();
        assert_eq!(forwards.iter().map(|f| f.guest).collect::<Vec<_>>(), [7, 9, 7777]);
        let mut hosts: Vec<u16> = forwards.iter().map(|f| f.host).collect();
        hosts.sort_unstable();
        hosts.dedup();
        assert_eq!(hosts.len(), 3);
        assert!(!hosts.contains(&0));
    }

    #[test]
    fn a_port_in_use_is_named() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = choose(&[(7, Some(port))]).unwrap_err();
        let PortError::Refused { port: named, guest, .. } = &error;
        assert_eq!((*named, *guest), (port, 7));
        assert!(error.to_string().contains(&port.to_string()));
    }
}
