//! The network card and the console as queues in memory.

use super::memory::Frame;
use super::script::raise_nic;
use crate::limits::{
    FRAME_MAX, HEADROOM, NET_HEADER, NIC_QUEUE, TRANSMIT_HEADER_MAX, TRANSMIT_SLOTS,
};
use crate::memory::PAGE;
use crate::wire::{InFlight, NicError, TransmitId};
use runtime::PacketBuffer;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
struct Queues {
    to_guest: VecDeque<Vec<u8>>,
    from_guest: Vec<Vec<u8>>,
    transmitting: VecDeque<TransmitId>,
    stalled: bool,
    malformed: u64,
    kicks: u64,
    replies: usize,
    /// Somebody wants to be told of room.
    awaited: bool,
}

/// The far side of the card: a test's end of the cable.
#[derive(Clone, Default)]
pub struct Wire(Arc<Mutex<Queues>>);

impl Wire {
    /// Sends a frame to the kernel and raises the card's interrupt.
    pub fn send(&self, frame: &[u8]) {
        self.queues().to_guest.push_back(frame.to_vec());
        raise_nic();
    }

    /// Takes every frame that the kernel has sent.
    pub fn sent(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.queues().from_guest)
    }

    /// While stalled the card completes no transmission, so that its queue fills.
    pub fn stall(&self, stalled: bool) {
        let mut queues = self.queues();
        queues.stalled = stalled;
        if !stalled && queues.awaited {
            queues.replies = 0;
            raise_nic();
        }
    }

    /// Counts used-ring entries that the kernel's driver would have refused.
    pub fn misbehave(&self, times: u64) {
        self.queues().malformed += times;
    }

    /// How often the kernel has notified the card.
    pub fn kicks(&self) -> u64 {
        self.queues().kicks
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The network card.
pub struct Nic {
    wire: Wire,
    next: u64,
    held: usize,
}

impl Nic {
    pub(super) fn new() -> Self {
        Self { wire: Wire::default(), next: 0, held: 0 }
    }

    /// The other end of the cable.
    pub fn wire(&self) -> Wire {
        self.wire.clone()
    }

    /// The card's address.
    pub fn mac(&self) -> [u8; 6] {
        [0x52, 0x54, 0, 0x12, 0x34, 0x56]
    }

    /// Whether `receive` or `completed` would find something.
    pub fn pending(&self) -> bool {
        let queues = self.wire.queues();
        let watched = queues.awaited || !queues.transmitting.is_empty();
        !queues.to_guest.is_empty() || (!queues.stalled && watched)
    }

    /// Takes one received frame.
    pub fn receive(&mut self) -> Option<Received> {
        let frame = self.wire.queues().to_guest.pop_front()?;
        self.held += 1;
        let len = frame.len().min(FRAME_MAX);
        let mut bytes = vec![0; HEADROOM + FRAME_MAX];
        bytes[HEADROOM..HEADROOM + len].copy_from_slice(&frame[..len]);
        Some(Received { bytes, start: HEADROOM, len })
    }

    /// Sends a received frame back in its own buffer. It is given back when the queue is full.
    pub fn reply(&mut self, received: Received) -> Result<(), Received> {
        let mut queues = self.wire.queues();
        if queues.stalled && queues.replies >= NIC_QUEUE {
            return Err(received);
        }
        queues.replies = if queues.stalled { queues.replies + 1 } else { 0 };
        queues.from_guest.push(received.frame().to_vec());
        drop(queues);
        self.held -= 1;
        Ok(())
    }

    /// Gives a received frame's buffer back to the card.
    pub fn recycle(&mut self, received: Received) {
        drop(received);
        self.held -= 1;
    }

    /// Sends a copied header and, after it, part of a frame that the caller keeps until
    /// [`Nic::completed`] has returned the identifier.
    pub fn transmit(
        &mut self,
        header: &[u8],
        rest: Option<(&Frame, usize, usize)>,
    ) -> Result<TransmitId, NicError> {
        let (offset, len) = rest.map_or((0, 0), |(_, offset, len)| (offset, len));
        let fits = offset <= PAGE && len <= PAGE - offset && header.len() <= TRANSMIT_HEADER_MAX;
        if !fits || header.len() + len > FRAME_MAX || header.len() + len == 0 {
            return Err(NicError::TooLong);
        }
        let mut queues = self.wire.queues();
        let full = queues.replies + queues.transmitting.len() >= NIC_QUEUE;
        if full || queues.transmitting.len() >= TRANSMIT_SLOTS {
            return Err(NicError::Full);
        }
        let mut bytes = header.to_vec();
        bytes.resize(header.len() + len, 0);
        if let Some((frame, offset, _)) = rest {
            frame.read(offset, &mut bytes[header.len()..]);
        }
        queues.from_guest.push(bytes);
        let id = TransmitId(self.next);
        self.next += 1;
        queues.transmitting.push_back(id);
        Ok(id)
    }

    /// An interrupt, please, when what is being transmitted is done.
    pub fn tell(&mut self) {}

    /// An interrupt, please, when there is room: a transmission found none.
    pub fn tell_of_room(&mut self) {
        self.wire.queues().awaited = true;
    }

    /// Whether there is room again for who asked to be told.
    pub fn has_room_again(&mut self) -> bool {
        let mut queues = self.wire.queues();
        !queues.stalled && std::mem::take(&mut queues.awaited)
    }

    /// Collects what the card has sent; whether [`Nic::completed`] would find something.
    pub fn finish(&mut self) -> bool {
        let queues = self.wire.queues();
        !queues.stalled && !queues.transmitting.is_empty()
    }

    /// The next transmission that is done, if any.
    pub fn completed(&mut self) -> Option<TransmitId> {
        let mut queues = self.wire.queues();
        if queues.stalled { None } else { queues.transmitting.pop_front() }
    }

    /// Tells the card about what there is to send: it is sent at once here.
    pub fn kick_transmit(&mut self) {}

    /// Tells the card about everything queued since the last kick.
    pub fn kick(&mut self) {
        self.wire.queues().kicks += 1;
    }

    /// Acknowledges the card's interrupt.
    pub fn acknowledge(&mut self) {}

    /// Used-ring entries that were refused.
    pub fn malformed(&self) -> u64 {
        self.wire.queues().malformed
    }

    /// Whether the card broke its contract so badly that it is not used any more: never, here.
    pub fn broken(&self) -> bool {
        false
    }

    /// Where the buffers are.
    pub fn in_flight(&self) -> InFlight {
        let queues = self.wire.queues();
        InFlight {
            receive: NIC_QUEUE - self.held.min(NIC_QUEUE),
            held: self.held,
            replies: queues.replies,
            transmit: queues.transmitting.len(),
        }
    }
}

/// One received frame in its buffer.
#[must_use = "give it back with Nic::recycle or Nic::reply"]
pub struct Received {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Received {
    /// The frame's bytes.
    pub fn frame(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }

    /// The frame's bytes, to be changed in place.
    pub fn frame_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }

    /// The frame in its buffer, as programs want it.
    pub fn buffer(&mut self) -> PacketBuffer<'_> {
        match PacketBuffer::new(&mut self.bytes, self.start, self.len) {
            Some(buffer) => buffer,
            None => unreachable!("a received frame lies in its buffer"),
        }
    }

    /// The frame lies elsewhere in its buffer now: a program moved its ends. A place with no room
    /// for it changes nothing.
    pub fn adopt(&mut self, start: usize, len: usize) {
        let end = start.checked_add(len).filter(|end| *end <= self.bytes.len());
        if start >= NET_HEADER && end.is_some() {
            (self.start, self.len) = (start, len);
        }
    }

    /// The frame's length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the frame has no byte at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The console: what is written to it can be read back.
#[derive(Default)]
pub struct Console {
    written: Arc<Mutex<Vec<u8>>>,
}

impl Console {
    /// Writes bytes and says how many were taken.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        bytes.len()
    }

    /// Used-ring ids that were refused: none, here.
    pub fn malformed(&self) -> u64 {
        0
    }

    /// Where written bytes go, for tests.
    pub fn written(&self) -> Arc<Mutex<Vec<u8>>> {
        self.written.clone()
    }
}
