//! Receive and transmit rings: the kernel's side of pages that ring 3 writes at any moment.
//!
//! The kernel keeps its own indices and only ever writes them out; the library OS's index and each
//! slot's length are read once per use and checked against what the kernel knows. Whatever a
//! library OS writes there, it harms its own rings only. Layout: `abi::ring`.

use abi::Status;
use abi::books::Reason;
use abi::download::{SLOT_FLAGS, SLOT_PIPED, SLOT_SUMS};
use abi::limits::{FRAME_BYTES_MAX, GUARDED_BYTES_MAX, PAGE_BYTES, SLOT_BYTES};
use abi::ring::{
    RX_CONSUMED, RX_DROPPED, RX_PRODUCED, SLOT_DATA, SLOT_LENGTH, SLOTS_PER_PAGE, TX_COMPLETED,
    TX_PRODUCED,
};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use dpf::dilp::{NativePipe, fold};

use crate::pages::Memory;

/// The rings of one binding: frames by number, pinned while the binding lives.
#[derive(Debug)]
pub(crate) struct Rings {
    pub(crate) control: u64,
    pub(crate) receive: Vec<u64>,
    pub(crate) transmit: Vec<u64>,
    produced: u32,
    dropped: u32,
    taken: u32,
    completed: u32,
    /// Slots taken and not yet completed, oldest first: whether the card is done with each.
    outstanding: VecDeque<bool>,
}

/// Where a slot lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The frame's number.
    pub(crate) frame: u64,
    /// Offset of the slot in its page.
    pub(crate) offset: usize,
}

/// A frame to transmit, as far as it was copied.
pub(crate) struct Outgoing {
    pub(crate) slot: Slot,
    /// The frame's whole length.
    pub(crate) length: usize,
    /// Bytes in the copy.
    pub(crate) copied: usize,
}

impl Rings {
    /// Rings over these pages. Reserves all memory that they will need.
    pub(crate) fn new(control: u64, receive: Vec<u64>, transmit: Vec<u64>) -> Rings {
        let slots = transmit.len() * SLOTS_PER_PAGE;
        Rings {
            control,
            receive,
            transmit,
            produced: 0,
            dropped: 0,
            taken: 0,
            completed: 0,
            outstanding: VecDeque::with_capacity(slots),
        }
    }

    /// Whether there is a receive ring.
    pub(crate) fn receives(&self) -> bool {
        !self.receive.is_empty()
    }

    /// Every frame, once per use.
    pub(crate) fn frames(&self) -> impl Iterator<Item = u64> {
        let pages = self.receive.iter().chain(&self.transmit).copied();
        core::iter::once(self.control).chain(pages)
    }

    /// Writes the kernel's indices out, when the binding begins.
    pub(crate) fn reset(&self, memory: &Memory) {
        for (offset, value) in
            [(RX_PRODUCED, self.produced), (TX_COMPLETED, self.completed), (RX_DROPPED, 0)]
        {
            self.store(memory, offset, value);
        }
    }

    /// Moves a frame into the next receive slot: as it is, or through a pipe.
    ///
    /// # Errors
    /// [`Reason::NoRing`], [`Reason::RingFull`], [`Reason::RingCorrupt`].
    pub(crate) fn deliver(
        &mut self,
        memory: &Memory,
        frame: &[u8],
        pipe: Option<&NativePipe>,
    ) -> Result<(), Reason> {
        let capacity = slots(&self.receive);
        let control = memory.frame(self.control).ok_or(Reason::NoRing)?;
        let waiting = self.produced.wrapping_sub(control.load_u32(RX_CONSUMED));
        if capacity == 0 {
            return Err(Reason::NoRing);
        }
        if waiting >= capacity {
            self.dropped = self.dropped.wrapping_add(1);
            control.store_u32(RX_DROPPED, self.dropped);
            let full = waiting == capacity;
            return Err(if full { Reason::RingFull } else { Reason::RingCorrupt });
        }
        let slot = slot(&self.receive, self.produced).ok_or(Reason::NoRing)?;
        let page = memory.frame(slot.frame).ok_or(Reason::NoRing)?;
        let bytes = frame.get(..frame.len().min(FRAME_BYTES_MAX)).unwrap_or_default();
        match pipe {
            Some(pipe) => {
                let sums = page.pipe(slot.offset + SLOT_DATA, bytes, pipe.code());
                for (place, sum) in sums.into_iter().enumerate() {
                    page.store_u32(slot.offset + SLOT_SUMS + 4 * place, fold(sum).into());
                }
                page.store_u32(slot.offset + SLOT_FLAGS, SLOT_PIPED);
            }
            None => {
                page.write(slot.offset + SLOT_DATA, bytes);
                page.store_u32(slot.offset + SLOT_FLAGS, 0);
            }
        }
        page.store_u32(slot.offset + SLOT_LENGTH, bytes.len() as u32);
        self.produced = self.produced.wrapping_add(1);
        control.store_u32(RX_PRODUCED, self.produced);
        Ok(())
    }

    /// Packets that the library OS has not taken out yet, as far as its index makes sense.
    pub(crate) fn unread(&self, memory: &Memory) -> u32 {
        let Some(control) = memory.frame(self.control) else { return 0 };
        let waiting = self.produced.wrapping_sub(control.load_u32(RX_CONSUMED));
        waiting.min(slots(&self.receive))
    }

    /// How many slots are waiting to be transmitted.
    ///
    /// # Errors
    /// [`Status::RingCorrupt`] if the library OS's index is ahead of what its ring holds;
    /// [`Status::BadArgument`] if there is no transmit ring.
    pub(crate) fn waiting(&self, memory: &Memory) -> Result<u32, Status> {
        let capacity = slots(&self.transmit);
        let control = memory.frame(self.control).ok_or(Status::RingCorrupt)?;
        if capacity == 0 {
            return Err(Status::BadArgument);
        }
        let waiting = control.load_u32(TX_PRODUCED).wrapping_sub(self.taken);
        let outstanding = self.outstanding.len() as u32;
        if waiting > capacity - outstanding.min(capacity) {
            return Err(Status::RingCorrupt);
        }
        Ok(waiting)
    }

    /// Reads the next waiting slot: its length once, and its first bytes into `header`.
    ///
    /// # Errors
    /// [`Reason::Length`] if the length is none that a frame can have.
    pub(crate) fn peek(
        &self,
        memory: &Memory,
        header: &mut [u8; FRAME_BYTES_MAX],
    ) -> Result<Outgoing, Reason> {
        let slot = slot(&self.transmit, self.taken).ok_or(Reason::Length)?;
        let page = memory.frame(slot.frame).ok_or(Reason::Length)?;
        let length = page.load_u32(slot.offset + SLOT_LENGTH) as usize;
        if !is_frame_length(length) {
            return Err(Reason::Length);
        }
        let copied = length.min(GUARDED_BYTES_MAX);
        page.read(slot.offset + SLOT_DATA, header.get_mut(..copied).ok_or(Reason::Length)?);
        Ok(Outgoing { slot, length, copied })
    }

    /// Takes the waiting slot: `done` at once, or when the card says so. Returns its index.
    pub(crate) fn take(&mut self, memory: &Memory, done: bool) -> u32 {
        let index = self.taken;
        self.taken = index.wrapping_add(1);
        self.outstanding.push_back(done);
        if done {
            self.complete(memory, index);
        }
        index
    }

    /// The card is done with a slot. Completions reach the library OS in ring order.
    pub(crate) fn complete(&mut self, memory: &Memory, index: u32) {
        let at = index.wrapping_sub(self.completed) as usize;
        if let Some(done) = self.outstanding.get_mut(at) {
            *done = true;
        }
        while self.outstanding.front() == Some(&true) {
            self.outstanding.pop_front();
            self.completed = self.completed.wrapping_add(1);
        }
        self.store(memory, TX_COMPLETED, self.completed);
    }

    fn store(&self, memory: &Memory, offset: usize, value: u32) {
        if let Some(control) = memory.frame(self.control) {
            control.store_u32(offset, value);
        }
    }
}

/// Whether a frame can be that long.
pub(crate) fn is_frame_length(bytes: usize) -> bool {
    (abi::limits::FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&bytes)
}

fn slots(pages: &[u64]) -> u32 {
    (pages.len() * SLOTS_PER_PAGE) as u32
}

/// Slot `index` of a ring; a power of two of pages makes the free-running index fit.
fn slot(pages: &[u64], index: u32) -> Option<Slot> {
    let place = index.checked_rem(slots(pages))? as usize;
    let frame = *pages.get(place / SLOTS_PER_PAGE)?;
    Some(Slot { frame, offset: place % SLOTS_PER_PAGE * SLOT_BYTES })
}

const _: () = assert!(SLOT_DATA + FRAME_BYTES_MAX <= SLOT_BYTES);
const _: () = assert!(SLOTS_PER_PAGE * SLOT_BYTES == PAGE_BYTES);

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
