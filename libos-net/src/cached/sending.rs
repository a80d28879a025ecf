//! The sending half of a connection: what is to be sent lies in the cache, and is sent from there
//! the second time as well.
//!
//! Nothing is copied into a buffer to wait for its acknowledgement: a connection keeps which
//! responses it sends, and their numbers. Congestion control is Reno's with NewReno's partial
//! acknowledgements (RFC 5681, RFC 6582), the retransmission timer RFC 6298's; segments begin at
//! multiples of the segment size within a response, so that their sums are known.

use alloc::collections::VecDeque;
use alloc::rc::Rc;

use libos::clock::NEVER;

use super::outlet::Outlet;
use super::segment::{ACK, FIN, Fields, PSH, Template};
use super::timer::Timer;
use crate::http::Prepared;
use crate::http::date;

/// Responses that a connection may have on their way.
pub(super) const QUEUE_MAX: usize = 32;
/// Segments of the first flight (RFC 6928).
const FIRST_FLIGHT: u32 = 10;
/// No window is larger.
const WINDOW_MAX: u32 = 1 << 30;

/// A response on its way.
#[derive(Debug)]
struct Queued {
    response: Rc<Prepared>,
    /// Number of its first byte, and its length: the head alone or all of it.
    start: u32,
    bytes: usize,
    said: [u8; date::BYTES],
}

/// The sending half.
#[derive(Debug)]
pub(super) struct Sending {
    /// The first byte that is not acknowledged, the next to be sent, and the one behind all that
    /// ever was.
    una: u32,
    next: u32,
    most: u32,
    /// Behind what is queued.
    end: u32,
    /// The end of the connection is queued behind that.
    ends: bool,
    queue: VecDeque<Queued>,
    window: u32,
    scale: u8,
    size: u32,
    congestion: u32,
    threshold: u32,
    doubles: u8,
    /// While losses are repaired: what was sent when the first was noticed.
    recover: Option<u32>,
    pub(super) timer: Timer,
    /// When something was last sent.
    active: u64,
}

/// What an acknowledgement did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acknowledged {
    /// Something that was waiting.
    Progress,
    /// Nothing.
    Nothing,
    /// It is about what was never sent.
    Future,
}

/// What every segment says of the other half.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    /// What we have.
    pub(super) next: u32,
    /// What we have room for.
    pub(super) window: u16,
}

/// Whether number `a` comes before `b` (RFC 9293 3.4).
pub(super) fn before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() < 0
}

impl Sending {
    /// Behind a SYN with that number; segments of that size, windows scaled so.
    pub(super) fn new(first: u32, size: u32, scale: u8) -> Sending {
        let next = first.wrapping_add(1);
        Sending {
            una: first,
            next,
            most: next,
            end: next,
            ends: false,
            queue: VecDeque::new(),
            window: 0,
            scale,
            size,
            congestion: size * FIRST_FLIGHT,
            threshold: WINDOW_MAX,
            doubles: 0,
            recover: None,
            timer: Timer::new(),
            active: 0,
        }
    }

    /// Number of our SYN, until it is acknowledged.
    pub(super) fn una(&self) -> u32 {
        self.una
    }

    /// Number of the next byte.
    pub(super) fn next(&self) -> u32 {
        self.next
    }

    /// Whether everything was sent and acknowledged, the end included if there is one.
    pub(super) fn is_done(&self) -> bool {
        self.una == self.behind()
    }

    /// Whether so many segments are on their way.
    pub(super) fn has_in_flight(&self, segments: u32) -> bool {
        self.most.wrapping_sub(self.una) >= segments * self.size
    }

    /// Whether the end of the connection is queued.
    pub(super) fn ends(&self) -> bool {
        self.ends
    }

    /// Responses that may be queued.
    pub(super) fn room(&self) -> usize {
        if self.ends { 0 } else { QUEUE_MAX.saturating_sub(self.queue.len()) }
    }

    /// Queues a response, or its head alone, with that date.
    pub(super) fn queue(&mut self, response: &Rc<Prepared>, body: bool, said: [u8; date::BYTES]) {
        let (head, all) = response.lengths();
        let bytes = if body { all } else { head };
        let response = Rc::clone(response);
        self.queue.push_back(Queued { response, start: self.end, bytes, said });
        self.end = self.end.wrapping_add(bytes as u32);
    }

    /// Nothing comes behind what is queued.
    pub(super) fn end(&mut self) {
        self.ends = true;
    }

    /// Behind everything.
    fn behind(&self) -> u32 {
        self.end.wrapping_add(u32::from(self.ends))
    }

    /// What the other side has, and has room for.
    pub(super) fn acknowledged(
        &mut self,
        (ack, window): (u32, u16),
        bare: bool,
        now: u64,
    ) -> Acknowledged {
        if before(self.most, ack) {
            return Acknowledged::Future;
        }
        if before(ack, self.una) {
            return Acknowledged::Nothing;
        }
        let window = u32::from(window) << self.scale;
        let before_it = core::mem::replace(&mut self.window, window);
        if before_it == 0 && window > 0 {
            // It was closed: a byte that probed it may not have been taken.
            self.next = ack;
            self.timer.stop();
        }
        let same = before_it == window;
        if ack == self.una {
            if bare && same && self.una != self.most {
                self.doubled();
            }
            return Acknowledged::Nothing;
        }
        let fresh = ack.wrapping_sub(self.una);
        self.una = ack;
        if before(self.next, ack) {
            self.next = ack;
        }
        self.timer.acknowledged(ack, now, self.una == self.most);
        self.doubles = 0;
        self.grow(ack, fresh);
        while self
            .queue
            .front()
            .is_some_and(|it| !before(ack, it.start.wrapping_add(it.bytes as u32)))
        {
            self.queue.pop_front();
        }
        Acknowledged::Progress
    }

    fn grow(&mut self, ack: u32, fresh: u32) {
        match self.recover {
            Some(recover) if before(ack, recover) => {
                // Part of what was sent then: the next hole begins here (RFC 6582, 3.2).
                self.congestion = self.congestion.saturating_sub(fresh).saturating_add(self.size);
                self.next = self.una;
            }
            Some(_) => {
                self.recover = None;
                self.congestion = self.threshold;
            }
            None if self.congestion < self.threshold => {
                self.congestion = (self.congestion + fresh.min(2 * self.size)).min(WINDOW_MAX);
            }
            None => {
                let part = (self.size * self.size).checked_div(self.congestion).unwrap_or(0);
                self.congestion = (self.congestion + part.max(1)).min(WINDOW_MAX);
            }
        }
    }

    /// The other side has something behind a hole.
    fn doubled(&mut self) {
        self.doubles = self.doubles.saturating_add(1);
        match (self.doubles, self.recover) {
            (3, None) => {
                let flight = self.most.wrapping_sub(self.una);
                self.threshold = (flight / 2).max(2 * self.size);
                self.congestion = self.threshold + 3 * self.size;
                self.recover = Some(self.most);
                self.timer.forget();
                // One segment from here; what was sent behind it is not sent again.
                self.next = self.una;
            }
            (4.., Some(_)) => self.congestion = self.congestion.saturating_add(self.size),
            _ => {}
        }
    }

    /// The timer is over: everything from the first hole on, slowly.
    pub(super) fn timed_out(&mut self) {
        let flight = self.most.wrapping_sub(self.una);
        if flight > 0 {
            self.threshold = (flight / 2).max(2 * self.size);
            self.congestion = self.size;
        }
        self.recover = None;
        self.doubles = 0;
        self.next = self.una;
    }

    /// Sends what may be sent; whether something was, with our acknowledgement in it.
    pub(super) fn pump(
        &mut self,
        now: u64,
        heard: Heard,
        header: &mut Template,
        out: &mut Outlet,
    ) -> bool {
        if self.una == self.most && now.saturating_sub(self.active) > self.timer.patience() {
            // Nobody knows what the way is like by now (RFC 5681, 4.1).
            self.congestion = self.congestion.min(self.size * FIRST_FLIGHT);
        }
        let mut sent = false;
        while self.next != self.behind() && out.room() {
            let Some(count) = self.one(now, heard, header, out) else { break };
            sent = true;
            self.next = self.next.wrapping_add(count);
            let again = before(self.next, self.most) || self.next == self.most;
            if again && self.recover.is_some() {
                // A hole is mended by one segment; what is behind it may well be there.
                self.next = self.most;
            } else if before(self.most, self.next) {
                self.most = self.next;
            }
        }
        if sent {
            self.active = now;
        }
        let waits = self.una != self.most || (self.next != self.behind() && self.window == 0);
        if waits && self.timer.at() == NEVER {
            self.timer.start(now);
        }
        sent
    }

    /// One segment; how many numbers it took.
    fn one(
        &mut self,
        now: u64,
        heard: Heard,
        header: &mut Template,
        out: &mut Outlet,
    ) -> Option<u32> {
        let flight = self.next.wrapping_sub(self.una);
        let usable = self.congestion.min(self.window).saturating_sub(flight);
        let mut fields = Fields {
            sequence: self.next,
            acknowledged: heard.next,
            flags: ACK,
            window: heard.window,
        };
        if self.next == self.end {
            fields.flags |= FIN;
            out.send_bare(header, fields, &[]);
            return Some(1);
        }
        let is_in = |it: &&Queued| before(self.next, it.start.wrapping_add(it.bytes as u32));
        let queued = self.queue.iter().find(is_in)?;
        let from = self.next.wrapping_sub(queued.start) as usize;
        let size = self.size as usize;
        let whole = ((from / size + 1) * size).min(queued.bytes);
        let to = match usable as usize {
            usable if usable >= whole - from => whole,
            // Neither small segments because of a small window, nor none at all (RFC 9293 3.8.6).
            usable if flight == 0 && usable > 0 => from + usable,
            _ if flight == 0 && self.timer.probes() => from + 1,
            _ => return None,
        };
        let piece = queued.response.piece((from, to), size, &queued.said);
        let count = piece.bytes() as u32;
        let behind = self.next.wrapping_add(count);
        if from + piece.bytes() == queued.bytes {
            fields.flags |= PSH;
        }
        let last = self.ends && behind == self.end;
        if last {
            fields.flags |= FIN;
        }
        out.send(header, fields, &piece);
        if !before(self.next, self.most) {
            self.timer.measure(behind, now);
        }
        Some(count + u32::from(last))
    }
}
