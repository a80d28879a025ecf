//! Listeners.

use core::cell::Cell;
use core::net::SocketAddr;
use core::task::{Context, Poll};

use libos::clock::NEVER;
use libos::{Grant, Handle, Rings};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::Socket;
use smoltcp::wire::IpListenEndpoint;

use super::{StreamOptions, TcpStream};
use crate::device::PortId;
use crate::filter::{self, Local};
use crate::net::SocketError;
use crate::packet::{TCP, Tuple};
use crate::stack::{Stack, refused};

/// Pages of the rings of a connection that is carved out of its listener.
const CARVED_PAGES: (usize, usize) = (16, 8);

/// How a listener is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    /// What its connections' sockets are like.
    pub stream: StreamOptions,
    /// Pages of its receive ring, of two frames each: a power of two up to 64.
    pub rx_pages: usize,
    /// Pages of its transmit ring.
    pub tx_pages: usize,
    /// Carve each connection out of the listener when it is accepted: a binding and rings of its
    /// own, which nothing that comes to the listener can fill. It costs a proof for each connection
    /// and pages for its rings, so that it pays for connections that last.
    pub carve: bool,
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions { stream: StreamOptions::default(), rx_pages: 64, tx_pages: 32, carve: false }
    }
}

/// A port that connections come to.
pub struct TcpListener {
    stack: Stack,
    place: usize,
    port: PortId,
    local: Local,
    options: ListenOptions,
    not_carved: Cell<u64>,
}

impl TcpListener {
    /// Claims the port under the grant and listens: `80` for IPv4, or an address of ours as
    /// `std::net` writes it ([`Local`]).
    ///
    /// # Errors
    /// [`SocketError`]; the kernel's refusal comes with its record.
    pub fn bind(
        stack: &Stack,
        grant: Grant,
        local: impl Into<Local>,
    ) -> Result<TcpListener, SocketError> {
        Self::bind_with(stack, grant, local, ListenOptions::default())
    }

    /// [`TcpListener::bind`] with sizes of one's own.
    ///
    /// # Errors
    /// As [`TcpListener::bind`].
    pub fn bind_with(
        stack: &Stack,
        grant: Grant,
        local: impl Into<Local>,
        options: ListenOptions,
    ) -> Result<TcpListener, SocketError> {
        Self::bind_behind(stack, grant, local, options, (None, &[]))
    }

    /// [`TcpListener::bind_with`] behind a handler with its maps: it sees every packet of the
    /// listener first, and of its connections those that are not carved.
    ///
    /// # Errors
    /// As [`TcpListener::bind`].
    pub fn bind_behind(
        stack: &Stack,
        grant: Grant,
        local: impl Into<Local>,
        options: ListenOptions,
        (ash, maps): (Option<&[u8]>, &[Handle]),
    ) -> Result<TcpListener, SocketError> {
        let local = local.into();
        let net = stack.net();
        let filter = filter::service("tcp", net.addresses(), local)?;
        let pages = (options.rx_pages, options.tx_pages);
        let memory = stack.inner().device.memory(net.own(), pages)?;
        let rings = memory.bind_with(grant, &filter, ash, maps)?;
        Self::over(stack, rings, local, options)
    }

    fn over(
        stack: &Stack,
        rings: Rings,
        local: Local,
        options: ListenOptions,
    ) -> Result<TcpListener, SocketError> {
        let mut inner = stack.inner();
        let endpoint = IpListenEndpoint { addr: None, port: local.port };
        let inner = &mut *inner;
        let place = inner.connections.listen(endpoint, options.stream, &mut inner.sockets);
        let place = place.ok_or_else(|| refused("the port"))?;
        inner.has_timers();
        let tuple = Tuple { protocol: TCP, local: local.port, remote: None };
        let port = inner.attach(rings, tuple);
        let stack = stack.clone();
        Ok(TcpListener { stack, place, port, local, options, not_carved: Cell::new(0) })
    }

    /// Our port.
    pub fn port(&self) -> u16 {
        self.local.port
    }

    /// The stack that it was opened on.
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// [`SocketError::Stack`] if it was reset while it waited to be accepted: try again.
    pub fn accept(&self) -> Result<(TcpStream, SocketAddr), SocketError> {
        let place = self.place;
        let found = self.stack.until(NEVER, |inner| inner.connections.accept(place, None));
        self.stream(found.ok_or_else(|| refused("the connection"))?)
    }

    /// The next connection, if one is there.
    ///
    /// # Errors
    /// As [`TcpListener::accept`].
    pub fn try_accept(&self) -> Option<Result<(TcpStream, SocketAddr), SocketError>> {
        self.stack.poll();
        let found = self.stack.inner().connections.accept(self.place, None)?;
        Some(self.stream(found))
    }

    /// The next connection, or a wake-up when there is one.
    ///
    /// # Errors
    /// As [`TcpListener::accept`].
    pub fn poll_accept(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<Result<(TcpStream, SocketAddr), SocketError>> {
        let found = self.stack.inner().connections.accept(self.place, Some(context.waker()));
        match found {
            Some(handle) => Poll::Ready(self.stream(handle)),
            None => Poll::Pending,
        }
    }

    /// Waits for the next connection, in a task.
    ///
    /// # Errors
    /// As [`TcpListener::accept`].
    pub async fn accept_async(&self) -> Result<(TcpStream, SocketAddr), SocketError> {
        core::future::poll_fn(|context| self.poll_accept(context)).await
    }

    /// Connections, one after the other, for ever.
    pub fn incoming(&self) -> impl Iterator<Item = Result<TcpStream, SocketError>> + '_ {
        core::iter::repeat_with(|| self.accept().map(|(stream, _)| stream))
    }

    /// Half-open connections that made room for others or took too long: a flood shows here.
    pub fn given_up(&self) -> u64 {
        self.stack.inner().connections.given_up(self.place)
    }

    /// Connections that stayed on the listener's binding because carving them was refused.
    pub fn not_carved(&self) -> u64 {
        self.not_carved.get()
    }

    fn stream(&self, handle: SocketHandle) -> Result<(TcpStream, SocketAddr), SocketError> {
        let remote = self.stack.inner().sockets.get::<Socket<'_>>(handle).remote_endpoint();
        let port = remote.filter(|_| self.options.carve).and_then(|remote| {
            let carved = self.carve(remote.into());
            if carved.is_err() {
                self.not_carved.set(self.not_carved.get() + 1);
            }
            carved.ok()
        });
        let port = port.unwrap_or_else(|| {
            self.stack.inner().device.hold(self.port);
            self.port
        });
        let stream = TcpStream::new(self.stack.clone(), handle, self.options.stream, port);
        // Without an address it was reset; dropping the stream takes the socket back.
        let remote = remote.ok_or_else(|| refused("a connection that was reset"))?;
        Ok((stream, remote.into()))
    }

    /// A binding of its own for the connection with `remote`, carved out of ours in one call:
    /// before it the segments are the listener's, after it the connection's, and never nobody's.
    fn carve(&self, remote: SocketAddr) -> Result<PortId, SocketError> {
        let net = self.stack.net();
        let filter = filter::connection("tcp", net.addresses(), self.local.port, remote)?;
        let mut inner = self.stack.inner();
        let listener = inner.device.binding(self.port).ok_or_else(|| refused("the listener"))?;
        let memory = inner.device.memory(net.own(), CARVED_PAGES)?;
        let rings = memory.carve(listener, &filter, None)?;
        let remote = Some((remote.ip(), remote.port()));
        Ok(inner.attach(rings, Tuple { protocol: TCP, local: self.local.port, remote }))
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        let mut inner = self.stack.inner();
        let inner = &mut *inner;
        inner.connections.unlisten(self.place, &mut inner.sockets);
        // Connections that were accepted go on, and keep the binding.
        inner.device.release(self.port);
    }
}
