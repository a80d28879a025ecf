//! What every service here does first: its handler bound in front of a socket.
//!
//! [`open`] reads the object that clang made of the handler's source, makes its maps, and binds the
//! filter of one UDP port with rings and the handler. What the handler passes on comes out of the
//! socket; the maps are the program's and the handler's together.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use libos::object::{HandlerError, Handlers};
use libos::rings::{RingMemory, TX_PAGES};
use libos::{BindError, Environment, Status};
use libos_net::{Device, Net, SocketError, UdpSocket, explain, filter};

/// Pages of the receive ring, two frames each: what an adversary asks stands in the same ring as
/// what everybody else asks.
const RX_PAGES: usize = 64;

/// Why a service does not run.
#[derive(Clone, Debug)]
pub enum ServiceError {
    /// The handler's object.
    Handler(HandlerError),
    /// The filter, the binding or the socket.
    Socket(SocketError),
    /// A map.
    Map {
        /// What was done with it.
        doing: &'static str,
        /// What the kernel said.
        status: Status,
    },
}

impl From<HandlerError> for ServiceError {
    fn from(error: HandlerError) -> ServiceError {
        ServiceError::Handler(error)
    }
}

impl From<SocketError> for ServiceError {
    fn from(error: SocketError) -> ServiceError {
        ServiceError::Socket(error)
    }
}

impl ServiceError {
    /// In lines that a person can act on.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Handler(error) => vec![format!("{error}")],
            Self::Socket(error) => explain::lines(error),
            Self::Map { doing, status } => vec![format!("{doing}: {status:?}")],
        }
    }
}

/// Binds `udp and dst host OURS and dst port PORT` under the grant of that name, with the program
/// of that name in front.
///
/// # Errors
/// [`ServiceError`].
pub fn open(
    environment: &Environment,
    grant: &str,
    port: u16,
    handlers: &mut Handlers,
    program: &str,
) -> Result<UdpSocket, ServiceError> {
    let net = Net::new(environment)?;
    let grant = environment.grant(grant).map_err(SocketError::from)?;
    let handler = handlers.handler(program)?;
    let expression = filter::udp_expression(net.addresses().ipv4, port);
    let filter = filter::from_expression(&expression).map_err(SocketError::from)?;
    let memory = RingMemory::new(net.own(), RX_PAGES, TX_PAGES).map_err(without_record)?;
    let rings = memory
        .bind_with(grant, &filter, Some(&handler.code), &handler.maps)
        .map_err(SocketError::from)?;
    Ok(UdpSocket::over(Device::new(rings, net.neighbours()), &net, port)?)
}

fn without_record(status: Status) -> SocketError {
    SocketError::Bind { error: BindError { status, refusal: None } }
}
