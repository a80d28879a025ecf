//! The console: bytes to the host, in slots, never waiting.
//!
//! Queue 1 is the transmit queue of port 0 (virtio 1.2, 5.3.2); queue 0, input, is never given a
//! buffer. No feature but `VERSION_1`, so there is one port.

use super::buffers::{Block, pool};
use super::ring::{Direction, Ring};
use super::{DeviceError, VERSION_1, negotiate};
use crate::limits::{CONSOLE_SLOT, CONSOLE_SLOTS};
use alloc::vec::Vec;
use core::ptr::NonNull;
use virtio_drivers::Hal;
use virtio_drivers::transport::Transport;

const TRANSMIT: u16 = 1;

/// The driver.
pub(crate) struct Port<H: Hal, T: Transport> {
    transport: T,
    ring: Ring<H, Block<CONSOLE_SLOT>, CONSOLE_SLOTS>,
    slots: Vec<Block<CONSOLE_SLOT>>,
}

impl<H: Hal, T: Transport> Port<H, T> {
    /// Sets the console up. It never interrupts.
    pub(crate) fn new(mut transport: T) -> Result<Self, DeviceError> {
        negotiate(&mut transport, VERSION_1)?;
        let mut ring = Ring::new(&mut transport, TRANSMIT, Direction::ToDevice)?;
        ring.interrupts(false);
        transport.finish_init();
        Ok(Self { transport, ring, slots: pool::<H, _>(CONSOLE_SLOTS) })
    }

    /// Writes bytes and says how many were taken; the rest found no free slot.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        for part in bytes.chunks(CONSOLE_SLOT) {
            if self.slots.is_empty() {
                // A quick device has taken the first parts by now.
                self.ring.kick(&mut self.transport);
                self.reap();
            }
            let Some(mut slot) = self.slots.pop() else { break };
            slot.bytes_mut()[..part.len()].copy_from_slice(part);
            let filled = NonNull::from(&mut slot.bytes_mut()[..part.len()]);
            // SAFETY: part of the slot, which is exclusive; chunks are never empty.
            if let Err(slot) = unsafe { self.ring.add(slot, filled, None) } {
                self.slots.push(slot);
                break;
            }
            taken += part.len();
        }
        self.ring.kick(&mut self.transport);
        self.reap();
        taken
    }

    /// Collects what the device has taken.
    fn reap(&mut self) {
        while let Some((slot, _)) = self.ring.take() {
            self.slots.push(slot);
        }
    }

    /// Ids from the device that were refused.
    pub(crate) fn malformed(&self) -> u64 {
        self.ring.malformed()
    }
}
