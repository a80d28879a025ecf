//! The way out: headers, and what lies prepared behind them, into the transmit ring.

use libos::Rings;
use libos::Status;
use libos::rings::SendError;

use super::segment::{Fields, Template};
use crate::http::Piece;

/// A transmit ring, and what became of segments.
#[derive(Debug)]
pub(super) struct Outlet {
    rings: Rings,
    dirty: bool,
    /// Somebody found the ring full.
    full: bool,
    /// Segments that the kernel did not take.
    pub(super) not_sent: u64,
    /// Segments that were sent, and those without data among them.
    pub(super) sent: u64,
    /// See [`Outlet::sent`].
    pub(super) bare: u64,
}

impl Outlet {
    pub(super) fn new(rings: Rings) -> Outlet {
        Outlet { rings, dirty: false, full: false, not_sent: 0, sent: 0, bare: 0 }
    }

    /// The rings, to receive from.
    pub(super) fn rings(&mut self) -> &mut Rings {
        &mut self.rings
    }

    /// Whether there is room for a segment; if not, that is remembered.
    pub(super) fn room(&mut self) -> bool {
        if self.rings.can_send() {
            return true;
        }
        self.flush();
        let room = self.rings.can_send();
        self.full |= !room;
        room
    }

    /// Whether somebody found it full since this was asked last.
    pub(super) fn was_full(&mut self) -> bool {
        core::mem::take(&mut self.full)
    }

    /// A piece of a response.
    pub(super) fn send(&mut self, header: &mut Template, fields: Fields, piece: &Piece<'_>) {
        let headers = header.headers(fields, 0, (piece.bytes(), piece.sum));
        let pushed = match &piece.date {
            None => self.rings.push_parts(&[headers, piece.head, piece.body]),
            Some((at, date)) => {
                let (before, rest) = piece.head.split_at_checked(*at).unwrap_or_default();
                let date = date.get(..rest.len().min(date.len())).unwrap_or_default();
                let after = rest.get(date.len()..).unwrap_or_default();
                self.rings.push_parts(&[headers, before, date, after, piece.body])
            }
        };
        self.count(pushed);
    }

    /// A segment without data, or a SYN with these options.
    pub(super) fn send_bare(&mut self, header: &mut Template, fields: Fields, options: &[u8]) {
        if !self.room() {
            // As if the wire had lost it.
            self.not_sent += 1;
            return;
        }
        let sum = crate::checksum::sum(options);
        let headers = header.headers(fields, options.len(), (0, sum));
        let pushed = self.rings.push_parts(&[headers, options]);
        self.bare += 1;
        self.count(pushed);
    }

    fn count(&mut self, pushed: Result<(), SendError>) {
        match pushed {
            Ok(()) => {
                self.sent += 1;
                self.dirty = true;
            }
            Err(_) => self.not_sent += 1,
        }
    }

    /// Hands what was put into the ring to the kernel.
    pub(super) fn flush(&mut self) {
        if !self.dirty {
            return;
        }
        match self.rings.flush_all() {
            Ok(()) => self.dirty = false,
            // The card is behind: again when it says that something is out.
            Err(SendError::Kernel { status: Status::Busy }) => {}
            Err(_) => self.dirty = false,
        }
    }
}
