//! What a listening socket turned into before somebody accepts it.
//!
//! One socket of each listener is in LISTEN. The segment that opens a connection turns it into that
//! connection, and another one takes its place before the next segment is looked at. Both lists
//! are bounded: the oldest half-open connection makes room for a new one, so that a flood of first
//! segments costs the flood itself; when too many are ready nobody listens, and TCP says so.

use alloc::collections::VecDeque;
use core::task::Waker;

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, State};
use smoltcp::wire::IpListenEndpoint;

use super::StreamOptions;
use super::connections::Spare;
use crate::limits::{BACKLOG_MAX, HALF_OPEN_MAX, HANDSHAKE_NS};

/// One listener's sockets.
#[derive(Debug)]
pub(super) struct Backlog {
    endpoint: IpListenEndpoint,
    options: StreamOptions,
    listening: Option<SocketHandle>,
    /// With the time at which each is given up.
    half_open: VecDeque<(SocketHandle, u64)>,
    ready: VecDeque<SocketHandle>,
    waker: Option<Waker>,
    /// Half-open connections that made room for others or took too long.
    given_up: u64,
}

impl Backlog {
    /// Listens; `None` for port zero.
    pub(super) fn open(
        endpoint: IpListenEndpoint,
        options: StreamOptions,
        sockets: &mut SocketSet<'static>,
        spare: &mut Spare,
    ) -> Option<Backlog> {
        let mut backlog = Backlog {
            endpoint,
            options,
            listening: None,
            half_open: VecDeque::new(),
            ready: VecDeque::new(),
            waker: None,
            given_up: 0,
        };
        backlog.listen(sockets, spare);
        backlog.listening.is_some().then_some(backlog)
    }

    /// Takes its sockets out again.
    pub(super) fn close(self, sockets: &mut SocketSet<'static>, spare: &mut Spare) {
        let half_open = self.half_open.into_iter().map(|(handle, _)| handle);
        for handle in self.listening.into_iter().chain(half_open).chain(self.ready) {
            spare.take_back(sockets, handle, self.options);
        }
    }

    /// The next connection, and who is told when there is none.
    pub(super) fn accept(&mut self, waker: Option<&Waker>) -> Option<SocketHandle> {
        let found = self.ready.pop_front();
        if found.is_none() {
            self.waker = waker.cloned();
        }
        found
    }

    /// Half-open connections that were given up.
    pub(super) fn given_up(&self) -> u64 {
        self.given_up
    }

    /// Looks at what the last segment changed.
    pub(super) fn arrived(
        &mut self,
        now: u64,
        sockets: &mut SocketSet<'static>,
        spare: &mut Spare,
    ) {
        if let Some(handle) = self.listening
            && state(sockets, handle) != State::Listen
        {
            self.listening = None;
            self.half_open.push_back((handle, now.saturating_add(HANDSHAKE_NS)));
            if self.half_open.len() > HALF_OPEN_MAX {
                self.give_up_oldest(sockets, spare);
            }
        }
        self.promote(sockets, spare);
        self.listen(sockets, spare);
    }

    /// Gives up what has taken too long; when to look again.
    pub(super) fn expire(&mut self, now: u64, sockets: &mut SocketSet<'static>, spare: &mut Spare) {
        while self.half_open.front().is_some_and(|(_, until)| *until <= now) {
            self.give_up_oldest(sockets, spare);
        }
        self.listen(sockets, spare);
    }

    /// When the oldest half-open connection has taken too long.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.half_open.front().map(|(_, until)| *until)
    }

    fn give_up_oldest(&mut self, sockets: &mut SocketSet<'static>, spare: &mut Spare) {
        if let Some((handle, _)) = self.half_open.pop_front() {
            spare.take_back(sockets, handle, self.options);
            self.given_up += 1;
        }
    }

    /// Moves what has finished its handshake, and drops what was reset meanwhile.
    fn promote(&mut self, sockets: &mut SocketSet<'static>, spare: &mut Spare) {
        for place in (0..self.half_open.len()).rev() {
            let Some(&(handle, _)) = self.half_open.get(place) else { continue };
            match state(sockets, handle) {
                State::SynReceived => {}
                // A reset brings a socket of a listener back to where it came from.
                State::Listen | State::Closed => {
                    self.half_open.remove(place);
                    spare.take_back(sockets, handle, self.options);
                }
                _ => {
                    self.half_open.remove(place);
                    self.ready.push_back(handle);
                    if let Some(waker) = self.waker.take() {
                        waker.wake();
                    }
                }
            }
        }
    }

    /// Puts a socket into LISTEN, unless one is or too many wait.
    fn listen(&mut self, sockets: &mut SocketSet<'static>, spare: &mut Spare) {
        if self.listening.is_some() || self.ready.len() >= BACKLOG_MAX {
            return;
        }
        let mut socket = spare.socket(self.options);
        if socket.listen(self.endpoint).is_ok() {
            self.listening = Some(sockets.add(socket));
        }
    }
}

fn state(sockets: &SocketSet<'static>, handle: SocketHandle) -> State {
    sockets.get::<Socket<'_>>(handle).state()
}
