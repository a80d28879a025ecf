//! A web server that sends from its cache: TCP as far as pages that do not change need it.
//!
//! What the exokernel papers' Cheetah did (SOSP 1997, 6.3): a response is made and checksummed once
//! ([`crate::http::Prepared`]), sent from where it lies, also when it has to be sent again, and
//! nothing waits in a buffer for its acknowledgement. Acknowledgements and the end of a connection
//! go with data. It is a stack of its own under a port's filter, beside the general one: smoltcp
//! copies what is written into a buffer, and that into a packet, and sums it there.
//!
//! A [`Server`] has one binding and serves a [`Site`] by itself; [`Server::turn`] takes what is in
//! the ring, answers, and says when it wants to be turned again. What a client may cost is bounded:
//! connections ([`CONNECTIONS_MAX`]), those that are half open, bytes that wait, responses on their
//! way, and the time that each step may take ([`Limits`]).

mod connection;
mod conversation;
mod outlet;
mod segment;
mod sending;
mod table;
mod timer;

use alloc::vec;
use alloc::vec::Vec;

use abi::limits::FRAME_BYTES_MAX;
use abi::ring::{RX_CONSUMED, RX_PRODUCED};
use libos::clock::{self, NEVER};
use libos::download::{set_predicate, wait_until, word};
use libos::program::assemble;
use libos::rings::RingMemory;
use libos::{Grant, Page, sys};

use crate::filter::{self, Local};
use crate::http::date::{self, date};
use crate::http::{Limits, Site};
use crate::limits::INGRESS_ROUND;
use crate::neighbours::Neighbours;
use crate::net::{Net, SocketError};
use connection::{Connection, Fate, Peer, Shared, State};
use conversation::Memo;
use outlet::Outlet;
use segment::{ACK, FIN, Fields, RST, SYN, Segment, Template};
use table::Table;

pub use table::{CONNECTIONS_MAX, HALF_OPEN_MAX};

/// Run me when so many packets wait. The block: clock, events, `RX_PRODUCED`, `RX_CONSUMED`.
const BATCH: &str = "
    mov     %r0, 0
    jlt     %r2, 32, out
    ldxdw   %r3, [%r1+16]
    ldxdw   %r4, [%r1+24]
    sub32   %r3, %r4
    jlt     %r3, 8, out
    mov     %r0, 1
out:
    exit
";
/// Segments in flight from which on acknowledgements are waited for in batches ([`BATCH`]), and how
/// long at most: whoever else says something waits as long.
const BATCHED: u32 = 16;
const BATCH_NS: u64 = 1_000_000;

/// Pages of receive and of transmit slots.
const PAGES: (usize, usize) = (64, 64);

/// A port and what is served there.
#[derive(Debug)]
pub struct Server {
    site: Site,
    limits: Limits,
    neighbours: Neighbours,
    out: Outlet,
    memo: Memo,
    table: Table,
    /// Connections that found the transmit ring full.
    held_back: Vec<usize>,
    frame: Vec<u8>,
    /// The date, and its second.
    said: (u64, [u8; date::BYTES]),
    now: u64,
    /// Nothing is due before.
    due: u64,
    /// The kernel has [`BATCH`], and somebody has much in flight.
    batches: bool,
    bulk: bool,
    counters: Counters,
}

/// What a server has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Segments that came, and frames that were none, or damaged.
    pub received: u64,
    /// See [`Counters::received`].
    pub unreadable: u64,
    /// Segments that were sent, and those without data among them.
    pub sent: u64,
    /// See [`Counters::sent`].
    pub bare: u64,
    /// Segments that found no room.
    pub not_sent: u64,
    /// Requests that came before, byte by byte.
    pub known: u64,
    /// Half-open connections that made room for others.
    pub given_up: u64,
    /// Connections that are there.
    pub live: u64,
}

impl Server {
    /// Claims the port under the grant, at the addresses that `local` says, and serves the site.
    ///
    /// # Errors
    /// [`SocketError`]; the kernel's refusal comes with its record.
    pub fn bind(
        net: &Net,
        grant: Grant,
        local: impl Into<Local>,
        site: Site,
        limits: Limits,
    ) -> Result<Server, SocketError> {
        let filter = filter::service("tcp", net.addresses(), local.into())?;
        let rings = RingMemory::new(net.own(), PAGES.0, PAGES.1)?.bind(grant, &filter, None)?;
        let batches = predicate(rings.control_page());
        Ok(Server {
            site,
            limits,
            neighbours: net.neighbours(),
            out: Outlet::new(rings),
            memo: Memo::default(),
            table: Table::new(),
            held_back: Vec::new(),
            frame: vec![0; FRAME_BYTES_MAX],
            said: (u64::MAX, [0; date::BYTES]),
            now: 0,
            due: NEVER,
            batches,
            bulk: false,
            counters: Counters::default(),
        })
    }

    /// Serves for ever.
    pub fn run(&mut self) -> ! {
        loop {
            let next = self.turn();
            self.wait(next);
        }
    }

    /// Sleeps until something is there or that time, which [`Server::turn`] gave, has come. While
    /// acknowledgements of much are on their way, a few of them are worth waking up for, not each.
    pub fn wait(&self, next: u64) {
        if next == 0 {
            return;
        }
        let soon = self.now.saturating_add(BATCH_NS).min(next);
        if !self.batches || !self.bulk || wait_until(soon).is_err() {
            clock::wait(next);
        }
    }

    /// Takes what is in the ring, answers, sends again what is due; when it wants to be turned next
    /// if nothing comes, in nanoseconds since boot: 0 for at once, [`NEVER`] for not at all.
    pub fn turn(&mut self) -> u64 {
        self.now = clock::now_ns();
        let second = self.site.second();
        if self.said.0 != second {
            self.said = (second, date(second));
        }
        self.neighbours.refresh();
        self.bulk = false;
        let mut rounds = 0;
        while rounds < INGRESS_ROUND
            && let Some(length) = self.out.rings().receive(&mut self.frame[..])
        {
            self.arrived(length);
            rounds += 1;
        }
        self.resume();
        if self.now >= self.due {
            self.expire();
        }
        self.out.flush();
        if rounds == INGRESS_ROUND { 0 } else { self.due }
    }

    /// What it has done so far.
    pub fn counters(&self) -> Counters {
        Counters {
            sent: self.out.sent,
            bare: self.out.bare,
            not_sent: self.out.not_sent,
            known: self.memo.found,
            given_up: self.table.given_up,
            live: self.table.live() as u64,
            ..self.counters
        }
    }

    /// A frame of that length.
    fn arrived(&mut self, length: usize) {
        let frame = core::mem::take(&mut self.frame);
        let segment = frame.get(..length).and_then(Segment::read);
        match &segment {
            None => self.counters.unreadable += 1,
            Some(segment) => {
                self.counters.received += 1;
                self.segment(segment);
            }
        }
        self.frame = frame;
    }

    fn segment(&mut self, segment: &Segment<'_>) {
        let peer = Peer { ip: segment.remote, port: segment.ports.0, local: segment.local };
        let opens = segment.has(SYN) && !segment.has(ACK) && !segment.has(RST);
        match self.table.find(&peer) {
            Some(place) if opens && self.gives_way(place, segment) => {
                self.table.remove(place);
                self.open(segment);
            }
            Some(place) => {
                self.on(place, |connection, shared| connection.arrived(segment, shared));
            }
            None if opens => self.open(segment),
            None => self.refuse(segment),
        }
    }

    /// Whether a SYN may take the place of what is left of an old connection (RFC 9293 3.6.1).
    fn gives_way(&mut self, place: usize, syn: &Segment<'_>) -> bool {
        let over = self.table.with(place, |old| {
            old.state == State::Remembered && sending::before(old.awaited(), syn.sequence)
        });
        over == Some(true)
    }

    fn open(&mut self, syn: &Segment<'_>) {
        if !self.table.make_room() {
            return self.refuse(syn);
        }
        let station = self.neighbours.addresses().mac;
        // Numbers that nobody guesses (RFC 6528).
        let first = sys::entropy() as u32;
        let connection = Connection::open(syn, station, first, &mut self.shared().1);
        self.due = self.due.min(connection.due());
        self.table.add(connection);
    }

    /// A reset in answer to what belongs to no connection (RFC 9293 3.10.7.1).
    fn refuse(&mut self, segment: &Segment<'_>) {
        if segment.has(RST) {
            return;
        }
        let mut header = Template::answering(segment, self.neighbours.addresses().mac);
        let behind = segment.sequence.wrapping_add(segment.length());
        let fields = if segment.has(ACK) {
            Fields { sequence: segment.acknowledged, acknowledged: 0, flags: RST, window: 0 }
        } else {
            Fields { sequence: 0, acknowledged: behind, flags: RST | ACK, window: 0 }
        };
        debug_assert!(fields.flags & FIN == 0);
        self.out.send_bare(&mut header, fields, &[]);
    }

    /// Works on a connection, and forgets it if it is over.
    fn on(&mut self, place: usize, work: impl FnOnce(&mut Connection, &mut Shared<'_>) -> Fate) {
        let (table, mut shared) = self.shared();
        let after = table.with(place, |connection| {
            let fate = work(connection, &mut shared);
            (fate, connection.due(), connection.has_in_flight(BATCHED))
        });
        match after {
            Some((Fate::Stays, due, bulk)) => {
                self.bulk |= bulk;
                self.due = self.due.min(due);
                if self.out.was_full() && !self.held_back.contains(&place) {
                    self.held_back.push(place);
                }
            }
            Some((Fate::Gone, ..)) => self.table.remove(place),
            None => {}
        }
    }

    /// The table, and what its connections share.
    fn shared(&mut self) -> (&mut Table, Shared<'_>) {
        let Server { table, site, limits, memo, out, said, now, .. } = self;
        (table, Shared { now: *now, site, limits, memo, out, said: &said.1 })
    }

    /// Lets those send whom a full ring held back.
    fn resume(&mut self) {
        if self.held_back.is_empty() || !self.out.room() {
            return;
        }
        self.out.was_full();
        for place in core::mem::take(&mut self.held_back) {
            self.on(place, |connection, shared| {
                connection.pump(shared);
                Fate::Stays
            });
        }
    }

    /// Does what is due, and finds out when something is next.
    fn expire(&mut self) {
        self.due = NEVER;
        for place in 0..self.table.places() {
            let due = self.table.with(place, |it| it.due()).unwrap_or(NEVER);
            if due <= self.now {
                self.on(place, Connection::expire);
            } else {
                self.due = self.due.min(due);
            }
        }
    }
}

/// Gives the kernel [`BATCH`] over the ring's indices; without it every packet wakes.
fn predicate(indices: Page) -> bool {
    let words = [word(indices, RX_PRODUCED), word(indices, RX_CONSUMED)];
    let program = assemble(ebpf::Kind::Memory, BATCH, &[]);
    program.is_ok_and(|program| set_predicate(&program, &words).is_ok())
}
