//! smoltcp's view of bindings: IP packets in and out, Ethernet headers taken off and put on.
//!
//! A device has one binding or many: a listener's, and one for each connection that was carved out
//! of it. What is received is taken from each in turn; what is sent goes out through the binding
//! whose guard lets it, found by the packet's own ports. Frames are put into the rings one by one
//! and handed to the kernel once per round ([`Device::flush`]). A ring that is full holds smoltcp
//! back until the card has caught up: nothing is sent into the void, and what is lost is counted.
//!
//! Plain datagrams need no stack: [`Device::datagram`] and [`Device::send`] are the short way of
//! UDP sockets. A frame that is none stays with the device and is the next one that smoltcp gets.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddrV4};

use abi::limits::FRAME_BYTES_MAX;
use libos::rings::{RingMemory, SendError};
use libos::{Binding, Env, Rings, Status};
use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::time::Instant;

use crate::datagram::{self, Datagram, Way};
use crate::ethernet::{HEADER_BYTES, Header, IPV4, IPV6};
use crate::neighbours::Neighbours;
use crate::packet::{Tuple, destination, flow, source};

/// Bytes of an IP packet at most.
pub(crate) const MTU: usize = 1500;

const _: () = assert!(HEADER_BYTES + MTU <= FRAME_BYTES_MAX);

/// What became of packets, besides being passed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Received frames that are no plain IPv4 or IPv6.
    pub not_ip: u64,
    /// Packets to somebody whose Ethernet address nobody has said.
    pub unresolved: u64,
    /// Packets that the transmit ring or the kernel did not take.
    pub not_sent: u64,
    /// Times that a full transmit ring or a busy card held the stack back.
    pub held_back: u64,
}

/// The place of a binding in a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PortId(usize);

/// A binding, how many sockets use it, and whether it holds frames that the kernel has not taken.
#[derive(Debug)]
struct Port {
    rings: Rings,
    uses: usize,
    dirty: bool,
    tuple: Tuple,
}

/// Bindings as a smoltcp device.
#[derive(Debug)]
pub struct Device {
    ports: Ports,
    /// Of bindings that were taken back. Its addresses are not used twice, so it is kept.
    spare: Vec<RingMemory>,
    neighbours: Neighbours,
    received: Box<[u8; FRAME_BYTES_MAX]>,
    /// Length of a frame in `received` that is smoltcp's.
    left: Option<usize>,
    /// Who was gleaned last.
    peer: Option<Peer>,
    sending: Box<[u8; FRAME_BYTES_MAX]>,
    counters: Counters,
}

/// A station, and where it is as long as the page of addresses says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Peer {
    ip: Ipv4Addr,
    mac: [u8; 6],
    sequence: u32,
}

/// The bindings, and which of them sends what.
#[derive(Debug, Default)]
struct Ports {
    all: Vec<Option<Port>>,
    /// Where to look for the next packet.
    turn: usize,
    /// By what they serve, when there is more than one.
    by_tuple: BTreeMap<Tuple, usize>,
    /// Those whose transmit ring was full when it was last looked at.
    full: Vec<usize>,
}

impl Device {
    /// Over the rings of one binding, which sends whatever there is to send.
    pub fn new(rings: Rings, neighbours: Neighbours) -> Device {
        let mut device = Device::empty(neighbours);
        device.add(rings, Tuple::ANY);
        device
    }

    /// Without a binding yet.
    pub(crate) fn empty(neighbours: Neighbours) -> Device {
        let buffer = || Box::new([0; FRAME_BYTES_MAX]);
        Device {
            ports: Ports::default(),
            spare: Vec::new(),
            neighbours,
            received: buffer(),
            left: None,
            peer: None,
            sending: buffer(),
            counters: Counters::default(),
        }
    }

    /// Another binding, for the packets of `tuple`.
    pub(crate) fn add(&mut self, rings: Rings, tuple: Tuple) -> PortId {
        let port = Port { rings, uses: 1, dirty: false, tuple };
        let free = self.ports.all.iter().position(Option::is_none);
        let place = free.unwrap_or(self.ports.all.len());
        match self.ports.all.get_mut(place) {
            Some(slot) => *slot = Some(port),
            None => self.ports.all.push(Some(port)),
        }
        self.ports.by_tuple.insert(tuple, place);
        PortId(place)
    }

    /// One more socket uses that binding.
    pub(crate) fn hold(&mut self, id: PortId) {
        if let Some(port) = self.ports.all.get_mut(id.0).and_then(Option::as_mut) {
            port.uses += 1;
        }
    }

    /// One socket less does; after the last the binding is taken back.
    pub(crate) fn release(&mut self, id: PortId) {
        let Some(slot) = self.ports.all.get_mut(id.0) else { return };
        let Some(port) = slot.as_mut() else { return };
        port.uses = port.uses.saturating_sub(1);
        if port.uses > 0 {
            return;
        }
        if let Some(mut port) = slot.take() {
            flush(&mut port, &mut self.counters);
            self.ports.by_tuple.remove(&port.tuple);
            self.ports.full.retain(|&place| place != id.0);
            if let Ok(memory) = port.rings.unbind() {
                self.spare.push(memory);
            }
        }
    }

    /// Memory for rings of that many pages: some that was used before, or new.
    ///
    /// # Errors
    /// As [`RingMemory::new`].
    pub(crate) fn memory(
        &mut self,
        own: Env,
        (rx, tx): (usize, usize),
    ) -> Result<RingMemory, Status> {
        match self.spare.iter().position(|memory| memory.pages() == (rx, tx)) {
            Some(place) => Ok(self.spare.swap_remove(place)),
            None => RingMemory::new(own, rx, tx),
        }
    }

    /// Whether one of the bindings is that port's, or everybody's.
    pub(crate) fn serves(&self, protocol: u8, local: u16) -> bool {
        let is = |tuple: &Tuple| (tuple.protocol, tuple.local) == (protocol, local);
        self.ports.by_tuple.keys().any(|tuple| is(tuple) || *tuple == Tuple::ANY)
    }

    /// The binding there.
    pub(crate) fn binding(&self, id: PortId) -> Option<Binding> {
        Some(self.ports.all.get(id.0)?.as_ref()?.rings.binding())
    }

    /// The rings of the first binding, if there is one.
    pub fn rings(&self) -> Option<&Rings> {
        self.ports.all.iter().flatten().next().map(|port| &port.rings)
    }

    /// The rings of every binding.
    pub fn all_rings(&self) -> impl Iterator<Item = &Rings> {
        self.ports.all.iter().flatten().map(|port| &port.rings)
    }

    /// Whether a packet waits in one of the rings.
    pub fn pending(&self) -> bool {
        self.left.is_some() || self.all_rings().any(Rings::pending)
    }

    /// Whether frames wait in a transmit ring that the kernel did not take yet.
    pub(crate) fn is_behind(&self) -> bool {
        self.ports.all.iter().flatten().any(|port| port.dirty)
    }

    /// Frames that are in transmit rings and not out yet.
    pub fn in_flight(&self) -> u64 {
        self.all_rings().map(|rings| u64::from(rings.in_flight())).sum()
    }

    /// What became of packets.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Addresses, and where others are.
    pub fn neighbours_mut(&mut self) -> &mut Neighbours {
        &mut self.neighbours
    }

    /// Hands what was sent to the kernel. What the kernel does not take now goes with the next
    /// round.
    pub fn flush(&mut self) {
        for port in self.ports.all.iter_mut().flatten().filter(|port| port.dirty) {
            flush(port, &mut self.counters);
        }
    }

    /// Whether a full transmit ring holds the stack back: then only the card can help.
    pub(crate) fn is_held_back(&self) -> bool {
        !self.ports.full.is_empty()
    }

    /// Whether no transmit ring is full. One that was is flushed and looked at again.
    fn may_send(&mut self) -> bool {
        if self.ports.full.is_empty() {
            return true;
        }
        self.flush();
        // The kernel tells of completions to who asked with a full ring (`abi::ring::TX_QUIET`).
        let Device { ports: Ports { all, full, .. }, counters, .. } = self;
        for &place in full.iter() {
            if let Some(port) = all.get_mut(place).and_then(Option::as_mut) {
                flush(port, counters);
            }
        }
        let all = &self.ports.all;
        let full = |place: &usize| {
            let port = all.get(*place).and_then(Option::as_ref);
            port.is_some_and(|port| !port.rings.can_send())
        };
        self.ports.full.retain(full);
        let free = self.ports.full.is_empty();
        self.counters.held_back += u64::from(!free);
        free
    }

    /// The length of the next frame, copied to `received`; `None` when every ring is empty.
    fn next_frame(&mut self) -> Option<usize> {
        let count = self.ports.all.len();
        for _ in 0..count {
            let place = if self.ports.turn < count { self.ports.turn } else { 0 };
            let port = self.ports.all.get_mut(place).and_then(Option::as_mut);
            let length = port.and_then(|port| port.rings.receive(&mut self.received[..]));
            if length.is_some() {
                return length;
            }
            self.ports.turn = place + 1;
        }
        None
    }

    /// The length of the next frame with an IP packet, copied to `received`.
    fn next_packet(&mut self) -> Option<usize> {
        while let Some(length) = self.left.take().or_else(|| self.next_frame()) {
            let Some((header, packet)) = Header::split(&self.received[..length]) else { continue };
            if !matches!(header.ethertype, IPV4 | IPV6) {
                self.counters.not_ip += 1;
                continue;
            }
            if let Some(source) = source(packet) {
                self.peer = None;
                self.neighbours.glean(source, header.source);
            }
            return Some(length);
        }
        None
    }
}

/// The short way of datagrams.
impl Device {
    /// The sender and the data of the next frame, if that is a plain datagram to this port. If it
    /// is not, smoltcp gets it.
    pub(crate) fn datagram(&mut self, port: u16) -> Option<(SocketAddrV4, &[u8])> {
        if self.left.is_some() || self.is_held_back() {
            return None;
        }
        let length = self.next_frame()?;
        let ours = self.neighbours.addresses().ipv4;
        let found = datagram::read(self.received.get(..length)?, ours, port);
        match found.filter(|it| self.knows(*it.from.ip(), it.mac)) {
            Some(Datagram { from, data, .. }) => Some((from, self.received.get(data)?)),
            None => {
                self.left = Some(length);
                None
            }
        }
    }

    /// Sends a datagram and hands it to the kernel. `false` if it is for smoltcp to send or to
    /// refuse: nothing has happened then.
    pub(crate) fn send(&mut self, from: u16, to: SocketAddrV4, hops: u8, data: &[u8]) -> bool {
        let addresses = self.neighbours.addresses();
        let (ours, source_mac) = (Ipv4Addr::from(addresses.ipv4), addresses.mac);
        let fits = datagram::HEADERS + data.len() <= HEADER_BYTES + MTU;
        if !fits || to.port() == 0 || ours.is_unspecified() || self.is_held_back() {
            return false;
        }
        let Some(mac) = self.where_is(*to.ip()) else { return false };
        let way = Way { source_mac, mac, from: SocketAddrV4::new(ours, from), to };
        let Some(end) = datagram::write(&mut self.sending[..], &way, hops, data) else {
            return false;
        };
        let Device { ports, sending, counters, .. } = self;
        let Some(place) = ports.sender(&sending[HEADER_BYTES..end]) else { return false };
        let Some(port) = ports.all.get_mut(place).and_then(Option::as_mut) else { return false };
        if port.rings.push(&sending[..end]).is_err() {
            return false;
        }
        port.dirty = true;
        flush(port, counters);
        if !port.rings.can_send() {
            ports.full.push(place);
        }
        true
    }

    /// Whether a station of that address may send to us, as smoltcp sees it; where it is, is
    /// remembered.
    fn knows(&mut self, ip: Ipv4Addr, mac: [u8; 6]) -> bool {
        let peer = Peer { ip, mac, sequence: self.neighbours.sequence() };
        if self.peer == Some(peer) {
            return true;
        }
        if !self.is_station(ip) {
            return false;
        }
        self.neighbours.glean(ip.into(), mac);
        let found = self.neighbours.resolve(ip.into());
        self.peer = (found == Some(mac)).then_some(peer);
        true
    }

    /// Where a station is.
    fn where_is(&self, ip: Ipv4Addr) -> Option<[u8; 6]> {
        let sequence = self.neighbours.sequence();
        match self.peer {
            Some(peer) if (peer.ip, peer.sequence) == (ip, sequence) => Some(peer.mac),
            _ if self.is_station(ip) => self.neighbours.resolve(ip.into()),
            _ => None,
        }
    }

    /// Whether that is one station's address.
    fn is_station(&self, ip: Ipv4Addr) -> bool {
        let addresses = self.neighbours.addresses();
        let bits = addresses.prefix.min(32);
        let hosts = u32::MAX.checked_shr(bits).unwrap_or(0);
        let everybody = addresses.is_local(ip.octets()) && ip.to_bits() & hosts == hosts;
        !(everybody || ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast())
    }
}

fn flush(port: &mut Port, counters: &mut Counters) {
    match port.rings.flush_all() {
        Ok(()) => port.dirty = false,
        // The card is behind: again when it says that something is out.
        Err(SendError::Kernel { status: Status::Busy }) => counters.held_back += 1,
        Err(_) => {
            counters.not_sent += 1;
            port.dirty = false;
        }
    }
}

impl Ports {
    /// The binding whose guard lets a packet through.
    fn sender(&self, packet: &[u8]) -> Option<usize> {
        if let [Some(_)] = self.all.as_slice() {
            return Some(0);
        }
        let tuple = flow(packet)?;
        let found = |tuple: Tuple| self.by_tuple.get(&tuple).copied();
        found(tuple).or_else(|| found(tuple.service())).or_else(|| found(Tuple::ANY))
    }
}

impl phy::Device for Device {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Sending<'_>)> {
        // What is received may have to be answered: with no room for that it stays where it is.
        if !self.may_send() {
            return None;
        }
        let length = self.next_packet()?;
        let Device { ports, neighbours, received, sending, counters, .. } = self;
        let packet = &received[HEADER_BYTES..length];
        Some((Received { packet }, Sending { ports, neighbours, buffer: sending, counters }))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        if !self.may_send() {
            return None;
        }
        let Device { ports, neighbours, sending, counters, .. } = self;
        Some(Sending { ports, neighbours, buffer: sending, counters })
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

/// Leave to send one IP packet. The transmit slot is taken when it is consumed, not when it is
/// handed out: smoltcp drops most of them unused.
#[derive(Debug)]
pub struct Sending<'a> {
    ports: &'a mut Ports,
    neighbours: &'a Neighbours,
    buffer: &'a mut [u8; FRAME_BYTES_MAX],
    counters: &'a mut Counters,
}

impl phy::TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        // smoltcp keeps to the capabilities: no packet is longer than the MTU.
        let end = HEADER_BYTES + length.min(MTU);
        let result = f(&mut self.buffer[HEADER_BYTES..end]);
        let packet = &self.buffer[HEADER_BYTES..end];
        let Some(mac) = destination(packet).and_then(|ip| self.neighbours.resolve(ip)) else {
            self.counters.unresolved += 1;
            return result;
        };
        let sender = self.ports.sender(packet);
        let ethertype =
            if packet.first().is_some_and(|first| first >> 4 == 6) { IPV6 } else { IPV4 };
        let source = self.neighbours.addresses().mac;
        let header = Header { destination: mac, source, ethertype };
        self.buffer[..HEADER_BYTES].copy_from_slice(&header.bytes());
        let port = sender.and_then(|place| self.ports.all.get_mut(place)?.as_mut());
        let pushed = port.map(|port| {
            port.dirty = true;
            (port.rings.push(&self.buffer[..end]), port.rings.can_send())
        });
        match (pushed, sender) {
            (Some((Ok(()), true)), _) => {}
            (Some((Ok(()), false)), Some(place)) => self.ports.full.push(place),
            _ => self.counters.not_sent += 1,
        }
        result
    }
}
