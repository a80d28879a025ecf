//! One connection: RFC 9293's states as far as a server passes through them.
//!
//! What comes out of order is not kept: the other side sends it again, and a server that is asked
//! for pages hardly receives anything. Numbers are checked as RFC 5961 asks: a reset must be exact,
//! a SYN inside a connection is challenged.

use core::net::IpAddr;

use super::conversation::{About, Answer, Conversation, Memo};
use super::outlet::Outlet;
use super::segment::{ACK, FIN, Fields, RST, SYN, Segment, Template, options};
use super::sending::{Acknowledged, Heard, Sending, before};
use crate::http::date;
use crate::http::{Limits, Site};
use crate::limits::{ENDING_NS, HANDSHAKE_NS};

/// Bytes that the other side may send before we have looked at them.
const WINDOW: usize = 16 * 1024;
/// Bytes of a segment to a side that says nothing about it (RFC 9293 3.7.1), and at most, by
/// family.
const SEGMENT_UNSAID: u16 = 536;
const SEGMENT_FOUR: u16 = 1460;
const SEGMENT_SIX: u16 = 1440;
/// Least segment that is believed.
const SEGMENT_LEAST: u16 = 64;
/// How long a finished connection answers what is left of it on the way.
const REMEMBERED_NS: u64 = 10_000_000_000;
/// How long the other side may take to end its half after ours is done.
const HALF_NS: u64 = 1_000_000_000;

/// Whom a connection is with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) ip: IpAddr,
    pub(super) port: u16,
    /// Which of our addresses.
    pub(super) local: IpAddr,
}

/// Where it is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// We answered a SYN.
    HalfOpen,
    /// Both sides talk; the other one may have ended its half.
    Open,
    /// Both have ended, and ours was first: stray segments are answered for a while.
    Remembered,
}

/// What it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The handshake's third segment.
    Handshake,
    /// A request's first byte.
    Idle,
    /// The rest of a request.
    Request,
    /// That what we sent is acknowledged.
    Response,
    /// That the other side ends its half.
    Half,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes on.
    Stays,
    /// It is over; its place is free.
    Gone,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: Peer,
    pub(super) state: State,
    /// When it began, or its present state did.
    pub(super) since: u64,
    header: Template,
    /// What we wait for.
    next: u32,
    /// The other side has ended its half.
    heard_end: bool,
    sending: Sending,
    /// Our half ended before the other side's.
    ended_first: bool,
    talk: Conversation,
    phase: Phase,
    /// When the other side has taken too long.
    patience: u64,
    /// What our SYN says.
    offer: [u8; super::segment::OPTIONS_BYTES],
}

/// What connections share.
#[derive(Debug)]
pub(super) struct Shared<'a> {
    pub(super) now: u64,
    pub(super) site: &'a Site,
    pub(super) limits: &'a Limits,
    pub(super) memo: &'a mut Memo,
    pub(super) out: &'a mut Outlet,
    pub(super) said: &'a [u8; date::BYTES],
}

impl Connection {
    /// The answer to a SYN, sent.
    pub(super) fn open(
        syn: &Segment<'_>,
        station: [u8; 6],
        first: u32,
        shared: &mut Shared<'_>,
    ) -> Connection {
        let header = Template::answering(syn, station);
        let (size, scale) = syn.offers();
        let most = if header.is_six() { SEGMENT_SIX } else { SEGMENT_FOUR };
        let size = size.unwrap_or(SEGMENT_UNSAID).clamp(SEGMENT_LEAST, most);
        let mut made = Connection {
            peer: Peer { ip: syn.remote, port: syn.ports.0, local: syn.local },
            state: State::HalfOpen,
            since: shared.now,
            header,
            next: syn.sequence.wrapping_add(1),
            heard_end: false,
            sending: Sending::new(first, u32::from(size), scale.unwrap_or(0)),
            ended_first: false,
            talk: Conversation::default(),
            phase: Phase::Handshake,
            patience: shared.now.saturating_add(HANDSHAKE_NS),
            offer: options(most, scale.is_some()),
        };
        made.greet(shared);
        made
    }

    /// When something is due if nothing comes.
    pub(super) fn due(&self) -> u64 {
        self.patience.min(self.sending.timer.at())
    }

    /// Number that a SYN must be behind to take this one's place (RFC 9293 3.6.1).
    pub(super) fn awaited(&self) -> u32 {
        self.next
    }

    /// Whether so many segments are on their way.
    pub(super) fn has_in_flight(&self, segments: u32) -> bool {
        self.sending.has_in_flight(segments)
    }

    /// Something is due.
    pub(super) fn expire(&mut self, shared: &mut Shared<'_>) -> Fate {
        if shared.now >= self.sending.timer.at() {
            let there = self.sending.timer.over(shared.now);
            match self.state {
                State::HalfOpen if there => self.greet(shared),
                State::Open if there => {
                    self.sending.timed_out();
                    self.pump(shared);
                }
                State::Open => return self.reset(shared),
                State::HalfOpen => return Fate::Gone,
                State::Remembered => self.sending.timer.stop(),
            }
        }
        if shared.now < self.patience {
            return Fate::Stays;
        }
        match self.phase {
            _ if self.state != State::Open => Fate::Gone,
            Phase::Handshake | Phase::Response | Phase::Half => self.reset(shared),
            Phase::Idle | Phase::Request => {
                if let Some(answer) = self.talk.time_out(shared.site) {
                    queue(&mut self.sending, &answer, shared.said);
                }
                self.end();
                self.pump(shared);
                self.expect(false, shared);
                Fate::Stays
            }
        }
    }

    /// Sends what a full ring held back.
    pub(super) fn pump(&mut self, shared: &mut Shared<'_>) -> bool {
        self.sending.pump(shared.now, self.both(), &mut self.header, shared.out)
    }

    /// Ends it without a word more.
    pub(super) fn reset(&mut self, shared: &mut Shared<'_>) -> Fate {
        let fields = Fields { flags: RST | ACK, ..self.fields() };
        shared.out.send_bare(&mut self.header, fields, &[]);
        Fate::Gone
    }

    /// A segment of the other side.
    pub(super) fn arrived(&mut self, segment: &Segment<'_>, shared: &mut Shared<'_>) -> Fate {
        self.header.follow(segment.station);
        if segment.has(RST) {
            // RFC 5961, 3.2.
            if segment.sequence == self.next {
                return Fate::Gone;
            }
            if self.has_room_for(segment.sequence) {
                self.acknowledge(shared);
            }
            return Fate::Stays;
        }
        if segment.has(SYN) {
            match self.state {
                State::HalfOpen if segment.sequence.wrapping_add(1) == self.next => {
                    self.greet(shared);
                }
                // RFC 5961, 4.2.
                _ => self.acknowledge(shared),
            }
            return Fate::Stays;
        }
        if !segment.has(ACK) {
            return Fate::Stays;
        }
        if self.state == State::HalfOpen && !self.opens(segment, shared) {
            return Fate::Stays;
        }
        self.take(segment, shared)
    }

    /// Whether the third segment of the handshake is right; a wrong one is reset.
    fn opens(&mut self, segment: &Segment<'_>, shared: &mut Shared<'_>) -> bool {
        let right = segment.acknowledged == self.sending.next();
        if right {
            self.state = State::Open;
            self.sending.timer.stop();
            self.expect(false, shared);
        } else {
            let fields = Fields { flags: RST, ..self.fields() };
            let fields = Fields { sequence: segment.acknowledged, ..fields };
            shared.out.send_bare(&mut self.header, fields, &[]);
        }
        right
    }

    /// What a segment of an open connection says and carries.
    fn take(&mut self, segment: &Segment<'_>, shared: &mut Shared<'_>) -> Fate {
        let (data, end) = match self.in_order(segment) {
            Some(fresh) => fresh,
            None => {
                // Sent before, or behind a hole: RFC 9293 3.10.7.4, RFC 5681 4.2.
                if self.heard(segment, shared) != Acknowledged::Future {
                    self.pump(shared);
                }
                self.acknowledge(shared);
                return Fate::Stays;
            }
        };
        let heard = self.heard(segment, shared);
        if heard == Acknowledged::Future {
            self.acknowledge(shared);
            return Fate::Stays;
        }
        self.next = self.next.wrapping_add(data.len() as u32).wrapping_add(u32::from(end));
        self.heard_end |= end;
        self.listen(data, shared);
        let owes = end || !data.is_empty();
        let answered = self.pump(shared);
        if owes && !answered {
            self.acknowledge(shared);
        }
        self.expect(heard == Acknowledged::Progress, shared);
        self.fate(shared)
    }

    /// What becomes of it when both halves have ended.
    fn fate(&mut self, shared: &Shared<'_>) -> Fate {
        let over = self.sending.ends() && self.sending.is_done() && self.heard_end;
        match (over, self.ended_first) {
            (false, _) => Fate::Stays,
            (true, false) => Fate::Gone,
            (true, true) => {
                if self.state == State::Open {
                    self.state = State::Remembered;
                    self.since = shared.now;
                    self.patience = shared.now.saturating_add(REMEMBERED_NS);
                }
                Fate::Stays
            }
        }
    }

    /// The other side's acknowledgement.
    fn heard(&mut self, segment: &Segment<'_>, shared: &Shared<'_>) -> Acknowledged {
        let bare = segment.length() == 0;
        let said = (segment.acknowledged, segment.window);
        self.sending.acknowledged(said, bare, shared.now)
    }

    /// Data that we do not have yet, and whether the end comes behind it; `None` if it is none of
    /// what we wait for.
    fn in_order<'b>(&self, segment: &Segment<'b>) -> Option<(&'b [u8], bool)> {
        let known = self.next.wrapping_sub(segment.sequence);
        if known.cast_signed() < 0 || known > segment.length() {
            return None;
        }
        if known > 0 && known == segment.length() {
            return None;
        }
        if self.heard_end {
            // Nothing comes behind the end.
            return Some((&[], false));
        }
        let data = segment.payload.get(known as usize..).unwrap_or_default();
        let room = WINDOW.saturating_sub(self.talk.waiting());
        let fits = data.get(..room).unwrap_or(data);
        let whole = fits.len() == data.len();
        Some((fits, segment.has(FIN) && whole))
    }

    /// Answers what was said, as far as there is room.
    fn listen(&mut self, data: &[u8], shared: &mut Shared<'_>) {
        if self.state != State::Open || self.sending.ends() {
            return;
        }
        let Connection { talk, sending, .. } = self;
        if !data.is_empty() || talk.waiting() > 0 {
            let Shared { site, limits, memo, said, .. } = shared;
            let mut about = About { site, limits, memo };
            let room = sending.room();
            talk.hear(data, room, &mut about, |answer| queue(sending, &answer, said));
        }
        // Who has ended its half asks for nothing any more, unless something of it waits here.
        let all = self.sending.room() > 0;
        if self.talk.is_over() || (self.heard_end && all) {
            self.end();
        }
    }

    /// What the other side has to do next, and by when. What is begun has one deadline: a byte now
    /// and then does not move it; a response's moves as the client takes it.
    fn expect(&mut self, progress: bool, shared: &Shared<'_>) {
        let phase = match (self.sending.is_done(), self.sending.ends(), self.talk.has_begun()) {
            (false, _, _) => Phase::Response,
            (true, true, _) => Phase::Half,
            (true, false, true) => Phase::Request,
            (true, false, false) => Phase::Idle,
        };
        let same = core::mem::replace(&mut self.phase, phase) == phase;
        if same && !(phase == Phase::Response && progress) {
            return;
        }
        let nanoseconds = match phase {
            Phase::Response if self.sending.ends() => shared.limits.response_ns.min(ENDING_NS),
            Phase::Handshake | Phase::Response => shared.limits.response_ns,
            Phase::Half => HALF_NS,
            Phase::Request => shared.limits.request_ns,
            Phase::Idle => shared.limits.idle_ns,
        };
        self.patience = shared.now.saturating_add(nanoseconds);
    }

    fn end(&mut self) {
        if !self.sending.ends() {
            self.ended_first = !self.heard_end;
            self.sending.end();
        }
    }

    fn both(&self) -> Heard {
        let room = WINDOW.saturating_sub(self.talk.waiting());
        Heard { next: self.next, window: room as u16 }
    }

    fn fields(&self) -> Fields {
        let Heard { next, window } = self.both();
        Fields { sequence: self.sending.next(), acknowledged: next, flags: ACK, window }
    }

    fn acknowledge(&mut self, shared: &mut Shared<'_>) {
        let fields = self.fields();
        shared.out.send_bare(&mut self.header, fields, &[]);
    }

    /// Our SYN.
    fn greet(&mut self, shared: &mut Shared<'_>) {
        let fields = Fields { sequence: self.sending.una(), flags: SYN | ACK, ..self.fields() };
        shared.out.send_bare(&mut self.header, fields, &self.offer);
        self.sending.timer.start(shared.now);
    }

    fn has_room_for(&self, sequence: u32) -> bool {
        !before(sequence, self.next)
            && before(sequence, self.next.wrapping_add(u32::from(self.both().window)))
    }
}

fn queue(sending: &mut Sending, answer: &Answer, said: &[u8; date::BYTES]) {
    sending.queue(&answer.response, answer.body, *said);
}
