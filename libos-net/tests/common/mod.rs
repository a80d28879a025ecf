//! A network for tests: our stack over a kernel's double, a client's stack of smoltcp beside it,
//! and a wire between them that loses, doubles, mixes up and corrupts.
//!
//! Time is scripted: it moves only when the program waits, at most a millisecond at a time, and
//! then the client has its turn.
#![allow(dead_code)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use abi::{Call, Handle, Status};
use libos::addresses::{AddressPage, Addresses, Six};
use libos::sys::host::{self, Guard, Peer};
use libos::sys::{Bind, Request};
use libos::{Env, Grant};
use sluice_libos_net::Net;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, FaultInjector, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};

pub(crate) const MAC: [u8; 6] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];
pub(crate) const IP: [u8; 4] = [10, 0, 2, 15];
pub(crate) const CLIENT_MAC: [u8; 6] = [0x52, 0x54, 0x00, 0x00, 0x00, 0x99];
pub(crate) const CLIENT_IP: [u8; 4] = [10, 0, 2, 99];
pub(crate) const GRANT: Grant = Grant(Handle(2));

/// What the wire does to packets, in both directions, in hundredths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) lost: u8,
    pub(crate) corrupted: u8,
    pub(crate) doubled: u8,
    pub(crate) late: u8,
}

type Queue = Rc<RefCell<VecDeque<Vec<u8>>>>;

/// The client's end of the wire: IP packets.
pub(crate) struct End {
    incoming: Queue,
    outgoing: Queue,
}

pub(crate) struct Packet(Vec<u8>);

impl RxToken for Packet {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

pub(crate) struct Out(Queue);

impl TxToken for Out {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut bytes = vec![0; length];
        let result = f(&mut bytes);
        self.0.borrow_mut().push_back(bytes);
        result
    }
}

impl Device for End {
    type RxToken<'a> = Packet;
    type TxToken<'a> = Out;

    fn receive(&mut self, _: Instant) -> Option<(Packet, Out)> {
        let packet = self.incoming.borrow_mut().pop_front()?;
        Some((Packet(packet), Out(self.outgoing.clone())))
    }

    fn transmit(&mut self, _: Instant) -> Option<Out> {
        Some(Out(self.outgoing.clone()))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1500;
        capabilities
    }
}

/// The client: a stack whose sockets a test's closure works on.
pub(crate) struct Client {
    device: FaultInjector<End>,
    pub(crate) interface: Interface,
    pub(crate) sockets: SocketSet<'static>,
}

impl Client {
    /// Begins a connection to that port of ours.
    pub(crate) fn connect(&mut self, from: u16, to: u16) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; 65_536]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_ack_delay(None);
        socket
            .connect(
                self.interface.context(),
                (IpAddress::from(std::net::IpAddr::from(IP)), to),
                from,
            )
            .unwrap();
        self.sockets.add(socket)
    }

    /// Waits for a connection on that port.
    pub(crate) fn listen(&mut self, port: u16) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; 65_536]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.listen(port).unwrap();
        self.sockets.add(socket)
    }

    pub(crate) fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }
}

/// What the client does at each turn.
pub(crate) type Behaviour = Box<dyn FnMut(&mut Client, u64)>;

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) pages: u64,
    bindings: u64,
    /// Rings of each binding, with its filter.
    pub(crate) rings: Vec<(u64, Vec<u8>, Peer)>,
    pub(crate) client: Client,
    behaviour: Behaviour,
    incoming: Queue,
    outgoing: Queue,
    faults: Faults,
    late: Vec<(u64, Vec<u8>)>,
    random: u64,
    /// Frames that we sent, and those that found no ring or no room.
    pub(crate) sent: u64,
    pub(crate) undelivered: u64,
    /// Waits, to see that nobody spins.
    pub(crate) waits: u64,
    /// While set the card takes nothing.
    pub(crate) stuck: bool,
    /// Frames that the test itself puts on the wire.
    pub(crate) raw: Vec<Vec<u8>>,
    pub(crate) unbound: Vec<u64>,
    pub(crate) refuse_carving: bool,
}

impl World {
    fn chance(&mut self, hundredths: u8) -> bool {
        self.random =
            self.random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.random >> 33) % 100 < u64::from(hundredths)
    }

    fn answer(&mut self, request: Request<'_>) -> (u64, u64) {
        match request {
            Request::Plain { call: Call::PageAlloc, .. } => {
                self.pages += 1;
                (0, 1000 + self.pages)
            }
            Request::Plain { call: Call::Clock, .. } => (0, self.now),
            Request::Plain { call: Call::Wait | Call::WaitUntil, args } => self.wait(args[0]),
            Request::Plain { call: Call::Transmit, args } => self.transmit(args[0]),
            Request::Plain { call: Call::Unbind, args } => {
                self.rings.retain(|(name, _, _)| *name != args[0]);
                self.unbound.push(args[0]);
                (0, 0)
            }
            Request::Bind(bind) => self.bind(&bind),
            Request::Part { call: Call::Carve, bind, .. } => {
                let listener = self.rings.iter().any(|(name, _, _)| *name == bind.grant.0);
                assert!(listener, "carved out of a binding");
                match self.refuse_carving {
                    true => (Status::Limit as u64, 0),
                    false => self.bind(&bind),
                }
            }
            _ => (0, 0),
        }
    }

    fn bind(&mut self, bind: &Bind<'_>) -> (u64, u64) {
        self.bindings += 1;
        let name = 5000 + self.bindings;
        self.rings.push((name, bind.filter.to_vec(), Peer::of(bind)));
        (0, name)
    }

    fn transmit(&mut self, binding: u64) -> (u64, u64) {
        if self.stuck {
            return (Status::Busy as u64, 0);
        }
        let Some((_, _, peer)) = self.rings.iter_mut().find(|(name, _, _)| *name == binding) else {
            return (Status::BadHandle as u64, 0);
        };
        let frames = peer.take();
        peer.complete();
        let count = frames.len() as u64;
        for frame in frames {
            self.sent += 1;
            assert_eq!((&frame[..6], &frame[6..12]), (&CLIENT_MAC[..], &MAC[..]));
            self.pass(frame[14..].to_vec(), true);
        }
        (0, count.min(31))
    }

    /// Over the wire, to the client or to us.
    fn pass(&mut self, packet: Vec<u8>, to_client: bool) {
        let copies = 1 + usize::from(self.chance(self.faults.doubled));
        for _ in 0..copies {
            if to_client && self.chance(self.faults.late) {
                let until = self.now + 3_000_000;
                self.late.push((until, packet.clone()));
            } else if to_client {
                self.incoming.borrow_mut().push_back(packet.clone());
            } else {
                self.deliver(&packet);
            }
        }
    }

    fn deliver(&mut self, packet: &[u8]) {
        let ethertype: [u8; 2] = if packet[0] >> 4 == 6 { [0x86, 0xdd] } else { [8, 0] };
        let frame = [&MAC[..], &CLIENT_MAC, &ethertype, packet].concat();
        self.deliver_frame(&frame);
    }

    /// To the binding whose filter accepts it: the one that was made last, if two do (a connection
    /// is carved out of its listener).
    pub(crate) fn deliver_frame(&mut self, frame: &[u8]) {
        let accepts = |filter: &[u8]| {
            let program = ebpf::decode(filter, ebpf::Kind::Filter, 4096).unwrap();
            ebpf::interp::accepts(&program, frame).unwrap_or(false)
        };
        let found = self.rings.iter_mut().rev().find(|(_, filter, _)| accepts(filter));
        let taken = found.is_some_and(|(_, _, peer)| peer.deliver(frame));
        self.undelivered += u64::from(!taken);
    }

    fn wait(&mut self, deadline: u64) -> (u64, u64) {
        self.waits += 1;
        let until = deadline.min(self.now + 1_000_000);
        self.now = self.now.max(until);
        assert!(self.now < 600_000_000_000, "ten minutes have passed");
        let due: Vec<Vec<u8>> =
            self.late.extract_if(.., |(at, _)| *at <= self.now).map(|(_, packet)| packet).collect();
        self.incoming.borrow_mut().extend(due);
        let at = Instant::from_micros((self.now / 1000) as i64);
        let now = self.now;
        (self.behaviour)(&mut self.client, now);
        let Client { device, interface, sockets } = &mut self.client;
        interface.poll(at, device, sockets);
        (self.behaviour)(&mut self.client, now);
        let Client { device, interface, sockets } = &mut self.client;
        interface.poll(at, device, sockets);
        let packets: Vec<Vec<u8>> = self.outgoing.borrow_mut().drain(..).collect();
        for packet in packets {
            self.pass(packet, false);
        }
        for frame in core::mem::take(&mut self.raw) {
            self.deliver_frame(&frame);
        }
        (0, abi::ring::EVENT_PACKET | abi::ring::EVENT_DEADLINE | abi::ring::EVENT_TRANSMITTED)
    }
}

/// A world with a client that behaves so, and our side of it.
pub(crate) fn world(
    faults: Faults,
    behaviour: impl FnMut(&mut Client, u64) + 'static,
) -> (Rc<RefCell<World>>, Net, Guard) {
    let (incoming, outgoing) = (Queue::default(), Queue::default());
    let end = End { incoming: incoming.clone(), outgoing: outgoing.clone() };
    let mut device = FaultInjector::new(end, 0x1234_5678);
    device.set_drop_chance(faults.lost);
    device.set_corrupt_chance(faults.corrupted);
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = 77;
    let mut interface = Interface::new(config, &mut device, Instant::from_micros(0));
    interface.update_ip_addrs(|list| {
        list.push(IpCidr::new(std::net::IpAddr::from(CLIENT_IP).into(), 24)).unwrap();
    });
    let client = Client { device, interface, sockets: SocketSet::new(vec![]) };
    let world = Rc::new(RefCell::new(World {
        now: 0,
        pages: 0,
        bindings: 0,
        rings: Vec::new(),
        client,
        behaviour: Box::new(behaviour),
        incoming,
        outgoing,
        faults,
        late: Vec::new(),
        random: 99,
        sent: 0,
        undelivered: 0,
        waits: 0,
        stuck: false,
        raw: Vec::new(),
        unbound: Vec::new(),
        refuse_carving: false,
    }));
    let inner = world.clone();
    let guard = host::script(move |request| inner.borrow_mut().answer(request));
    let page = AddressPage::new(host::page_window(Handle(9))).unwrap();
    page.publish(&Addresses {
        mac: MAC,
        ipv4: IP,
        prefix: 24,
        gateway: [10, 0, 2, 2],
        neighbours: vec![(CLIENT_IP, CLIENT_MAC)],
        six: Six::link_local(MAC),
    });
    let net = Net::with_page(Env(Handle(1)), page).unwrap();
    (world, net, guard)
}
