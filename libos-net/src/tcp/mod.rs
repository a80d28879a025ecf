//! TCP: listeners and streams in the shape of `std::net`, over smoltcp's sockets.
//!
//! [`TcpListener`] keeps a socket listening at all times; what it turned into is moved on from list
//! to list ([`backlog`]): half open, ready, accepted. A [`TcpStream`] that is dropped is closed as
//! on any system: what was written still goes out, and the connection ends in its own time
//! ([`Connections`]).

mod backlog;
mod connections;
mod io;
mod listener;
mod stream;

pub(crate) use connections::Connections;
pub use listener::{ListenOptions, TcpListener};
pub use stream::{Shutdown, TcpError, TcpStream};

use alloc::vec;

use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer};

use crate::limits::{STREAM_BYTES, STREAM_BYTES_RANGE};

/// What a connection's socket is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// Bytes received and not yet read, at most: the window that the other side sees.
    pub receive_bytes: usize,
    /// Bytes written and not yet acknowledged, at most.
    pub send_bytes: usize,
    /// Send small segments at once (`TCP_NODELAY`); without it they wait for acknowledgements
    /// (RFC 896).
    pub no_delay: bool,
}

impl Default for StreamOptions {
    fn default() -> StreamOptions {
        StreamOptions { receive_bytes: STREAM_BYTES, send_bytes: STREAM_BYTES, no_delay: true }
    }
}

impl StreamOptions {
    /// A fresh socket; sizes are brought into their range.
    fn socket(self) -> Socket<'static> {
        let within =
            |bytes: usize| bytes.clamp(*STREAM_BYTES_RANGE.start(), *STREAM_BYTES_RANGE.end());
        let buffer = |bytes| SocketBuffer::new(vec![0; within(bytes)]);
        let mut socket = Socket::new(buffer(self.receive_bytes), buffer(self.send_bytes));
        self.prepare(&mut socket);
        socket
    }

    /// Sets what a socket may have been told otherwise.
    fn prepare(self, socket: &mut Socket<'static>) {
        socket.set_nagle_enabled(!self.no_delay);
        socket.set_congestion_control(CongestionControl::Reno);
        socket.set_hop_limit(Some(64));
        socket.set_keep_alive(None);
        socket.set_timeout(None);
    }
}
