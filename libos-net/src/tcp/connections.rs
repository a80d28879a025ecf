//! The sockets that no stream holds: listeners' own, and connections that are ending.
//!
//! A stream that is dropped leaves its socket here. It is taken out when TCP is done with it, when
//! it has taken [`ENDING_NS`], or when [`ENDING_MAX`] younger ones wait. Buffers are used again.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::task::Waker;

use libos::clock::{NEVER, now_ns};
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::Socket as AnySocket;
use smoltcp::socket::tcp::{Socket, State};
use smoltcp::wire::IpListenEndpoint;

use super::StreamOptions;
use super::backlog::Backlog;
use crate::device::{Device, PortId};
use crate::limits::{ENDING_MAX, ENDING_NS, SPARE_MAX};

/// All that a stack keeps of TCP besides its streams.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    listeners: Vec<Option<Backlog>>,
    ending: VecDeque<Ending>,
    spare: Spare,
}

/// A connection that nobody holds any more.
#[derive(Debug)]
struct Ending {
    handle: SocketHandle,
    options: StreamOptions,
    port: PortId,
    until: u64,
}

/// Sockets with their buffers, to be used again.
#[derive(Debug, Default)]
pub(super) struct Spare(Vec<(StreamOptions, Socket<'static>)>);

impl Spare {
    /// A closed socket, used or new.
    pub(super) fn socket(&mut self, options: StreamOptions) -> Socket<'static> {
        match self.0.iter().position(|(kept, _)| *kept == options) {
            Some(place) => {
                let (_, mut socket) = self.0.swap_remove(place);
                options.prepare(&mut socket);
                socket
            }
            None => options.socket(),
        }
    }

    /// Takes a socket out of the set, whatever its state.
    pub(super) fn take_back(
        &mut self,
        sockets: &mut SocketSet<'static>,
        handle: SocketHandle,
        options: StreamOptions,
    ) {
        if let AnySocket::Tcp(mut socket) = sockets.remove(handle)
            && self.0.len() < SPARE_MAX
        {
            socket.abort();
            self.0.push((options, socket));
        }
    }
}

impl Connections {
    /// A new listener: its place.
    pub(super) fn listen(
        &mut self,
        endpoint: IpListenEndpoint,
        options: StreamOptions,
        sockets: &mut SocketSet<'static>,
    ) -> Option<usize> {
        let backlog = Backlog::open(endpoint, options, sockets, &mut self.spare)?;
        let free = self.listeners.iter().position(Option::is_none);
        let place = free.unwrap_or(self.listeners.len());
        match self.listeners.get_mut(place) {
            Some(slot) => *slot = Some(backlog),
            None => self.listeners.push(Some(backlog)),
        }
        Some(place)
    }

    /// Ends a listener; what nobody accepted is forgotten.
    pub(super) fn unlisten(&mut self, place: usize, sockets: &mut SocketSet<'static>) {
        if let Some(backlog) = self.listeners.get_mut(place).and_then(Option::take) {
            backlog.close(sockets, &mut self.spare);
        }
    }

    /// The next connection of a listener; without one `waker` is told of it.
    pub(super) fn accept(&mut self, place: usize, waker: Option<&Waker>) -> Option<SocketHandle> {
        self.listeners.get_mut(place)?.as_mut()?.accept(waker)
    }

    /// Half-open connections of a listener that were given up.
    pub(super) fn given_up(&self, place: usize) -> u64 {
        let backlog = self.listeners.get(place).and_then(Option::as_ref);
        backlog.map_or(0, Backlog::given_up)
    }

    /// A closed socket for a connection of our own.
    pub(super) fn socket(&mut self, options: StreamOptions) -> Socket<'static> {
        self.spare.socket(options)
    }

    /// Leaves a connection to end by itself.
    pub(super) fn leave(&mut self, handle: SocketHandle, options: StreamOptions, port: PortId) {
        let until = now_ns().saturating_add(ENDING_NS);
        self.ending.push_back(Ending { handle, options, port, until });
    }

    /// A segment has changed a socket.
    pub(crate) fn arrived(&mut self, sockets: &mut SocketSet<'static>, now: u64) {
        for backlog in self.listeners.iter_mut().flatten() {
            backlog.arrived(now, sockets, &mut self.spare);
        }
    }

    /// Forgets what has ended or taken too long.
    pub(crate) fn reap(&mut self, sockets: &mut SocketSet<'static>, device: &mut Device, now: u64) {
        for backlog in self.listeners.iter_mut().flatten() {
            backlog.expire(now, sockets, &mut self.spare);
        }
        let mut over = self.ending.len().saturating_sub(ENDING_MAX);
        for _ in 0..self.ending.len() {
            let Some(ending) = self.ending.pop_front() else { break };
            if over == 0 && ending.until > now && !is_done(sockets, ending.handle) {
                self.ending.push_back(ending);
                continue;
            }
            over = over.saturating_sub(1);
            self.spare.take_back(sockets, ending.handle, ending.options);
            device.release(ending.port);
        }
    }

    /// When there is something to reap that no segment announces.
    pub(crate) fn deadline(&self) -> u64 {
        let backlogs = self.listeners.iter().flatten().filter_map(Backlog::deadline);
        let ending = self.ending.iter().map(|ending| ending.until);
        backlogs.chain(ending).min().unwrap_or(NEVER)
    }
}

/// Whether TCP is done: closed, and no reset left to send.
fn is_done(sockets: &SocketSet<'static>, handle: SocketHandle) -> bool {
    let socket = sockets.get::<Socket<'_>>(handle);
    socket.state() == State::Closed && socket.remote_endpoint().is_none()
}
