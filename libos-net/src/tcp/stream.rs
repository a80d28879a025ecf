//! Connections.

use core::future::poll_fn;
use core::net::SocketAddr;
use core::task::{Context, Poll};

use libos::Grant;
use libos::clock::{NEVER, now_ns};
use libos::errors::NetError;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{RecvError, Socket, State};
use smoltcp::wire::IpListenEndpoint;

use super::StreamOptions;
use crate::device::PortId;
use crate::filter;
use crate::net::SocketError;
use crate::packet::{TCP, Tuple};
use crate::stack::{Inner, Stack, refused};

/// Pages of the rings of a connection of our own.
const CONNECT_PAGES: (usize, usize) = (32, 16);

/// Why nothing was read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpError {
    /// The other side, or a timeout, has ended the connection without saying goodbye.
    Reset,
    /// Our side of the connection is closed.
    Closed,
    /// The time that the stream was given has passed.
    TimedOut,
}

impl core::fmt::Display for TcpError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Reset => "the connection was reset",
            Self::Closed => "the connection is closed on our side",
            Self::TimedOut => "the time has passed",
        })
    }
}

impl core::error::Error for TcpError {}

/// Which half of a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// No more writing: the other side reads to the end.
    Write,
    /// Neither reading nor writing.
    Both,
}

/// A connection. Methods take `&self`: two tasks may read and write at the same time.
pub struct TcpStream {
    stack: Stack,
    handle: SocketHandle,
    options: StreamOptions,
    port: PortId,
    /// How long a blocking call may take, in nanoseconds.
    patience: u64,
}

impl TcpStream {
    pub(super) fn new(
        stack: Stack,
        handle: SocketHandle,
        options: StreamOptions,
        port: PortId,
    ) -> TcpStream {
        TcpStream { stack, handle, options, port, patience: NEVER }
    }

    /// Connects from `port` of ours, which the grant must cover, to `remote`, and waits until the
    /// connection stands or `deadline_ns` has passed.
    ///
    /// # Errors
    /// [`SocketError`]: the kernel's refusal of the binding; [`SocketError::Stack`] if nobody
    /// listens there, or nobody answers in time.
    pub fn connect(
        stack: &Stack,
        grant: Grant,
        port: u16,
        remote: SocketAddr,
        deadline_ns: u64,
    ) -> Result<TcpStream, SocketError> {
        let net = stack.net();
        let filter = filter::connection("tcp", net.addresses(), port, remote)?;
        let memory = stack.inner().device.memory(net.own(), CONNECT_PAGES)?;
        let rings = memory.bind(grant, &filter, None)?;
        let stream = {
            let mut inner = stack.inner();
            let options = StreamOptions::default();
            let socket = inner.connections.socket(options);
            let handle = inner.sockets.add(socket);
            inner.has_timers();
            let tuple =
                Tuple { protocol: TCP, local: port, remote: Some((remote.ip(), remote.port())) };
            let port = inner.attach(rings, tuple);
            TcpStream { stack: stack.clone(), handle, options, port, patience: NEVER }
        };
        {
            let mut inner = stack.inner();
            let Inner { interface, sockets, .. } = &mut *inner;
            let socket = sockets.get_mut::<Socket<'_>>(stream.handle);
            let local = IpListenEndpoint { addr: None, port };
            socket
                .connect(interface.context(), remote, local)
                .map_err(|_| refused("the address"))?;
        }
        let handle = stream.handle;
        let mut unreachable = None;
        let state = stack.until(deadline_ns, |inner| {
            // Before the connection stands such a message is believed, afterwards not (RFC 5927).
            unreachable =
                inner.take_error(TCP, port, Some(remote)).filter(NetError::is_unreachable);
            let state = inner.sockets.get::<Socket<'_>>(handle).state();
            let over = state != State::SynSent && state != State::SynReceived;
            (over || unreachable.is_some()).then_some(state)
        });
        if let Some(error) = unreachable {
            return Err(SocketError::Unreachable { error });
        }
        match state {
            Some(State::Closed) => Err(refused("the connection: nobody listens there")),
            Some(_) => Ok(stream),
            None => Err(refused("the connection: nobody answers")),
        }
    }

    /// Our address and port; `None` once the connection is gone.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.with(|socket| socket.local_endpoint()).map(Into::into)
    }

    /// The other side's address and port; `None` once the connection is gone.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.with(|socket| socket.remote_endpoint()).map(Into::into)
    }

    /// Lets blocking calls take so many nanoseconds ([`NEVER`]: as long as it takes).
    pub fn set_timeout(&mut self, patience_ns: u64) {
        self.patience = patience_ns;
    }

    /// Sends small segments at once, or lets them wait for acknowledgements.
    pub fn set_nodelay(&self, at_once: bool) {
        self.with(|socket| socket.set_nagle_enabled(!at_once));
    }

    /// Bytes that were written and are not acknowledged.
    pub fn unsent(&self) -> usize {
        self.with(|socket| socket.send_queue())
    }

    /// Bytes that a write would take now.
    pub fn send_room(&self) -> usize {
        self.with(
            |socket| {
                if socket.may_send() { socket.send_capacity() - socket.send_queue() } else { 0 }
            },
        )
    }

    /// Reads what is there; zero at the end of what the other side sends.
    ///
    /// # Errors
    /// [`TcpError::Reset`], [`TcpError::TimedOut`].
    pub fn read(&self, into: &mut [u8]) -> Result<usize, TcpError> {
        let handle = self.handle;
        self.blocking(|inner| try_read(inner.sockets.get_mut(handle), into))
    }

    /// Reads so much or fails.
    ///
    /// # Errors
    /// As [`TcpStream::read`]; [`TcpError::Reset`] if the other side ends before.
    pub fn read_exact(&self, into: &mut [u8]) -> Result<(), TcpError> {
        let mut rest = into;
        while !rest.is_empty() {
            match self.read(rest)? {
                0 => return Err(TcpError::Reset),
                count => rest = rest.get_mut(count..).unwrap_or_default(),
            }
        }
        Ok(())
    }

    /// Writes as much as there is room for, one byte at least, and says how much.
    ///
    /// # Errors
    /// [`TcpError`].
    pub fn write(&self, from: &[u8]) -> Result<usize, TcpError> {
        let handle = self.handle;
        self.blocking(|inner| try_write(inner.sockets.get_mut(handle), from))
    }

    /// Writes everything.
    ///
    /// # Errors
    /// [`TcpError`].
    pub fn write_all(&self, from: &[u8]) -> Result<(), TcpError> {
        let mut rest = from;
        while !rest.is_empty() {
            rest = rest.get(self.write(rest)?..).unwrap_or_default();
        }
        Ok(())
    }

    /// Waits until the other side has acknowledged everything.
    ///
    /// # Errors
    /// [`TcpError`].
    pub fn flush(&self) -> Result<(), TcpError> {
        let handle = self.handle;
        self.blocking(|inner| acknowledged(inner.sockets.get_mut(handle)))
    }

    /// Closes one half, or both; what was written still goes out.
    pub fn shutdown(&self, _how: Shutdown) {
        // Nobody can take back what is on its way: closing the reading half is not reading.
        let mut inner = self.stack.inner();
        inner.sockets.get_mut::<Socket<'_>>(self.handle).close();
        inner.touched();
        inner.egress();
    }

    /// Ends the connection with a reset.
    pub fn abort(self) {
        let mut inner = self.stack.inner();
        inner.sockets.get_mut::<Socket<'_>>(self.handle).abort();
        inner.touched();
        inner.egress();
    }

    /// Writes what there is room for at once; `None` if there is no room.
    ///
    /// # Errors
    /// As [`TcpStream::write`].
    pub fn try_write(&self, from: &[u8]) -> Option<Result<usize, TcpError>> {
        self.with(|socket| try_write(socket, from))
    }

    /// Reads what is there; `None` if nothing is.
    ///
    /// # Errors
    /// As [`TcpStream::read`].
    pub fn try_read(&self, into: &mut [u8]) -> Option<Result<usize, TcpError>> {
        self.with(|socket| try_read(socket, into))
    }

    /// What is there, or a wake-up.
    ///
    /// # Errors
    /// As [`TcpStream::read`].
    pub fn poll_read(
        &self,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<Result<usize, TcpError>> {
        self.with(|socket| match try_read(socket, into) {
            Some(result) => Poll::Ready(result),
            None => {
                socket.register_recv_waker(context.waker());
                Poll::Pending
            }
        })
    }

    /// Room for some of it, or a wake-up.
    ///
    /// # Errors
    /// As [`TcpStream::write`].
    pub fn poll_write(
        &self,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<Result<usize, TcpError>> {
        self.with(|socket| match try_write(socket, from) {
            Some(result) => Poll::Ready(result),
            None => {
                socket.register_send_waker(context.waker());
                Poll::Pending
            }
        })
    }

    /// [`TcpStream::read`] in a task.
    ///
    /// # Errors
    /// [`TcpError::Reset`].
    pub async fn read_async(&self, into: &mut [u8]) -> Result<usize, TcpError> {
        poll_fn(|context| self.poll_read(context, into)).await
    }

    /// [`TcpStream::write`] in a task.
    ///
    /// # Errors
    /// [`TcpError`].
    pub async fn write_async(&self, from: &[u8]) -> Result<usize, TcpError> {
        poll_fn(|context| self.poll_write(context, from)).await
    }

    /// [`TcpStream::write_all`] in a task.
    ///
    /// # Errors
    /// [`TcpError`].
    pub async fn write_all_async(&self, from: &[u8]) -> Result<(), TcpError> {
        let mut rest = from;
        while !rest.is_empty() {
            rest = rest.get(self.write_async(rest).await?..).unwrap_or_default();
        }
        Ok(())
    }

    /// [`TcpStream::flush`] in a task.
    ///
    /// # Errors
    /// [`TcpError`].
    pub async fn flush_async(&self) -> Result<(), TcpError> {
        poll_fn(|context| {
            self.with(|socket| match acknowledged(socket) {
                Some(result) => Poll::Ready(result),
                None => {
                    socket.register_send_waker(context.waker());
                    Poll::Pending
                }
            })
        })
        .await
    }

    fn with<T>(&self, f: impl FnOnce(&mut Socket<'static>) -> T) -> T {
        let mut inner = self.stack.inner();
        // What was written or read may be something to send: bytes, or a window.
        inner.touched();
        f(inner.sockets.get_mut(self.handle))
    }

    fn blocking<T>(
        &self,
        look: impl FnMut(&mut Inner) -> Option<Result<T, TcpError>>,
    ) -> Result<T, TcpError> {
        let deadline = match self.patience {
            NEVER => NEVER,
            patience => now_ns().saturating_add(patience),
        };
        self.stack.until(deadline, look).unwrap_or(Err(TcpError::TimedOut))
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        let mut inner = self.stack.inner();
        inner.sockets.get_mut::<Socket<'_>>(self.handle).close();
        inner.connections.leave(self.handle, self.options, self.port);
        inner.touched();
        inner.egress();
    }
}

/// Bytes that are there; `None` if none are yet.
fn try_read(socket: &mut Socket<'_>, into: &mut [u8]) -> Option<Result<usize, TcpError>> {
    if into.is_empty() {
        return Some(Ok(0));
    }
    match socket.recv_slice(into) {
        Ok(0) => None,
        Ok(count) => Some(Ok(count)),
        Err(RecvError::Finished) => Some(Ok(0)),
        Err(RecvError::InvalidState) => Some(Err(TcpError::Reset)),
    }
}

/// Room for some of it; `None` if there is none yet.
fn try_write(socket: &mut Socket<'_>, from: &[u8]) -> Option<Result<usize, TcpError>> {
    if from.is_empty() {
        return Some(Ok(0));
    }
    match socket.send_slice(from) {
        Ok(0) => None,
        Ok(count) => Some(Ok(count)),
        Err(_) if socket.state() == State::Closed => Some(Err(TcpError::Reset)),
        Err(_) => Some(Err(TcpError::Closed)),
    }
}

fn acknowledged(socket: &mut Socket<'_>) -> Option<Result<(), TcpError>> {
    match (socket.send_queue(), socket.state()) {
        (0, _) => Some(Ok(())),
        (_, State::Closed) => Some(Err(TcpError::Reset)),
        _ => None,
    }
}
