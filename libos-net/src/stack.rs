//! One smoltcp interface and what hangs on it: bindings, sockets, connections that are ending.
//!
//! A stack is shared by the sockets that were opened on it and lives as long as the last of them.
//! Nothing runs by itself: every blocking call turns the stack until it has what it waits for, and
//! the executor turns it between tasks ([`Stack`] is a `libos::executor::Turn`). A round takes a
//! bounded number of packets, sends what there is to send, and hands it to the kernel in one call
//! for each ring. Between rounds the program sleeps until a packet, a transmission or a timer.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{RefCell, RefMut};
use core::net::{IpAddr, SocketAddr};

use libos::clock::{self, NEVER};
use libos::errors::{ErrorPage, ErrorReader, NetError};
use libos::{Rings, sys};
use smoltcp::iface::SocketSet;
use smoltcp::iface::{Config, Interface, PollIngressSingleResult, PollResult, SocketHandle};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr};

use crate::device::{Counters, Device, PortId};
use crate::limits::{EGRESS_ROUNDS, INGRESS_ROUND, REPORTED_MAX};
use crate::net::{Net, SocketError};
use crate::packet::Tuple;
use crate::tcp::Connections;

/// A stack, shared by its sockets.
#[derive(Clone)]
pub struct Stack(Rc<RefCell<Inner>>);

/// What its sockets share.
pub(crate) struct Inner {
    pub(crate) net: Net,
    pub(crate) device: Device,
    pub(crate) interface: Interface,
    pub(crate) sockets: SocketSet<'static>,
    pub(crate) connections: Connections,
    /// What ICMP says, and what of it is about a socket here.
    errors: Option<ErrorReader>,
    reported: VecDeque<NetError>,
    /// Of the page of addresses, when the interface was told.
    sequence: u32,
    /// When the last round began, in nanoseconds since boot: the clock is read once for each.
    now: u64,
    /// Whether there is a socket with timers: of TCP.
    timed: bool,
    /// Sockets were given so much to send since smoltcp was asked: without it, and before a timer
    /// is due, there is nothing to send, and nobody looks.
    queued: usize,
    /// When the nearest timer is due.
    due: u64,
}

impl Stack {
    /// A stack without bindings; sockets bring their own.
    pub fn new(net: &Net) -> Stack {
        Self::over(net, Device::empty(net.neighbours()))
    }

    /// A stack over a device.
    pub(crate) fn over(net: &Net, mut device: Device) -> Stack {
        let mut config = Config::new(HardwareAddress::Ip);
        // First sequence numbers and the like must not be guessed.
        config.random_seed = sys::entropy();
        let now = clock::now_ns();
        let interface = Interface::new(config, &mut device, instant(now));
        let sockets = SocketSet::new(vec![]);
        let connections = Connections::default();
        let errors = net.errors().map(ErrorPage::reader);
        let net = net.clone();
        let mut inner = Inner {
            net,
            device,
            interface,
            sockets,
            connections,
            errors,
            reported: VecDeque::new(),
            sequence: 0,
            now,
            timed: false,
            queued: 0,
            due: NEVER,
        };
        inner.readdress();
        Stack(Rc::new(RefCell::new(inner)))
    }

    /// What the program's sockets share.
    pub fn net(&self) -> Net {
        self.0.borrow().net.clone()
    }

    /// One round: takes what is in the rings, sends what is to be sent.
    pub fn poll(&self) {
        self.0.borrow_mut().poll();
    }

    /// When the next round is due if nothing happens, in nanoseconds since boot.
    pub fn deadline(&self) -> u64 {
        self.0.borrow_mut().deadline()
    }

    /// What became of packets besides being passed on.
    pub fn counters(&self) -> Counters {
        self.0.borrow().device.counters()
    }

    /// Frames that are in transmit rings and not out yet.
    pub fn in_flight(&self) -> u64 {
        self.0.borrow().device.in_flight()
    }

    /// Slots of receive rings whose length or index made no sense.
    pub fn corrupt(&self) -> u64 {
        self.0.borrow().device.all_rings().map(Rings::corrupt).sum()
    }

    /// Packets that found a receive ring full.
    pub fn dropped(&self) -> u64 {
        self.0.borrow().device.all_rings().map(|rings| u64::from(rings.dropped())).sum()
    }

    pub(crate) fn inner(&self) -> RefMut<'_, Inner> {
        self.0.borrow_mut()
    }

    /// Turns the stack until `look` finds something or the time `deadline_ns` passes.
    pub(crate) fn until<T>(
        &self,
        deadline_ns: u64,
        mut look: impl FnMut(&mut Inner) -> Option<T>,
    ) -> Option<T> {
        loop {
            let next = {
                let mut inner = self.inner();
                inner.poll();
                if let Some(found) = look(&mut inner) {
                    // What the look has written goes out before the caller computes.
                    inner.touched();
                    inner.egress();
                    return Some(found);
                }
                match inner.deadline() {
                    0 => continue,
                    next => next,
                }
            };
            if clock::wait(next.min(deadline_ns)).deadline() && clock::now_ns() >= deadline_ns {
                let mut inner = self.inner();
                inner.poll();
                return look(&mut inner);
            }
        }
    }
}

impl libos::executor::Turn for Stack {
    fn turn(&mut self) -> u64 {
        let mut inner = self.inner();
        inner.poll();
        inner.deadline()
    }
}

impl Inner {
    /// Adds a binding for the packets of `tuple`.
    pub(crate) fn attach(&mut self, rings: Rings, tuple: Tuple) -> PortId {
        self.device.add(rings, tuple)
    }

    /// A socket may have something to send now.
    pub(crate) fn touched(&mut self) {
        self.queued = self.queued.saturating_add(1);
    }

    /// There is a socket with timers from now on.
    pub(crate) fn has_timers(&mut self) {
        self.timed = true;
        self.touched();
    }

    /// Whether nothing but what comes in next is to be worked on: no timers, nothing to be sent.
    pub(crate) fn is_idle(&mut self) -> bool {
        self.refresh();
        !self.timed && self.queued == 0 && !self.device.is_behind()
    }

    pub(crate) fn poll(&mut self) {
        self.refresh();
        let pending = self.device.pending();
        if !pending && self.queued == 0 && !self.timed && !self.device.is_behind() {
            return;
        }
        self.now = clock::now_ns();
        if pending {
            self.ingress();
        }
        self.egress();
        if self.timed {
            let Inner { connections, sockets, device, now, .. } = self;
            connections.reap(sockets, device, *now);
        }
    }

    fn ingress(&mut self) {
        let now = instant(self.now);
        self.interface.poll_maintenance(now);
        for _ in 0..INGRESS_ROUND {
            let Inner { interface, device, sockets, .. } = self;
            match interface.poll_ingress_single(now, device, sockets) {
                PollIngressSingleResult::None => break,
                _ if !self.timed => {}
                // A second acknowledgement changes nothing, and may have to be answered.
                PollIngressSingleResult::PacketProcessed => self.touched(),
                PollIngressSingleResult::SocketStateChanged => {
                    self.connections.arrived(&mut self.sockets, self.now);
                    self.touched();
                }
            }
        }
    }

    /// Sends what there is to send.
    pub(crate) fn egress(&mut self) {
        self.refresh();
        if self.queued > 0 || (self.timed && self.now >= self.due) {
            // Without TCP each pass sends a datagram, and it is known how many there are.
            let rounds = if self.timed { EGRESS_ROUNDS } else { self.queued.min(EGRESS_ROUNDS) };
            let ended = (0..rounds).any(|_| {
                let Inner { interface, device, sockets, .. } = self;
                interface.poll_egress(instant(self.now), device, sockets) == PollResult::None
            });
            let done = ended || !self.timed;
            self.queued = match (self.device.is_held_back(), done) {
                (false, true) => 0,
                _ => 1,
            };
        }
        self.device.flush();
    }

    pub(crate) fn deadline(&mut self) -> u64 {
        // While a ring is full only the card can help, and it wakes us.
        if self.device.is_held_back() {
            return self.connections.deadline();
        }
        if self.queued > 0 || self.device.pending() {
            return 0;
        }
        if !self.timed {
            return NEVER;
        }
        let at = self.interface.poll_at(instant(self.now), &self.sockets);
        let due = |at: Instant| u64::try_from(at.total_micros()).unwrap_or(0).saturating_mul(1000);
        self.due = at.map_or(NEVER, due);
        self.due.min(self.connections.deadline())
    }

    /// The oldest error about a packet from that port that nobody has taken.
    pub(crate) fn take_error(
        &mut self,
        protocol: u8,
        local: u16,
        remote: Option<SocketAddr>,
    ) -> Option<NetError> {
        self.follow_errors();
        let about = |error: &NetError| {
            let there = remote.is_none_or(|remote| remote == error.remote);
            (error.protocol, error.local) == (protocol, local) && there
        };
        let place = self.reported.iter().position(about)?;
        self.reported.remove(place)
    }

    /// Keeps what is about a socket here: one load while nothing was said.
    fn follow_errors(&mut self) {
        let Some(reader) = &mut self.errors else { return };
        while let Some(error) = reader.read() {
            if self.device.serves(error.protocol, error.local) {
                if self.reported.len() == REPORTED_MAX {
                    self.reported.pop_front();
                }
                self.reported.push_back(error);
            }
        }
    }

    /// Follows the page of addresses: one load while it does not change.
    fn refresh(&mut self) {
        let neighbours = self.device.neighbours_mut();
        neighbours.refresh();
        if neighbours.sequence() != self.sequence {
            self.readdress();
        }
    }

    /// Tells the interface our addresses, as the page has them now.
    fn readdress(&mut self) {
        self.sequence = self.device.neighbours_mut().sequence();
        let addresses = self.device.neighbours_mut().addresses().clone();
        let six = &addresses.six;
        let all: Vec<IpCidr> = [
            (IpAddr::from(addresses.ipv4), addresses.prefix.min(32)),
            (IpAddr::from(six.link_local), 64),
            (IpAddr::from(six.address), six.prefix.min(128)),
        ]
        .into_iter()
        .filter(|(ip, _)| !ip.is_unspecified() && !ip.is_multicast())
        .map(|(ip, prefix)| IpCidr::new(ip.into(), prefix as u8))
        .collect();
        self.interface.update_ip_addrs(|list| {
            list.clear();
            for address in all {
                // There is room for four (a feature of smoltcp's), and these are three.
                let _ = list.push(address);
            }
        });
        let routes = self.interface.routes_mut();
        routes.remove_default_ipv4_route();
        routes.remove_default_ipv6_route();
        // The table has room for two routes, and there is one of each family.
        if addresses.gateway != [0; 4] {
            let _ = routes.add_default_ipv4_route(addresses.gateway.into());
        }
        if six.router != [0; 16] {
            let _ = routes.add_default_ipv6_route(six.router.into());
        }
    }
}

/// The time as smoltcp has it.
fn instant(ns: u64) -> Instant {
    Instant::from_micros((ns / 1000).cast_signed())
}

/// Frees a socket's place.
pub(crate) fn forget(inner: &mut Inner, handle: SocketHandle, port: Option<PortId>) {
    inner.sockets.remove(handle);
    if let Some(port) = port {
        inner.device.release(port);
    }
}

/// What a stack says when it has no room or no such address.
pub(crate) fn refused(doing: &'static str) -> SocketError {
    SocketError::Stack { doing }
}
