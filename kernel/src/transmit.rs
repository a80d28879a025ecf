//! The way out: guard the copy, send the copy, chain the rest.
//!
//! A library OS asks for transmission by filling slots of its ring. Of each slot the kernel reads
//! the length once and copies at most `GUARDED_BYTES_MAX` bytes; the guard sees that copy, and that
//! copy is what is sent, so that nothing that ring 3 writes meanwhile can undo the check. The rest
//! of the frame, which no guard looks at, is sent straight from the owner's pinned page.

use abi::Status;
use abi::books::Reason;
use abi::record::Verdict;
use abi::ring::{EVENT_TRANSMITTED, SLOT_DATA};
use machine::{Nic, NicError, TransmitId};
use verifier::BindingId;

use crate::Kernel;
use crate::fragment::{self, Fragment};
use crate::grant::GrantRecord;
use crate::limits::TRANSMIT_BATCH_MAX;
use crate::network::Sending;
use crate::ring::{Outgoing, Rings};

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
        let waiting = rings.waiting()? as usize;
        let (mut taken, mut sent) = (0, 0);
        for _ in 0..waiting.min(TRANSMIT_BATCH_MAX) {
            match self.transmit_slot(id) {
                Err(Unsent::Later) => {
                    self.hold_back(id);
                    break;
                }
                Err(Unsent::Refused(reason)) => self.refuse_slot(id, reason),
                Ok(()) => sent += 1,
            }
            taken += 1;
        }
        if sent > 0 {
            let network = &mut self.network;
            let binding = network.bindings.get_mut(&id);
            let picked_up = binding.and_then(|binding| {
                // A frame that the card reads from its owner's page is the owner's concern as well.
                let shared = network.sending.last().is_some_and(|it| it.frame.is_some());
                // Asked before the kick: what is done by then is seen by who looks after it, and
                // nobody sleeps before that (`Kernel::sleep`).
                if let Some(nic) = &mut network.nic
                    && (shared || binding.rings.as_ref().is_some_and(Rings::tells))
                {
                    nic.tell();
                }
                binding.picked_up.take()
            });
            self.kick();
            if let Some(at) = picked_up {
                self.latency(id.to_raw(), at);
            }
        }
        if taken == 0 && waiting > 0 { Err(Status::Busy) } else { Ok(taken) }
    }

    /// One slot: copy, check, guard, send, count.
    fn transmit_slot(&mut self, id: BindingId) -> Result<(), Unsent> {
        let network = &mut self.network;
        let binding = network.bindings.get_mut(&id).ok_or(Unsent::Later)?;
        let rings = binding.rings.as_mut().ok_or(Unsent::Later)?;
        let out = rings.peek(&mut network.header).map_err(Unsent::Refused)?;
        // At the frame's real length: what was not copied reads as zero, for nothing is ever
        // written to that part of the buffer.
        let frame = network.header.get(..out.length).unwrap_or_default();
        let grant = network.grants.get(&binding.grant);
        let allowed = grant.ok_or(Reason::Guard).and_then(|grant| let_out(grant, frame));
        let header = network.header.get(..out.copied).unwrap_or_default();
        let queued = match (allowed, network.nic.as_mut()) {
            (Err(reason), _) => Err(Unsent::Refused(reason)),
            (Ok(()), None) => Err(Unsent::Later),
            (Ok(()), Some(nic)) => queue(nic, header, rings, &out),
        };
        let sent = queued.map(|transmission| {
            binding.stats.transmitted += 1;
            let index = rings.take(false);
            let frame = out.rest().and_then(|_| rings.frame_of(&out.slot));
            network.sending.push(Sending { id: transmission, binding: id, index, frame });
            self.counters.tx.requested += 1;
            self.counters.tx.sent += 1;
        });
        if self.options.trace {
            self.trace_slot(id, &out, &sent);
        }
        sent
    }

    /// Says what became of a slot; one that has to wait is not worth a word.
    #[cold]
    fn trace_slot(&mut self, id: BindingId, out: &Outgoing, sent: &Result<(), Unsent>) {
        let verdict = match sent {
            Ok(()) => Verdict::Sent(id.to_raw()),
            Err(Unsent::Refused(reason)) => Verdict::Refused(*reason, id.to_raw()),
            Err(Unsent::Later) => return,
        };
        let copy = self.network.header.get(..out.copied).unwrap_or_default();
        let trace = self.copy_for_trace(copy);
        self.trace(verdict, trace);
    }

    /// The card has no room. The owner is told when there is some: what fills the card may all be
    /// somebody else's.
    #[cold]
    fn hold_back(&mut self, id: BindingId) {
        let network = &mut self.network;
        let Some(owner) = network.bindings.get(&id).map(|binding| binding.owner) else { return };
        let environments = &self.environments;
        network.held_back.retain(|held| *held != owner && environments.get(*held).is_some());
        network.held_back.push(owner);
        if let Some(nic) = &mut network.nic {
            nic.tell_of_room();
        }
    }

    /// Tells those whose slots found no room, once there is some.
    #[cold]
    pub(crate) fn tell_of_room(&mut self) {
        if self.network.nic.as_mut().is_some_and(|nic| nic.has_room_again()) {
            while let Some(owner) = self.network.held_back.pop() {
                self.post(owner, EVENT_TRANSMITTED);
            }
        }
    }

    fn refuse_slot(&mut self, id: BindingId, reason: Reason) {
        self.counters.tx.requested += 1;
        self.counters.refused(reason);
        if let Some(binding) = self.network.bindings.get_mut(&id) {
            binding.stats.refused += 1;
            if let Some(rings) = &mut binding.rings {
                rings.take(true);
            }
        }
    }
}

/// Hands the copy to the card, and the rest of the frame where it lies.
fn queue(
    nic: &mut Nic,
    header: &[u8],
    rings: &Rings,
    out: &Outgoing,
) -> Result<TransmitId, Unsent> {
    let page = rings.transmit.get(out.slot.page).ok_or(Unsent::Refused(Reason::Length))?;
    let offset = out.slot.offset + SLOT_DATA + out.copied;
    let rest = out.rest().map(|length| (&**page, offset, length));
    nic.transmit(header, rest).map_err(|error| match error {
        NicError::Full => Unsent::Later,
        NicError::TooLong => Unsent::Refused(Reason::Length),
    })
}

/// Whether a frame may leave under a grant.
///
/// # Errors
/// [`Reason::Fragment`], [`Reason::Guard`].
#[inline(always)]
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
