//! ICMP sockets: echo requests out, echo replies in, in the shape of a UDP socket.
//!
//! A socket has an identifier as a UDP socket has a port: the filter is `icmp`, to us, an echo
//! reply, with that identifier, and nothing else comes here. Requests to us, and errors, stay
//! `netd`'s. IPv4 only: of ICMPv6 a grant would hold whole messages, neighbour discovery included.

use alloc::vec;
use core::net::{IpAddr, Ipv4Addr};

use libos::{Binding, Grant, Rings, clock};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::icmp::{Endpoint, PacketBuffer, PacketMetadata, SendError, Socket};
use smoltcp::wire::IpAddress;

use crate::device::MTU;
use crate::filter;
use crate::net::{Net, SocketError};
use crate::packet::{ICMP, Tuple};
use crate::stack::{Stack, forget, refused};

/// Messages that a socket holds in each direction, and the bytes that they may have together.
const MESSAGES: usize = 16;
const MESSAGE_BYTES: usize = 24 * 1024;
/// Bytes of a header with identifier and sequence number.
const HEADER_BYTES: usize = 8;
const IP_BYTES: usize = 20;
const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;

/// A reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Bytes of its data that were copied.
    pub length: usize,
    /// Its sequence number: the request's.
    pub sequence: u16,
    /// Who sent it.
    pub from: Ipv4Addr,
}

/// A socket for echoes.
pub struct IcmpSocket {
    stack: Stack,
    handle: SocketHandle,
    identifier: u16,
    port: crate::device::PortId,
    binding: Binding,
}

impl IcmpSocket {
    /// Claims the replies with that identifier under the grant, on a stack of its own.
    ///
    /// # Errors
    /// [`SocketError`]; the kernel's refusal comes with its record.
    pub fn bind(net: &Net, grant: Grant, identifier: u16) -> Result<IcmpSocket, SocketError> {
        IcmpSocket::open(&Stack::new(net), grant, identifier)
    }

    /// Claims the replies with that identifier under the grant, on a stack.
    ///
    /// # Errors
    /// As [`IcmpSocket::bind`].
    pub fn open(stack: &Stack, grant: Grant, identifier: u16) -> Result<IcmpSocket, SocketError> {
        let net = stack.net();
        let [a, b, c, d] = net.addresses().ipv4;
        let ours = alloc::format!("icmp and dst host {a}.{b}.{c}.{d}");
        let which = alloc::format!("icmp[0] = {ECHO_REPLY} and icmp[4:2] = {identifier}");
        let filter = filter::from_expression(&alloc::format!("{ours} and {which}"))?;
        let rings = Rings::bind(net.own(), grant, &filter, None)?;
        let buffer =
            || PacketBuffer::new(vec![PacketMetadata::EMPTY; MESSAGES], vec![0; MESSAGE_BYTES]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_hop_limit(Some(64));
        socket.bind(Endpoint::Ident(identifier)).map_err(|_| refused("the identifier"))?;
        let mut inner = stack.inner();
        let handle = inner.sockets.add(socket);
        let binding = rings.binding();
        let port = inner.attach(rings, Tuple { protocol: ICMP, local: 0, remote: None });
        drop(inner);
        Ok(IcmpSocket { stack: stack.clone(), handle, identifier, port, binding })
    }

    /// Its binding.
    pub fn binding(&self) -> Binding {
        self.binding
    }

    /// Sends a request with that sequence number.
    ///
    /// # Errors
    /// [`SocketError::Stack`] if it does not fit or its address is none; [`SocketError::Full`].
    pub fn send_to(&mut self, sequence: u16, data: &[u8], to: Ipv4Addr) -> Result<(), SocketError> {
        let length = HEADER_BYTES + data.len();
        if IP_BYTES + length > MTU {
            return Err(refused("the message"));
        }
        let mut inner = self.stack.inner();
        let socket = inner.sockets.get_mut::<Socket<'_>>(self.handle);
        let place = socket.send(length, IpAddr::from(to).into()).map_err(|why| match why {
            SendError::BufferFull => SocketError::Full,
            SendError::Unaddressable => refused("the message"),
        })?;
        let (header, rest) = place.split_at_mut(HEADER_BYTES);
        // The stack computes the checksum when it sends it.
        header[..4].copy_from_slice(&[ECHO_REQUEST, 0, 0, 0]);
        header[4..6].copy_from_slice(&self.identifier.to_be_bytes());
        header[6..].copy_from_slice(&sequence.to_be_bytes());
        rest.copy_from_slice(data);
        inner.touched();
        inner.egress();
        Ok(())
    }

    /// The next reply, if one is there; data that does not fit is cut off.
    pub fn try_recv_from(&mut self, buffer: &mut [u8]) -> Option<Echo> {
        let mut inner = self.stack.inner();
        inner.poll();
        let socket = inner.sockets.get_mut::<Socket<'_>>(self.handle);
        while let Ok((message, IpAddress::Ipv4(from))) = socket.recv() {
            let Some((header, data)) = message.split_first_chunk::<HEADER_BYTES>() else {
                continue;
            };
            if header[..2] != [ECHO_REPLY, 0] {
                continue;
            }
            let length = data.len().min(buffer.len());
            buffer[..length].copy_from_slice(&data[..length]);
            let sequence = u16::from_be_bytes([header[6], header[7]]);
            return Some(Echo { length, sequence, from });
        }
        None
    }

    /// The next reply; `None` when the monotonic time `deadline_ns` passes first.
    pub fn recv_from(&mut self, buffer: &mut [u8], deadline_ns: u64) -> Option<Echo> {
        loop {
            if let Some(echo) = self.try_recv_from(buffer) {
                return Some(echo);
            }
            let next = self.stack.deadline();
            let woken = clock::wait(next.min(deadline_ns));
            let pending = self.stack.inner().device.pending();
            if woken.deadline() && deadline_ns <= next && !pending {
                return None;
            }
        }
    }

    /// Sends a request and waits for the reply that is it: nanoseconds that took, `None` if it does
    /// not come until then.
    ///
    /// # Errors
    /// As [`IcmpSocket::send_to`].
    pub fn ping(
        &mut self,
        to: Ipv4Addr,
        sequence: u16,
        data: &[u8],
        deadline_ns: u64,
    ) -> Result<Option<u64>, SocketError> {
        let begin = clock::now_ns();
        self.send_to(sequence, data, to)?;
        let mut buffer = vec![0; data.len()];
        while let Some(echo) = self.recv_from(&mut buffer, deadline_ns) {
            let same = buffer.get(..echo.length) == Some(data);
            if (echo.from, echo.sequence, same) == (to, sequence, true) {
                return Ok(Some(clock::now_ns().saturating_sub(begin)));
            }
        }
        Ok(None)
    }
}

impl Drop for IcmpSocket {
    fn drop(&mut self) {
        forget(&mut self.stack.inner(), self.handle, Some(self.port));
    }
}
