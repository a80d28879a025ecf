//! A binding's rings, from the library OS's side.
//!
//! The layout is `abi::ring`'s; the indices are 32-bit words that run freely. This side writes
//! `RX_CONSUMED` and `TX_PRODUCED` and keeps its own copies of both, so that nothing that the
//! kernel shares is ever read back. An index or a length that makes no sense is an error here,
//! never an access outside the window.

use abi::download::{CHECKSUMS_MAX, SLOT_FLAGS, SLOT_PIPED, SLOT_SUMS};
use abi::limits::{FRAME_BYTES_MAX, FRAME_BYTES_MIN, RING_PAGES_MAX, SLOT_BYTES};
use abi::ring::{
    RX_CONSUMED, RX_DROPPED, RX_PRODUCED, SLOT_DATA, SLOT_LENGTH, SLOTS_PER_PAGE, TX_COMPLETED,
    TX_PRODUCED, TX_QUIET,
};
use abi::{Handle, Status};
use alloc::vec::Vec;

use crate::capability::{BindError, Binding, Env, Grant, Page, RingPages};
use crate::sys::{Window, new_window};

/// Why a frame was not put into the transmit ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// Every slot holds a frame that is not out yet.
    Full,
    /// Shorter than an Ethernet header or longer than the longest frame.
    Length {
        /// Its length in bytes.
        length: usize,
    },
    /// The kernel refused to look: its status.
    Kernel {
        /// The status of `Transmit`.
        status: Status,
    },
}

/// Memory for a binding's rings, before it is bound.
#[derive(Debug)]
pub struct RingMemory {
    windows: [Window; 3],
    control: Handle,
    rx: Vec<Handle>,
    tx: Vec<Handle>,
}

impl RingMemory {
    /// Pages of one's own: `rx` and `tx` slot pages, each zero or a power of two.
    ///
    /// # Errors
    /// `BadArgument` for other counts, else what the kernel said.
    pub fn new(own: Env, rx: usize, tx: usize) -> Result<RingMemory, Status> {
        let allowed = |n: usize| n == 0 || (n.is_power_of_two() && n <= RING_PAGES_MAX);
        if !allowed(rx) || !allowed(tx) {
            return Err(Status::BadArgument);
        }
        let (control, control_pages) = new_window(own, 1)?;
        let (rx_window, rx_pages) = new_window(own, rx)?;
        let (tx_window, tx_pages) = new_window(own, tx)?;
        Ok(RingMemory {
            windows: [control, rx_window, tx_window],
            control: control_pages.first().map_or(Handle::NONE, |page| page.0),
            rx: names(&rx_pages),
            tx: names(&tx_pages),
        })
    }

    /// Binds a filter with these rings.
    ///
    /// # Errors
    /// [`BindError`] with the kernel's record; the pages are given back.
    pub fn bind(self, grant: Grant, filter: &[u8], ash: Option<&[u8]>) -> Result<Rings, BindError> {
        self.bind_with(grant, filter, ash, &[])
    }

    /// [`RingMemory::bind`] with an ASH that has maps, by the positions that its loads name.
    ///
    /// # Errors
    /// As [`RingMemory::bind`].
    pub fn bind_with(
        self,
        grant: Grant,
        filter: &[u8],
        ash: Option<&[u8]>,
        maps: &[Handle],
    ) -> Result<Rings, BindError> {
        self.bound(maps, |pages| grant.bind_pages(filter, ash, pages))
    }

    /// A connection with these rings, carved out of a binding ([`Binding::carve`]).
    ///
    /// # Errors
    /// As [`RingMemory::bind`].
    pub fn carve(
        self,
        listener: Binding,
        filter: &[u8],
        ash: Option<&[u8]>,
    ) -> Result<Rings, BindError> {
        self.bound(&[], |pages| listener.carve((filter, None), ash, pages))
    }

    /// The second part of a binding that becomes two, with these rings ([`Binding::hand_over`]);
    /// the certificate, which may be empty, is for both filters.
    ///
    /// # Errors
    /// As [`RingMemory::bind`].
    pub fn hand_over(
        self,
        old: Binding,
        [first, second]: [&[u8]; 2],
        ash: Option<&[u8]>,
        certificate: &[u8],
    ) -> Result<Rings, BindError> {
        self.bound(&[], |pages| {
            old.hand_over(first, second, ash, &RingPages { certificate, ..*pages })
        })
    }

    fn bound(
        self,
        maps: &[Handle],
        bind: impl FnOnce(&RingPages<'_>) -> Result<Binding, BindError>,
    ) -> Result<Rings, BindError> {
        let (control, rx, tx) = (self.control, &self.rx, &self.tx);
        let pages = RingPages { control, rx, tx, maps, ..RingPages::default() };
        let binding = match bind(&pages) {
            Ok(binding) => binding,
            Err(error) => {
                self.give_back();
                return Err(error);
            }
        };
        let slots = |pages: &[Handle]| (pages.len() * SLOTS_PER_PAGE) as u32;
        // Whoever has a free slot has no use for being woken by a completion.
        self.windows[0].store_u32(TX_QUIET, 1);
        Ok(Rings {
            binding,
            control: self.control,
            rx_slots: slots(&self.rx),
            tx_slots: slots(&self.tx),
            windows: self.windows,
            pages: [self.rx, self.tx],
            rx_consumed: 0,
            tx_produced: 0,
            corrupt: 0,
        })
    }
}

impl RingMemory {
    /// Pages of receive and of transmit slots.
    pub fn pages(&self) -> (usize, usize) {
        (self.rx.len(), self.tx.len())
    }

    /// Gives its pages back to the kernel.
    pub fn give_back(self) {
        let control = core::iter::once(self.control);
        for page in control.chain(self.rx).chain(self.tx) {
            // The refusal that led here is the one to report.
            let _ = Page(page).free();
        }
    }
}

fn names(pages: &[Page]) -> Vec<Handle> {
    pages.iter().map(|page| page.0).collect()
}

/// A bound pair of rings.
#[derive(Debug)]
pub struct Rings {
    binding: Binding,
    control: Handle,
    /// Control page, receive slots, transmit slots.
    windows: [Window; 3],
    /// Names of the pages of receive and transmit slots.
    pages: [Vec<Handle>; 2],
    rx_slots: u32,
    tx_slots: u32,
    rx_consumed: u32,
    tx_produced: u32,
    corrupt: u64,
}

impl Rings {
    /// Memory and binding in one step.
    ///
    /// # Errors
    /// [`BindError`]; without a record if memory was short.
    pub fn bind(
        own: Env,
        grant: Grant,
        filter: &[u8],
        ash: Option<&[u8]>,
    ) -> Result<Rings, BindError> {
        let no_record = |status| BindError { status, refusal: None };
        RingMemory::new(own, RX_PAGES, TX_PAGES).map_err(no_record)?.bind(grant, filter, ash)
    }

    /// Takes the binding back: its memory, to be bound again or given back.
    ///
    /// # Errors
    /// As [`Binding::unbind`]; what is still bound keeps its memory.
    pub fn unbind(self) -> Result<RingMemory, Status> {
        match self.binding.unbind() {
            // A binding that is gone already, with its grant for one, has let go of them, too.
            Ok(()) | Err(Status::BadHandle) => {}
            Err(status) => return Err(status),
        }
        for word in [RX_PRODUCED, RX_CONSUMED, TX_PRODUCED, TX_COMPLETED, RX_DROPPED] {
            self.windows[0].store_u32(word, 0);
        }
        let [rx, tx] = self.pages;
        Ok(RingMemory { windows: self.windows, control: self.control, rx, tx })
    }

    /// The binding.
    pub fn binding(&self) -> Binding {
        self.binding
    }

    /// The page that the indices are in.
    pub fn control_page(&self) -> Page {
        Page(self.control)
    }

    /// What the pipe said of the frame that [`Rings::receive`] gives next: its sums; `None` if
    /// there is none, or it went through no pipe.
    pub fn sums(&self) -> Option<[u32; CHECKSUMS_MAX]> {
        let slot = slot_offset(self.rx_consumed, self.rx_slots);
        let piped = self.pending() && self.windows[1].load_u32(slot + SLOT_FLAGS) == SLOT_PIPED;
        let at = |place: usize| self.windows[1].load_u32(slot + SLOT_SUMS + 4 * place);
        piped.then(|| core::array::from_fn(at))
    }

    /// Slots whose length or index made no sense.
    pub fn corrupt(&self) -> u64 {
        self.corrupt
    }

    /// Packets that found the receive ring full.
    pub fn dropped(&self) -> u32 {
        self.windows[0].load_u32(RX_DROPPED)
    }

    /// Whether a frame is waiting.
    pub fn pending(&self) -> bool {
        self.windows[0].load_u32(RX_PRODUCED) != self.rx_consumed
    }

    /// Copies the next frame into `buffer`: its length, `None` if there is none. A buffer of
    /// [`FRAME_BYTES_MAX`] is always long enough; what does not fit is skipped and counted.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let produced = self.windows[0].load_u32(RX_PRODUCED);
        let waiting = produced.wrapping_sub(self.rx_consumed);
        if waiting > self.rx_slots {
            // Not ours to repair: catch up with what the other side says.
            self.corrupt += 1;
            self.consume(produced);
            return None;
        }
        for _ in 0..waiting {
            let slot = slot_offset(self.rx_consumed, self.rx_slots);
            let length = self.windows[1].load_u32(slot + SLOT_LENGTH) as usize;
            let fits = (FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&length);
            let frame = buffer.get_mut(..length).filter(|_| fits);
            let copied = frame.map(|frame| self.windows[1].read(slot + SLOT_DATA, frame));
            self.consume(self.rx_consumed.wrapping_add(1));
            match copied {
                Some(()) => return Some(length),
                None => self.corrupt += 1,
            }
        }
        None
    }

    fn consume(&mut self, consumed: u32) {
        self.rx_consumed = consumed;
        self.windows[0].store_u32(RX_CONSUMED, consumed);
    }

    /// Whether a frame can be put into the transmit ring.
    pub fn can_send(&self) -> bool {
        let completed = self.windows[0].load_u32(TX_COMPLETED);
        self.tx_produced.wrapping_sub(completed) < self.tx_slots
    }

    /// Frames that were pushed and are not out yet: `TX_COMPLETED` says so, in ring order.
    pub fn in_flight(&self) -> u32 {
        let completed = self.windows[0].load_u32(TX_COMPLETED);
        self.tx_produced.wrapping_sub(completed).min(self.tx_slots)
    }

    /// Puts a frame into the transmit ring; [`Rings::flush`] hands it to the kernel.
    ///
    /// # Errors
    /// [`SendError::Full`], [`SendError::Length`].
    pub fn push(&mut self, frame: &[u8]) -> Result<(), SendError> {
        let length = frame.len();
        if !(FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&length) {
            return Err(SendError::Length { length });
        }
        if !self.can_send() {
            return Err(SendError::Full);
        }
        let slot = slot_offset(self.tx_produced, self.tx_slots);
        self.windows[2].write(slot + SLOT_DATA, frame);
        self.windows[2].store_u32(slot + SLOT_LENGTH, length as u32);
        self.tx_produced = self.tx_produced.wrapping_add(1);
        self.windows[0].store_u32(TX_PRODUCED, self.tx_produced);
        Ok(())
    }

    /// [`Rings::push`] of a frame in parts, of which each is copied once.
    ///
    /// # Errors
    /// As [`Rings::push`].
    pub fn push_parts(&mut self, parts: &[&[u8]]) -> Result<(), SendError> {
        let length = parts.iter().map(|part| part.len()).sum();
        if !(FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&length) {
            return Err(SendError::Length { length });
        }
        if !self.can_send() {
            return Err(SendError::Full);
        }
        let slot = slot_offset(self.tx_produced, self.tx_slots);
        let mut at = slot + SLOT_DATA;
        for part in parts {
            self.windows[2].write(at, part);
            at += part.len();
        }
        self.windows[2].store_u32(slot + SLOT_LENGTH, length as u32);
        self.tx_produced = self.tx_produced.wrapping_add(1);
        self.windows[0].store_u32(TX_PRODUCED, self.tx_produced);
        Ok(())
    }

    /// Hands what was pushed to the kernel: how many slots it took.
    ///
    /// # Errors
    /// [`SendError::Kernel`]; after `Busy` what is left goes out with the next flush.
    pub fn flush(&mut self) -> Result<u64, SendError> {
        self.binding.transmit().map_err(|status| SendError::Kernel { status })
    }

    /// Flushes until the kernel has taken all that was pushed.
    ///
    /// # Errors
    /// As [`Rings::flush`].
    pub fn flush_all(&mut self) -> Result<(), SendError> {
        // The kernel takes up to TRANSMIT_MAX slots in a call: fewer means that there are no more.
        while self.flush()? >= TRANSMIT_MAX {}
        Ok(())
    }

    /// Pushes and flushes.
    ///
    /// # Errors
    /// As both.
    pub fn send(&mut self, frame: &[u8]) -> Result<(), SendError> {
        self.push(frame)?;
        self.flush().map(drop)
    }
}

/// Slots that one call to `Transmit` takes at most (`docs/abi.md`).
const TRANSMIT_MAX: u64 = 32;

/// Receive slot pages of [`Rings::bind`]: 32 frames.
pub const RX_PAGES: usize = 16;
/// Transmit slot pages of [`Rings::bind`]: 16 frames.
pub const TX_PAGES: usize = 8;

/// Slot sizes and counts are powers of two, so that a free-running index keeps its place when it
/// wraps.
fn slot_offset(index: u32, slots: u32) -> usize {
    index.checked_rem(slots).unwrap_or(0) as usize * SLOT_BYTES
}
