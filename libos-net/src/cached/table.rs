//! Connections by whom they are with, in a bounded table.
//!
//! A bucket by the other side's address and port, a list in each: who chooses ports that share a
//! bucket gets a list of all there may be, and no more. When the table is full the oldest that is
//! over makes room, then the oldest that is half open; nobody who talks is put out.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::connection::{Connection, Peer, State};

/// Connections at once.
pub const CONNECTIONS_MAX: usize = 512;
/// Connections that have not finished their handshake; the oldest makes room.
pub const HALF_OPEN_MAX: usize = 64;
const BUCKETS: usize = 256;

const _: () = assert!(HALF_OPEN_MAX < CONNECTIONS_MAX && CONNECTIONS_MAX < u16::MAX as usize);

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    slots: Vec<Option<Box<Connection>>>,
    buckets: [Vec<u16>; BUCKETS],
    live: usize,
    half_open: usize,
    /// Half-open connections that made room for others.
    pub(super) given_up: u64,
}

impl Table {
    pub(super) fn new() -> Table {
        let buckets = core::array::from_fn(|_| Vec::new());
        Table { slots: Vec::new(), buckets, live: 0, half_open: 0, given_up: 0 }
    }

    /// Connections in it.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// Places there are.
    pub(super) fn places(&self) -> usize {
        self.slots.len()
    }

    /// The place of the connection with somebody.
    pub(super) fn find(&self, peer: &Peer) -> Option<usize> {
        let bucket = self.buckets.get(bucket(peer))?;
        let is = |place: &&u16| {
            self.slots
                .get(usize::from(**place))
                .is_some_and(|slot| slot.as_ref().is_some_and(|it| it.peer == *peer))
        };
        bucket.iter().find(is).map(|&place| usize::from(place))
    }

    /// Works on the connection there; one that has opened meanwhile is counted as open.
    pub(super) fn with<T>(
        &mut self,
        place: usize,
        work: impl FnOnce(&mut Connection) -> T,
    ) -> Option<T> {
        let connection = self.slots.get_mut(place)?.as_mut()?;
        let before = connection.state;
        let result = work(connection);
        if before == State::HalfOpen && connection.state != State::HalfOpen {
            self.half_open -= 1;
        }
        Some(result)
    }

    /// Makes room for one more that is half open; false if all who are there talk.
    pub(super) fn make_room(&mut self) -> bool {
        if self.half_open >= HALF_OPEN_MAX {
            self.given_up += 1;
            return self.put_out(State::HalfOpen);
        }
        if self.live < CONNECTIONS_MAX || self.put_out(State::Remembered) {
            return true;
        }
        self.given_up += 1;
        self.put_out(State::HalfOpen)
    }

    /// Adds a connection: its place.
    pub(super) fn add(&mut self, connection: Connection) -> usize {
        self.live += 1;
        self.half_open += usize::from(connection.state == State::HalfOpen);
        let free = self.slots.iter().position(Option::is_none);
        let place = free.unwrap_or(self.slots.len());
        if let Some(list) = self.buckets.get_mut(bucket(&connection.peer)) {
            list.push(place as u16);
        }
        let connection = Some(Box::new(connection));
        match self.slots.get_mut(place) {
            Some(slot) => *slot = connection,
            None => self.slots.push(connection),
        }
        place
    }

    /// Takes a connection out.
    pub(super) fn remove(&mut self, place: usize) {
        let Some(connection) = self.slots.get_mut(place).and_then(Option::take) else { return };
        self.live -= 1;
        self.half_open -= usize::from(connection.state == State::HalfOpen);
        if let Some(list) = self.buckets.get_mut(bucket(&connection.peer)) {
            list.retain(|&other| usize::from(other) != place);
        }
    }

    fn put_out(&mut self, state: State) -> bool {
        let all = self.slots.iter().enumerate();
        let of = all.filter_map(|(place, slot)| Some((place, slot.as_ref()?)));
        let such = of.filter(|(_, it)| it.state == state);
        let oldest = such.min_by_key(|(_, it)| it.since).map(|(place, _)| place);
        oldest.map(|place| self.remove(place)).is_some()
    }
}

fn bucket(peer: &Peer) -> usize {
    let last = match peer.ip {
        IpAddr::V4(ip) => ip.octets()[3],
        IpAddr::V6(ip) => ip.octets()[15],
    };
    let [high, low] = peer.port.to_be_bytes();
    usize::from(high.wrapping_mul(31) ^ low ^ last)
}
