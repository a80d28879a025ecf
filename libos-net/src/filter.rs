//! Filters for sockets: an expression, its flow space, the program that accepts exactly that.
//!
//! The kernel sees only the program, and extracts its claim from it: what is written here is a
//! convenience that the proof does not rely on.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use flow::FlowError;
use flow::expr::ExprError;
use flow::lower::LowerError;
use libos::addresses::Addresses;

/// What of ours a socket is reached at: a port, at one of our addresses or at all of a family.
///
/// `80` is the port at our IPv4 address, `(Ipv6Addr::UNSPECIFIED, 80)` (or `"[::]:80".parse()`) at
/// every address of both families, as on any system with both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// An address of ours; unspecified for all.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

impl From<u16> for Local {
    fn from(port: u16) -> Local {
        Local { address: Ipv4Addr::UNSPECIFIED.into(), port }
    }
}

impl From<SocketAddr> for Local {
    fn from(at: SocketAddr) -> Local {
        Local { address: at.ip(), port: at.port() }
    }
}

impl<A: Into<IpAddr>> From<(A, u16)> for Local {
    fn from((address, port): (A, u16)) -> Local {
        Local { address: address.into(), port }
    }
}

/// Why an expression gave no filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterError {
    /// The text is no expression.
    Text {
        /// Where, and what was expected.
        error: ExprError,
    },
    /// Its meaning passes a limit.
    Meaning {
        /// Which limit.
        error: FlowError,
    },
    /// It cannot be written as a program.
    Lower {
        /// Why.
        error: LowerError,
    },
}

impl core::fmt::Display for FilterError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Text { error } => write!(f, "{error}"),
            Self::Meaning { error } => write!(f, "{error}"),
            Self::Lower { error } => write!(f, "{error}"),
        }
    }
}

/// The filter program of an expression, as bytes for `Bind`.
///
/// # Errors
/// [`FilterError`].
pub fn from_expression(text: &str) -> Result<Vec<u8>, FilterError> {
    let expression = flow::expr::parse(text).map_err(|error| FilterError::Text { error })?;
    let space = expression.to_space().map_err(|error| FilterError::Meaning { error })?;
    let program = flow::lower::lower(&space).map_err(|error| FilterError::Lower { error })?;
    Ok(ebpf::encode(&program))
}

/// What a UDP socket asks for: datagrams to that address and port.
pub fn udp_expression(address: [u8; 4], port: u16) -> String {
    expression("udp", &[address.into()], port)
}

/// The filter of a service: packets of a protocol to that port of ours.
///
/// # Errors
/// [`FilterError`].
pub(crate) fn service(
    protocol: &str,
    addresses: &Addresses,
    local: Local,
) -> Result<Vec<u8>, FilterError> {
    from_expression(&expression(protocol, &ours(addresses, local.address), local.port))
}

/// The filter of one connection: packets of a protocol from there to that port of ours.
///
/// # Errors
/// [`FilterError`].
pub(crate) fn connection(
    protocol: &str,
    addresses: &Addresses,
    port: u16,
    remote: SocketAddr,
) -> Result<Vec<u8>, FilterError> {
    let any: IpAddr = match remote.ip() {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let same = |ours: &IpAddr| ours.is_ipv4() == remote.is_ipv4();
    let ours: Vec<IpAddr> = ours(addresses, any).into_iter().filter(same).collect();
    let to_us = expression(protocol, &ours, port);
    let (from, source) = (remote.ip(), remote.port());
    from_expression(&format!("{to_us} and src host {from} and src port {source}"))
}

/// Our addresses that are meant by one: it, or with `0.0.0.0` that of IPv4, or with `::` all.
fn ours(addresses: &Addresses, meant: IpAddr) -> Vec<IpAddr> {
    let (four, six) = (addresses.ipv4, &addresses.six);
    let all: [IpAddr; 3] = [four.into(), six.link_local.into(), six.address.into()];
    match meant {
        IpAddr::V4(any) if any.is_unspecified() => alloc::vec![four.into()],
        IpAddr::V6(any) if any.is_unspecified() => {
            all.into_iter().filter(|ours| !ours.is_unspecified()).collect()
        }
        one => alloc::vec![one],
    }
}

fn expression(protocol: &str, addresses: &[IpAddr], port: u16) -> String {
    let hosts: Vec<String> = addresses.iter().map(|ip| format!("dst host {ip}")).collect();
    let hosts = match hosts.as_slice() {
        [one] => one.clone(),
        several => format!("({})", several.join(" or ")),
    };
    format!("{protocol} and {hosts} and dst port {port}")
}

#[cfg(test)]
mod tests {
    use super::{Local, connection, ours, service};
    use alloc::vec::Vec;
    use core::net::{IpAddr, Ipv6Addr, SocketAddr};
    use libos::addresses::{Addresses, Six};

    fn addresses() -> Addresses {
        Addresses {
            mac: [2, 0, 0, 0, 0, 1],
            ipv4: [10, 0, 2, 15],
            six: Six::link_local([2, 0, 0, 0, 0, 1]),
            ..Addresses::default()
        }
    }

    #[test]
    fn an_address_means_itself_or_its_family_or_all() {
        let meant = |text: &str| ours(&addresses(), text.parse().unwrap());
        let link_local: IpAddr = "fe80::ff:fe00:1".parse().unwrap();
        assert_eq!(meant("0.0.0.0"), [IpAddr::from([10, 0, 2, 15])]);
        assert_eq!(meant("::"), [IpAddr::from([10, 0, 2, 15]), link_local]);
        assert_eq!(meant("fd00::7"), ["fd00::7".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn every_kind_of_filter_is_a_program() {
        let lengths: Vec<usize> = [
            service("tcp", &addresses(), Local::from(80)),
            service("tcp", &addresses(), (Ipv6Addr::UNSPECIFIED, 80).into()),
            service("udp", &addresses(), (Ipv6Addr::LOCALHOST, 80).into()),
            connection("tcp", &addresses(), 80, SocketAddr::from(([10, 0, 2, 2], 4000))),
            connection("tcp", &addresses(), 80, "[fe80::9]:4000".parse().unwrap()),
        ]
        .into_iter()
        .map(|filter| filter.unwrap().len())
        .collect();
        assert!(lengths.iter().all(|&length| length > 0 && length.is_multiple_of(8)));
    }
}
