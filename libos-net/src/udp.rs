//! UDP sockets: a filter for exactly one port, and smoltcp behind it.
//!
//! A socket that is opened with [`UdpSocket::bind`] has a binding, rings and a stack of its own:
//! one that is flooded costs the others nothing. [`UdpSocket::open`] puts one on a stack that
//! others use, too, which is what a program with an executor does.
//!
//! A plain IPv4 datagram takes the short way between rings and program ([`crate::datagram`]), when
//! nothing else waits on the stack; everything else takes smoltcp's. Neither overtakes the other.

use alloc::vec;
use core::future::poll_fn;
use core::net::SocketAddr;
use core::task::{Context, Poll};

use libos::errors::NetError;
use libos::{Binding, Grant, Rings, clock};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::udp::{PacketBuffer, PacketMetadata, SendError, Socket};

use crate::device::{Counters, Device, MTU, PortId};
use crate::filter::{self, Local};
use crate::net::{Net, SocketError};
use crate::packet::{Tuple, UDP};
use crate::stack::{Stack, forget, refused};

/// Datagrams that a socket holds in each direction.
const DATAGRAMS: usize = 32;
/// Bytes that they may have together.
const DATAGRAM_BYTES: usize = 48 * 1024;
/// Hops of what is sent.
const HOPS: u8 = 64;

/// A bound UDP socket.
pub struct UdpSocket {
    stack: Stack,
    handle: SocketHandle,
    local: u16,
    port: Option<PortId>,
    binding: Option<Binding>,
}

impl UdpSocket {
    /// Claims the port (`udp and dst host OURS and dst port PORT`) under the grant and opens the
    /// socket on a stack of its own.
    ///
    /// # Errors
    /// [`SocketError`]; the kernel's refusal comes with its record.
    pub fn bind(
        net: &Net,
        grant: Grant,
        local: impl Into<Local>,
    ) -> Result<UdpSocket, SocketError> {
        let local = local.into();
        let filter = filter::service("udp", net.addresses(), local)?;
        let rings = Rings::bind(net.own(), grant, &filter, None)?;
        Self::over(Device::new(rings, net.neighbours()), net, local.port)
    }

    /// Claims the port under the grant and opens the socket on a stack.
    ///
    /// # Errors
    /// As [`UdpSocket::bind`].
    pub fn open(
        stack: &Stack,
        grant: Grant,
        local: impl Into<Local>,
    ) -> Result<UdpSocket, SocketError> {
        let local = local.into();
        let net = stack.net();
        let filter = filter::service("udp", net.addresses(), local)?;
        let rings = Rings::bind(net.own(), grant, &filter, None)?;
        Self::with_rings(stack, rings, local.port)
    }

    /// Opens the socket on a stack, over a binding that was made otherwise: with an ASH, for one.
    ///
    /// # Errors
    /// [`SocketError::Stack`] for port zero.
    pub fn with_rings(stack: &Stack, rings: Rings, port: u16) -> Result<UdpSocket, SocketError> {
        let binding = Some(rings.binding());
        let mut socket = Self::socket(stack, port)?;
        let tuple = Tuple { protocol: UDP, local: port, remote: None };
        socket.port = Some(stack.inner().attach(rings, tuple));
        socket.binding = binding;
        Ok(socket)
    }

    /// Opens the socket over a device of its own.
    ///
    /// # Errors
    /// [`SocketError::Stack`] for port zero.
    pub fn over(device: Device, net: &Net, port: u16) -> Result<UdpSocket, SocketError> {
        let binding = device.rings().map(Rings::binding);
        let mut socket = Self::socket(&Stack::over(net, device), port)?;
        socket.binding = binding;
        Ok(socket)
    }

    fn socket(stack: &Stack, port: u16) -> Result<UdpSocket, SocketError> {
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_hop_limit(Some(HOPS));
        socket.bind(port).map_err(|_| refused("the port"))?;
        let handle = stack.inner().sockets.add(socket);
        Ok(UdpSocket { stack: stack.clone(), handle, local: port, port: None, binding: None })
    }

    /// The stack that it is on.
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// Its binding.
    pub fn binding(&self) -> Option<Binding> {
        self.binding
    }

    /// Lets the stack work on what is in the rings.
    pub fn poll(&mut self) {
        self.stack.poll();
    }

    /// The next datagram, if one is there: its length and sender. What does not fit is cut off.
    pub fn try_recv_from(&mut self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        let mut inner = self.stack.inner();
        if inner.is_idle() && !inner.sockets.get::<Socket<'_>>(self.handle).can_recv() {
            if let Some((from, data)) = inner.device.datagram(self.local) {
                return Some((copy(data, buffer), from.into()));
            }
            if !inner.device.pending() {
                return None;
            }
        }
        inner.poll();
        take(inner.sockets.get_mut(self.handle), buffer)
    }

    /// The next datagram; `None` when the monotonic time `deadline_ns` passes first.
    pub fn recv_from(
        &mut self,
        buffer: &mut [u8],
        deadline_ns: u64,
    ) -> Option<(usize, SocketAddr)> {
        loop {
            if let Some(received) = self.try_recv_from(buffer) {
                return Some(received);
            }
            let next = self.stack.deadline();
            let woken = clock::wait(next.min(deadline_ns));
            if woken.deadline() && deadline_ns <= next && !self.stack.inner().device.pending() {
                return None;
            }
        }
    }

    /// The next datagram, or a wake-up.
    pub fn poll_recv_from(
        &self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<(usize, SocketAddr)> {
        let mut inner = self.stack.inner();
        let socket = inner.sockets.get_mut::<Socket<'_>>(self.handle);
        match take(socket, buffer) {
            Some(received) => Poll::Ready(received),
            None => {
                socket.register_recv_waker(context.waker());
                Poll::Pending
            }
        }
    }

    /// The next datagram, in a task.
    pub async fn recv_from_async(&self, buffer: &mut [u8]) -> (usize, SocketAddr) {
        poll_fn(|context| self.poll_recv_from(context, buffer)).await
    }

    /// Sends a datagram. [`SocketError::Full`] says that the card is behind: nothing was sent, and
    /// a later try may be.
    ///
    /// # Errors
    /// [`SocketError::Stack`] if it does not fit or its address is none; [`SocketError::Full`].
    pub fn send_to(&mut self, data: &[u8], to: SocketAddr) -> Result<(), SocketError> {
        let mut inner = self.stack.inner();
        if let SocketAddr::V4(to) = to
            && inner.is_idle()
            && inner.device.send(self.local, to, HOPS, data)
        {
            return Ok(());
        }
        put(inner.sockets.get_mut(self.handle), data, to)?;
        inner.touched();
        inner.egress();
        Ok(())
    }

    /// Sends a datagram, in a task, as soon as there is room.
    ///
    /// # Errors
    /// [`SocketError::Stack`] if it does not fit or its address is none.
    pub async fn send_to_async(&self, data: &[u8], to: SocketAddr) -> Result<(), SocketError> {
        poll_fn(|context| {
            let mut inner = self.stack.inner();
            let socket = inner.sockets.get_mut::<Socket<'_>>(self.handle);
            match put(socket, data, to) {
                Err(SocketError::Full) => {
                    socket.register_send_waker(context.waker());
                    Poll::Pending
                }
                done => {
                    inner.touched();
                    Poll::Ready(done)
                }
            }
        })
        .await
    }

    /// The oldest ICMP error about a datagram of ours that was not asked for yet, as `netd`
    /// forwards it.
    pub fn take_error(&mut self) -> Option<NetError> {
        self.stack.inner().take_error(UDP, self.local, None)
    }

    /// What became of packets besides being passed on.
    pub fn counters(&self) -> Counters {
        self.stack.counters()
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        // A stack of its own takes its binding with it when the program ends.
        forget(&mut self.stack.inner(), self.handle, self.port);
    }
}

fn take(socket: &mut Socket<'_>, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
    let (data, meta) = socket.recv().ok()?;
    Some((copy(data, buffer), meta.endpoint.into()))
}

fn copy(data: &[u8], buffer: &mut [u8]) -> usize {
    let length = data.len().min(buffer.len());
    buffer[..length].copy_from_slice(&data[..length]);
    length
}

fn put(socket: &mut Socket<'_>, data: &[u8], to: SocketAddr) -> Result<(), SocketError> {
    let headers = if to.is_ipv4() { 20 + 8 } else { 40 + 8 };
    if data.len() + headers > MTU {
        // Fragments would be refused by the guard: a port's grant holds no later ones.
        return Err(refused("the datagram"));
    }
    socket.send_slice(data, to).map_err(|why| match why {
        SendError::BufferFull => SocketError::Full,
        _ => refused("the datagram"),
    })
}

fn buffer() -> PacketBuffer<'static> {
    PacketBuffer::new(vec![PacketMetadata::EMPTY; DATAGRAMS], vec![0; DATAGRAM_BYTES])
}
