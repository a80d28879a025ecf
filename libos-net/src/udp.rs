//! UDP sockets: a filter for exactly one port, and smoltcp behind it.
//!
//! Each socket has a binding, rings and an interface of its own: nothing is shared between the
//! sockets of a program, so that one that is flooded costs the others nothing.

use alloc::vec;

use libos::{Grant, Rings, clock};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::udp;
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr, IpEndpoint, Ipv4Address};

use crate::device::{Counters, Device};
use crate::filter;
use crate::net::{Net, SocketError};

/// Datagrams that a socket holds in each direction.
const DATAGRAMS: usize = 16;
/// Bytes that they may have together.
const DATAGRAM_BYTES: usize = 32 * 1024;
/// Hops of what is sent.
const HOPS: u8 = 64;

/// Address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// IPv4 address.
    pub address: [u8; 4],
    /// UDP port.
    pub port: u16,
}

/// A bound UDP socket.
pub struct UdpSocket {
    device: Device,
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
}

impl UdpSocket {
    /// Claims `udp and dst host OURS and dst port PORT` under the grant and opens the socket.
    ///
    /// # Errors
    /// [`SocketError`]; the kernel's refusal comes with its record.
    pub fn bind(net: &Net, grant: Grant, port: u16) -> Result<UdpSocket, SocketError> {
        let expression = filter::udp_expression(net.addresses().ipv4, port);
        let filter = filter::from_expression(&expression)?;
        let rings = Rings::bind(net.own(), grant, &filter, None)?;
        Self::over(Device::new(rings, net.neighbours()), net, port)
    }

    /// Opens the socket over a device.
    ///
    /// # Errors
    /// [`SocketError::Stack`] for port zero or an address that is none.
    pub fn over(mut device: Device, net: &Net, port: u16) -> Result<UdpSocket, SocketError> {
        let stack = |doing| SocketError::Stack { doing };
        let config = Config::new(HardwareAddress::Ip);
        let mut interface = Interface::new(config, &mut device, now());
        let addresses = net.addresses();
        let prefix = addresses.prefix.min(32) as u8;
        let mut full = false;
        interface.update_ip_addrs(|list| {
            let cidr = IpCidr::new(IpAddress::Ipv4(Ipv4Address::from(addresses.ipv4)), prefix);
            full = list.push(cidr).is_err();
        });
        if addresses.gateway != [0; 4] {
            let gateway = Ipv4Address::from(addresses.gateway);
            full |= interface.routes_mut().add_default_ipv4_route(gateway).is_err();
        }
        if full {
            return Err(stack("the address"));
        }
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.set_hop_limit(Some(HOPS));
        socket.bind(port).map_err(|_| stack("the port"))?;
        let mut sockets = SocketSet::new(vec![]);
        let handle = sockets.add(socket);
        Ok(UdpSocket { device, interface, sockets, handle })
    }

    /// Lets the stack work on what is in the rings.
    pub fn poll(&mut self) {
        self.interface.poll(now(), &mut self.device, &mut self.sockets);
    }

    /// The next datagram, if one is there: its length and sender. What does not fit is cut off.
    pub fn try_recv_from(&mut self, buffer: &mut [u8]) -> Option<(usize, Endpoint)> {
        self.poll();
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.handle);
        let (data, meta) = socket.recv().ok()?;
        let length = data.len().min(buffer.len());
        buffer[..length].copy_from_slice(&data[..length]);
        // With IPv4 as the only protocol there is no other kind of address.
        let IpAddress::Ipv4(address) = meta.endpoint.addr;
        Some((length, Endpoint { address: address.octets(), port: meta.endpoint.port }))
    }

    /// The next datagram; `None` when the monotonic time `deadline_ns` passes first.
    pub fn recv_from(&mut self, buffer: &mut [u8], deadline_ns: u64) -> Option<(usize, Endpoint)> {
        loop {
            if let Some(received) = self.try_recv_from(buffer) {
                return Some(received);
            }
            if clock::wait(deadline_ns).deadline() && !self.device.rings().pending() {
                return None;
            }
        }
    }

    /// Sends a datagram.
    ///
    /// # Errors
    /// [`SocketError::Stack`] if it does not fit or its address is none.
    pub fn send_to(&mut self, data: &[u8], to: Endpoint) -> Result<(), SocketError> {
        let endpoint = IpEndpoint::new(IpAddress::Ipv4(Ipv4Address::from(to.address)), to.port);
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.handle);
        socket
            .send_slice(data, endpoint)
            .map_err(|_| SocketError::Stack { doing: "the datagram" })?;
        self.poll();
        Ok(())
    }

    /// What became of packets besides being passed on.
    pub fn counters(&self) -> Counters {
        self.device.counters()
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }
}

fn buffer() -> udp::PacketBuffer<'static> {
    udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; DATAGRAMS], vec![0; DATAGRAM_BYTES])
}

fn now() -> Instant {
    Instant::from_micros((clock::now_ns() / 1000).cast_signed())
}
