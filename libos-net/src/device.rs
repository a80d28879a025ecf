//! smoltcp's view of a binding: IP packets in and out, Ethernet headers taken off and put on.
//!
//! The transmit slot is taken when a token is consumed, not when it is handed out: smoltcp drops
//! most transmit tokens unused. What cannot be sent is counted, never waited for.

use alloc::boxed::Box;

use abi::limits::FRAME_BYTES_MAX;
use libos::Rings;
use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::time::Instant;

use crate::ethernet::{HEADER_BYTES, Header, IPV4};
use crate::neighbours::Neighbours;

/// Bytes of an IP packet at most.
const MTU: usize = 1500;

const _: () = assert!(HEADER_BYTES + MTU <= FRAME_BYTES_MAX);

/// What became of packets, besides being passed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Received frames that are no plain IPv4.
    pub not_ipv4: u64,
    /// Packets to somebody whose Ethernet address nobody has said.
    pub unresolved: u64,
    /// Packets that the transmit ring or the kernel did not take.
    pub not_sent: u64,
}

/// A binding as a smoltcp device.
#[derive(Debug)]
pub struct Device {
    rings: Rings,
    neighbours: Neighbours,
    received: Box<[u8; FRAME_BYTES_MAX]>,
    sending: Box<[u8; FRAME_BYTES_MAX]>,
    counters: Counters,
}

impl Device {
    /// Over the rings of a binding.
    pub fn new(rings: Rings, neighbours: Neighbours) -> Device {
        let buffer = || Box::new([0; FRAME_BYTES_MAX]);
        let counters = Counters::default();
        Device { rings, neighbours, received: buffer(), sending: buffer(), counters }
    }

    /// The rings.
    pub fn rings(&self) -> &Rings {
        &self.rings
    }

    /// What became of packets.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Addresses, and where others are.
    pub fn neighbours_mut(&mut self) -> &mut Neighbours {
        &mut self.neighbours
    }

    /// The length of the next frame with an IPv4 packet, copied to `received`. Ends when the ring
    /// is empty.
    fn next_packet(&mut self) -> Option<usize> {
        while let Some(length) = self.rings.receive(&mut self.received[..]) {
            let Some((header, packet)) = Header::split(&self.received[..length]) else { continue };
            if header.ethertype != IPV4 {
                self.counters.not_ipv4 += 1;
                continue;
            }
            if let Some(source) = field(packet, SOURCE_AT) {
                self.neighbours.glean(source, header.source);
            }
            return Some(length);
        }
        None
    }
}

/// Offset of the source address in an IPv4 header (RFC 791, 3.1).
const SOURCE_AT: usize = 12;
/// Offset of the destination address.
const DESTINATION_AT: usize = 16;

fn field(packet: &[u8], at: usize) -> Option<[u8; 4]> {
    packet.get(at..)?.first_chunk::<4>().copied()
}

impl phy::Device for Device {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Sending<'_>)> {
        self.neighbours.refresh();
        let length = self.next_packet()?;
        let Device { rings, neighbours, received, sending, counters } = self;
        let packet = &received[HEADER_BYTES..length];
        Some((Received { packet }, Sending { rings, neighbours, buffer: sending, counters }))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        let Device { rings, neighbours, sending, counters, .. } = self;
        rings.can_send().then_some(Sending { rings, neighbours, buffer: sending, counters })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        capabilities
    }
}

/// One received IP packet.
#[derive(Debug)]
pub struct Received<'a> {
    packet: &'a [u8],
}

impl phy::RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.packet)
    }
}

/// Leave to send one IP packet.
#[derive(Debug)]
pub struct Sending<'a> {
    rings: &'a mut Rings,
    neighbours: &'a Neighbours,
    buffer: &'a mut [u8; FRAME_BYTES_MAX],
    counters: &'a mut Counters,
}

impl phy::TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        // smoltcp keeps to the capabilities: no packet is longer than the MTU.
        let end = HEADER_BYTES + length.min(MTU);
        let result = f(&mut self.buffer[HEADER_BYTES..end]);
        let destination = field(&self.buffer[HEADER_BYTES..end], DESTINATION_AT);
        let Some(mac) = destination.and_then(|ip| self.neighbours.resolve(ip)) else {
            self.counters.unresolved += 1;
            return result;
        };
        let source = self.neighbours.addresses().mac;
        let header = Header { destination: mac, source, ethertype: IPV4 };
        self.buffer[..HEADER_BYTES].copy_from_slice(&header.bytes());
        if self.rings.send(&self.buffer[..end]).is_err() {
            self.counters.not_sent += 1;
        }
        result
    }
}
