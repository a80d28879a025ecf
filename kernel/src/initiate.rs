//! What handlers begin of their own accord: copies that they send, owners that they wake.
//!
//! A handler's helpers reach an [`Outbox`] that lives for one run. A copy is guarded and handed to
//! the card at once, since the packet may change afterwards: its first bytes in the card's own
//! buffer, the rest in a staging slot that is busy until the card is done. Waking is only noted,
//! and done when the run is over. Both are bounded: [`COPIES_PER_RUN_MAX`] copies of a run, each
//! charged beyond the run's own cost, and no more at a time than there are staging slots; one wake.
//!
//! A copy counts as a transmission that was asked for: sent, or refused with a reason.

use abi::books::Reason;
use abi::download::COPIES_PER_RUN_MAX;
use abi::limits::{GUARDED_BYTES_MAX, PAGE_BYTES, SLOT_BYTES};
use abi::map::LINES_PER_RUN_MAX;
use abi::record::{Record, Verdict};
use abi::ring::EVENT_MESSAGE;
use abi::upcall::Kind;
use alloc::vec::Vec;
use machine::{Frame, Nic, NicError, TransmitId};
use runtime::effects::Effects;
use runtime::print::LINE_BYTES_MAX;
use verifier::BindingId;

use crate::Kernel;
use crate::charge::Allowance;
use crate::environment::EnvironmentId;
use crate::grant::GrantRecord;
use crate::limits::{COPY_COST, HEAP_HEADROOM, LINE_COST, STAGING_FRAMES};
use crate::pages::Memory;
use crate::transmit::let_out;
use crate::upcall::Cause;

/// Slots in a staging frame.
const SLOTS_PER_FRAME: usize = PAGE_BYTES / SLOT_BYTES;

/// Where the card reads copies from, and which of them it still does.
#[derive(Debug, Default)]
pub(crate) struct Staging {
    frames: Vec<Frame>,
    /// Copies with the card, and the slot that each keeps busy.
    sending: Vec<(TransmitId, Option<usize>)>,
}

impl Staging {
    /// Slots in frames of the kernel's own; none without a card.
    pub(crate) fn new(memory: &mut Memory, card: bool) -> Staging {
        let wanted = if card { STAGING_FRAMES } else { 0 };
        let frames: Vec<Frame> = (0..wanted).map_while(|_| memory.take_one()).collect();
        let sending = Vec::with_capacity(frames.len() * SLOTS_PER_FRAME);
        Staging { frames, sending }
    }

    /// Copies with the card.
    pub(crate) fn in_flight(&self) -> usize {
        self.sending.len()
    }

    /// The card is done with a transmission; whether it was one of these.
    pub(crate) fn complete(&mut self, id: TransmitId) -> bool {
        let known = self.sending.iter().position(|(sending, _)| *sending == id);
        known.map(|at| self.sending.swap_remove(at)).is_some()
    }

    /// Hands a frame to the card.
    fn send(&mut self, nic: &mut Nic, frame: &[u8]) -> Result<(), Reason> {
        let slots = self.frames.len() * SLOTS_PER_FRAME;
        if self.sending.len() >= slots {
            return Err(Reason::CardFull);
        }
        let (header, rest) = frame.split_at(frame.len().min(GUARDED_BYTES_MAX));
        let taken = |slot: &usize| self.sending.iter().any(|(_, used)| *used == Some(*slot));
        let slot = (0..slots).find(|slot| !taken(slot)).filter(|_| !rest.is_empty());
        let place = slot.and_then(|slot| {
            let page = self.frames.get(slot / SLOTS_PER_FRAME)?;
            let offset = slot % SLOTS_PER_FRAME * SLOT_BYTES;
            page.write(offset, rest);
            Some((page, offset, rest.len()))
        });
        let id = nic.transmit(header, place).map_err(|error| match error {
            NicError::Full => Reason::CardFull,
            NicError::TooLong => Reason::Length,
        })?;
        // No slot stays busy longer than it must.
        nic.tell();
        self.sending.push((id, slot));
        Ok(())
    }
}

/// What one run may do, and what it did.
pub(crate) struct Outbox<'a> {
    pub(crate) nic: Option<&'a mut Nic>,
    pub(crate) staging: &'a mut Staging,
    pub(crate) grant: Option<&'a GrantRecord>,
    pub(crate) payer: Option<&'a mut Allowance>,
    /// Copies of sent frames are kept, for the host's trace.
    pub(crate) keep: bool,
    pub(crate) done: Done,
}

/// What one run did.
#[derive(Debug, Default)]
pub(crate) struct Done {
    woken: Option<u64>,
    tried: u32,
    sent: u32,
    refused: [Option<Reason>; COPIES_PER_RUN_MAX as usize],
    /// Asked for beyond the limit.
    beyond: u64,
    kept: Vec<Vec<u8>>,
    /// Lines for the owner's log.
    lines: Vec<Vec<u8>>,
    /// Lines that were too many, or not paid for.
    lines_lost: u64,
}

impl Done {
    /// Whether there is anything to settle.
    pub(crate) fn is_something(&self) -> bool {
        self.tried > 0 || self.woken.is_some() || !self.lines.is_empty() || self.lines_lost > 0
    }
}

impl Outbox<'_> {
    fn send(&mut self, frame: &[u8]) -> Result<(), Reason> {
        let payer = self.payer.as_mut().ok_or(Reason::OwnerBroke)?;
        if !payer.take(COPY_COST) {
            return Err(Reason::OwnerBroke);
        }
        let_out(self.grant.ok_or(Reason::Guard)?, frame)?;
        self.staging.send(self.nic.as_mut().ok_or(Reason::CardFull)?, frame)
    }
}

impl Effects for Outbox<'_> {
    fn wake(&mut self, argument: u64) {
        self.done.woken = Some(argument);
    }

    fn print(&mut self, line: &[u8]) {
        let room = machine::heap::free_bytes() > HEAP_HEADROOM;
        let fits = self.done.lines.len() < LINES_PER_RUN_MAX && room;
        if fits && self.payer.as_mut().is_some_and(|payer| payer.take(LINE_COST)) {
            self.done.lines.push(line.to_vec());
        } else {
            self.done.lines_lost += 1;
        }
    }

    fn send_copy(&mut self, frame: &[u8]) -> bool {
        let tried = self.done.tried;
        if tried >= COPIES_PER_RUN_MAX {
            self.done.beyond += 1;
            return false;
        }
        self.done.tried = tried + 1;
        match self.send(frame) {
            Ok(()) => {
                self.done.sent += 1;
                if self.keep {
                    self.done.kept.push(frame.to_vec());
                }
                true
            }
            Err(reason) => {
                if let Some(place) = self.done.refused.get_mut(tried as usize) {
                    *place = Some(reason);
                }
                false
            }
        }
    }
}

impl Kernel {
    /// Books what a run did, and wakes its owner if it asked for that.
    pub(crate) fn settle(&mut self, id: BindingId, owner: EnvironmentId, done: Done) {
        let refused = done.refused.iter().flatten().count() as u64 + done.beyond;
        let tx = &mut self.counters.tx;
        tx.requested += u64::from(done.sent) + refused;
        tx.sent += u64::from(done.sent);
        done.refused.iter().flatten().for_each(|&reason| self.counters.refused(reason));
        if let Some(count) = self.counters.tx.refused.get_mut(Reason::CopyLimit as usize) {
            *count += done.beyond;
        }
        if let Some(binding) = self.network.bindings.get_mut(&id) {
            binding.stats.initiated += u64::from(done.sent);
            binding.stats.refused += refused;
            binding.stats.charged += u64::from(done.tried) * u64::from(COPY_COST);
            binding.stats.woken += u64::from(done.woken.is_some());
        }
        for line in done.lines {
            let (binding, environment) = (id.to_raw(), owner.0);
            let record = || Record::Printed { binding, environment, line };
            self.channel.emit(LINE_BYTES_MAX + 32, record);
        }
        (0..done.lines_lost).for_each(|_| self.channel.lose());
        for frame in done.kept {
            self.trace(Verdict::Sent(id.to_raw()), Some(frame));
        }
        if let Some(argument) = done.woken {
            let cause = Cause { detail: id.to_raw(), argument, ..Cause::default() };
            if !self.raise(owner, Kind::Message, cause) {
                self.post(owner, EVENT_MESSAGE);
            }
        }
    }
}
