//! The way out: guard the copy, send the copy, chain the rest.
//!
//! A library OS asks for transmission by filling slots of its ring. Of each slot the kernel reads
//! the length once and copies at most `GUARDED_BYTES_MAX` bytes; the guard sees that copy, and that
//! copy is what is sent, so that nothing that ring 3 writes meanwhile can undo the check. The rest
//! of the frame, which no guard looks at, is sent straight from the owner's pinned page.

use abi::Status;
use abi::books::Reason;
use abi::record::Verdict;
use abi::ring::SLOT_DATA;
use machine::{NicError, TransmitId};
use verifier::BindingId;

use crate::Kernel;
use crate::fragment::{self, Fragment};
use crate::grant::GrantRecord;
use crate::limits::TRANSMIT_BATCH_MAX;
use crate::network::Sending;
use crate::ring::Outgoing;

/// Why a slot was not sent.
enum Unsent {
    /// The card has no room; the slot stays.
    Later,
    /// It never will be; the slot is taken and counted.
    Refused(Reason),
}

impl Kernel {
    /// Takes slots from a binding's transmit ring until it is empty, the card is full, or the batch
    /// is done; how many.
    ///
    /// # Errors
    /// [`Status::RingCorrupt`], [`Status::BadArgument`] (no ring), [`Status::NoDevice`],
    /// [`Status::Busy`] if the card took none of those that wait.
    pub(crate) fn transmit(&mut self, id: BindingId) -> Result<u64, Status> {
        if self.network.nic.is_none() {
            return Err(Status::NoDevice);
        }
        let binding = self.network.bindings.get(&id).ok_or(Status::BadHandle)?;
        let rings = binding.rings.as_ref().ok_or(Status::BadArgument)?;
        let waiting = rings.waiting(&self.memory)? as usize;
        let (mut taken, mut sent) = (0, 0);
        for _ in 0..waiting.min(TRANSMIT_BATCH_MAX) {
            match self.transmit_slot(id) {
                Err(Unsent::Later) => break,
                Err(Unsent::Refused(reason)) => self.refuse_slot(id, reason),
                Ok(()) => sent += 1,
            }
            taken += 1;
        }
        if sent > 0 {
            self.kick();
            let picked_up =
                self.network.bindings.get_mut(&id).and_then(|binding| binding.picked_up.take());
            if let Some(at) = picked_up {
                self.latency(id.to_raw(), at);
            }
        }
        if taken == 0 && waiting > 0 { Err(Status::Busy) } else { Ok(taken) }
    }

    /// One slot: copy, check, guard, send.
    fn transmit_slot(&mut self, id: BindingId) -> Result<(), Unsent> {
        let network = &mut self.network;
        let rings = network.bindings.get(&id).and_then(|binding| binding.rings.as_ref());
        let rings = rings.ok_or(Unsent::Later)?;
        let out = rings.peek(&self.memory, &mut network.header).map_err(Unsent::Refused)?;
        let allowed = self.guard_header(id, &out);
        let queued = allowed.and_then(|()| self.queue(&out));
        if let Err(Unsent::Refused(reason)) = queued {
            let copy = self.network.header.get(..out.copied).unwrap_or_default();
            let trace = self.copy_for_trace(copy);
            self.trace(Verdict::Refused(reason, id.to_raw()), trace);
        }
        queued.map(|transmission| self.sent(id, &out, transmission))
    }

    /// The guard over the copied header, at the frame's real length: what was not copied reads as
    /// zero, for nothing is ever written to that part of the buffer.
    fn guard_header(&self, id: BindingId, out: &Outgoing) -> Result<(), Unsent> {
        let frame = self.network.header.get(..out.length).unwrap_or_default();
        self.guard(id, frame).map_err(Unsent::Refused)
    }

    /// Hands the copy to the card, and the rest of the frame where it lies.
    fn queue(&mut self, out: &Outgoing) -> Result<TransmitId, Unsent> {
        let network = &mut self.network;
        let header = network.header.get(..out.copied).unwrap_or_default();
        let page = self.memory.frame(out.slot.frame).ok_or(Unsent::Refused(Reason::Length))?;
        let offset = out.slot.offset + SLOT_DATA + out.copied;
        let rest = out.rest().map(|length| (page, offset, length));
        let nic = network.nic.as_mut().ok_or(Unsent::Later)?;
        nic.transmit(header, rest).map_err(|error| match error {
            NicError::Full => Unsent::Later,
            NicError::TooLong => Unsent::Refused(Reason::Length),
        })
    }

    /// Counts a slot that the card has taken, and remembers whose it is.
    fn sent(&mut self, id: BindingId, out: &Outgoing, transmission: TransmitId) {
        self.counters.tx.requested += 1;
        self.counters.tx.sent += 1;
        if let Some(binding) = self.network.bindings.get_mut(&id) {
            binding.stats.transmitted += 1;
            if let Some(rings) = &mut binding.rings {
                let index = rings.take(&self.memory, false);
                let frame = out.rest().map(|_| out.slot.frame);
                self.network.sending.push(Sending { id: transmission, binding: id, index, frame });
            }
        }
        let copy = self.network.header.get(..out.copied).unwrap_or_default();
        let trace = self.copy_for_trace(copy);
        self.trace(Verdict::Sent(id.to_raw()), trace);
    }

    fn refuse_slot(&mut self, id: BindingId, reason: Reason) {
        self.counters.tx.requested += 1;
        self.counters.refused(reason);
        if let Some(binding) = self.network.bindings.get_mut(&id) {
            binding.stats.refused += 1;
            if let Some(rings) = &mut binding.rings {
                rings.take(&self.memory, true);
            }
        }
    }

    /// Whether a frame may leave for this binding: no fragment, and inside its grant's transmit
    /// space.
    ///
    /// # Errors
    /// [`Reason::Fragment`], [`Reason::Guard`].
    pub(crate) fn guard(&self, id: BindingId, frame: &[u8]) -> Result<(), Reason> {
        let binding = self.network.bindings.get(&id).ok_or(Reason::Guard)?;
        let grant = self.network.grants.get(&binding.grant).ok_or(Reason::Guard)?;
        let_out(grant, frame)
    }
}

/// Whether a frame may leave under a grant.
///
/// # Errors
/// [`Reason::Fragment`], [`Reason::Guard`].
pub(crate) fn let_out(grant: &GrantRecord, frame: &[u8]) -> Result<(), Reason> {
    match &grant.guard {
        _ if fragment::of(frame) != Fragment::No => Err(Reason::Fragment),
        Some(guard) if !guard.accepts(frame) => Err(Reason::Guard),
        _ => Ok(()),
    }
}

impl Outgoing {
    /// Bytes of the frame that were not copied; none if there are none.
    fn rest(&self) -> Option<usize> {
        self.length.checked_sub(self.copied).filter(|&rest| rest > 0)
    }
}
