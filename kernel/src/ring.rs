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
    TX_PRODUCED, TX_QUIET,
};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use dpf::dilp::{NativePipe, fold};
use machine::Pinned;

/// The rings of one binding: its pages, which stay where they are while it lives.
#[derive(Debug)]
pub(crate) struct Rings {
    pub(crate) control: Pinned,
    pub(crate) receive: Vec<Pinned>,
    pub(crate) transmit: Vec<Pinned>,
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
    /// Which page of its ring.
    pub(crate) page: usize,
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
    pub(crate) fn new(control: Pinned, receive: Vec<Pinned>, transmit: Vec<Pinned>) -> Rings {
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
        let pages = self.receive.iter().chain(&self.transmit);
        core::iter::once(&self.control).chain(pages).map(|page| page.number().0)
    }

    /// Whether the library OS is to be told of the next completion: it has not said that it does
    /// not care, or it can do nothing until then.
    pub(crate) fn tells(&self) -> bool {
        let produced = self.control.load_u32(TX_PRODUCED);
        let full = produced.wrapping_sub(self.completed) >= slots(&self.transmit);
        full || produced != self.taken || self.control.load_u32(TX_QUIET) == 0
    }

    /// The frame that a transmit slot lies in.
    pub(crate) fn frame_of(&self, slot: &Slot) -> Option<u64> {
        self.transmit.get(slot.page).map(|page| page.number().0)
    }

    /// Writes the kernel's indices out, when the binding begins.
    pub(crate) fn reset(&self) {
        for (offset, value) in
            [(RX_PRODUCED, self.produced), (TX_COMPLETED, self.completed), (RX_DROPPED, 0)]
        {
            self.control.store_u32(offset, value);
        }
    }

    /// Moves a frame into the next receive slot: as it is, or through a pipe.
    ///
    /// # Errors
    /// [`Reason::NoRing`], [`Reason::RingFull`], [`Reason::RingCorrupt`].
    pub(crate) fn deliver(
        &mut self,
        frame: &[u8],
        pipe: Option<&NativePipe>,
    ) -> Result<(), Reason> {
        let capacity = slots(&self.receive);
        let control = &self.control;
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
        let page = self.receive.get(slot.page).ok_or(Reason::NoRing)?;
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
    pub(crate) fn unread(&self) -> u32 {
        let waiting = self.produced.wrapping_sub(self.control.load_u32(RX_CONSUMED));
        waiting.min(slots(&self.receive))
    }

    /// How many slots are waiting to be transmitted.
    ///
    /// # Errors
    /// [`Status::RingCorrupt`] if the library OS's index is ahead of what its ring holds;
    /// [`Status::BadArgument`] if there is no transmit ring.
    pub(crate) fn waiting(&self) -> Result<u32, Status> {
        let capacity = slots(&self.transmit);
        if capacity == 0 {
            return Err(Status::BadArgument);
        }
        let waiting = self.control.load_u32(TX_PRODUCED).wrapping_sub(self.taken);
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
    pub(crate) fn peek(&self, header: &mut [u8; FRAME_BYTES_MAX]) -> Result<Outgoing, Reason> {
        let slot = slot(&self.transmit, self.taken).ok_or(Reason::Length)?;
        let page = self.transmit.get(slot.page).ok_or(Reason::Length)?;
        let length = page.load_u32(slot.offset + SLOT_LENGTH) as usize;
        if !is_frame_length(length) {
            return Err(Reason::Length);
        }
        let copied = length.min(GUARDED_BYTES_MAX);
        page.read(slot.offset + SLOT_DATA, header.get_mut(..copied).ok_or(Reason::Length)?);
        Ok(Outgoing { slot, length, copied })
    }

    /// Takes the waiting slot: `done` at once, or when the card says so. Returns its index.
    pub(crate) fn take(&mut self, done: bool) -> u32 {
        let index = self.taken;
        self.taken = index.wrapping_add(1);
        self.outstanding.push_back(done);
        if done {
            self.complete(index);
        }
        index
    }

    /// The card is done with a slot. Completions reach the library OS in ring order; whether it is
    /// to be told of this one.
    pub(crate) fn complete(&mut self, index: u32) -> bool {
        let tell = self.tells();
        let at = index.wrapping_sub(self.completed) as usize;
        if let Some(done) = self.outstanding.get_mut(at) {
            *done = true;
        }
        while self.outstanding.front() == Some(&true) {
            self.outstanding.pop_front();
            self.completed = self.completed.wrapping_add(1);
        }
        self.control.store_u32(TX_COMPLETED, self.completed);
        tell
    }
}

/// Whether a frame can be that long.
pub(crate) fn is_frame_length(bytes: usize) -> bool {
    (abi::limits::FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&bytes)
}

fn slots(pages: &[Pinned]) -> u32 {
    (pages.len() * SLOTS_PER_PAGE) as u32
}

/// Slot `index` of a ring; a power of two of pages makes the free-running index fit.
fn slot(pages: &[Pinned], index: u32) -> Option<Slot> {
    let place = index.checked_rem(slots(pages))? as usize;
    let page = place / SLOTS_PER_PAGE;
    Some(Slot { page, offset: place % SLOTS_PER_PAGE * SLOT_BYTES })
}

const _: () = assert!(SLOT_DATA + FRAME_BYTES_MAX <= SLOT_BYTES);
const _: () = assert!(SLOTS_PER_PAGE * SLOT_BYTES == PAGE_BYTES);

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
