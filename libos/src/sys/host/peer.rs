//! The kernel's side of one pair of rings, for tests.
//!
//! It does what `abi::ring` says the kernel does, on the memory behind the page handles that a
//! `Bind` named, and can be told to write what a kernel never would.

use std::vec::Vec;

use abi::Handle;
use abi::limits::SLOT_BYTES;
use abi::ring::{
    RX_CONSUMED, RX_PRODUCED, SLOT_DATA, SLOT_LENGTH, SLOTS_PER_PAGE, TX_COMPLETED, TX_PRODUCED,
};

use super::page_window;
use crate::sys::{Bind, Window};

/// The other side of a binding's rings.
#[derive(Debug)]
pub struct Peer {
    /// The control page.
    pub control: Window,
    rx: Vec<Window>,
    tx: Vec<Window>,
    produced: u32,
    taken: u32,
}

impl Peer {
    /// Of the rings that a `Bind` names, beginning with these indices.
    pub fn of(bind: &Bind<'_>) -> Peer {
        let windows = |pages: &[Handle]| pages.iter().map(|page| page_window(*page)).collect();
        let control = page_window(bind.control);
        Peer { control, rx: windows(bind.rx), tx: windows(bind.tx), produced: 0, taken: 0 }
    }

    /// Puts a frame into the receive ring; `false` if it is full.
    pub fn deliver(&mut self, frame: &[u8]) -> bool {
        self.deliver_as(frame, frame.len() as u32)
    }

    /// As [`Peer::deliver`], but with a length of the test's own.
    pub fn deliver_as(&mut self, frame: &[u8], length: u32) -> bool {
        let consumed = self.control.load_u32(RX_CONSUMED);
        if self.produced.wrapping_sub(consumed) as usize >= self.rx.len() * SLOTS_PER_PAGE {
            return false;
        }
        let (window, at) = slot(&self.rx, self.produced);
        window.write(at + SLOT_DATA, frame);
        window.store_u32(at + SLOT_LENGTH, length);
        self.produced = self.produced.wrapping_add(1);
        self.control.store_u32(RX_PRODUCED, self.produced);
        true
    }

    /// Takes every frame out of the transmit ring, without completing them.
    pub fn take(&mut self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while self.taken != self.control.load_u32(TX_PRODUCED) {
            let (window, at) = slot(&self.tx, self.taken);
            let mut frame = std::vec![0; window.load_u32(at + SLOT_LENGTH) as usize];
            window.read(at + SLOT_DATA, &mut frame);
            frames.push(frame);
            self.taken = self.taken.wrapping_add(1);
        }
        frames
    }

    /// Says that everything that was taken is out.
    pub fn complete(&self) {
        self.control.store_u32(TX_COMPLETED, self.taken);
    }
}

fn slot(windows: &[Window], index: u32) -> (&Window, usize) {
    let place = index as usize % (windows.len() * SLOTS_PER_PAGE);
    (&windows[place / SLOTS_PER_PAGE], place % SLOTS_PER_PAGE * SLOT_BYTES)
}
