//! A virtqueue with books: what is in flight, and under which id.
//!
//! The books are what makes the queue safe: a descriptor chain's memory is kept here, by the id
//! that the queue gave it, until the device returns that id. Ids are checked against the books
//! before the queue believes them.

use super::DeviceError;
use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::{Ordering, fence};
use virtio_drivers::Hal;
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;

/// Memory that can lie in a ring: it must not move or be used until it comes out again.
///
/// # Safety
///
/// [`Chain::parts`] returns the same, non-empty, valid parts each time, and nobody but the device
/// uses that memory while the value exists and is not borrowed.
pub(crate) unsafe trait Chain {
    /// The memory, in order, at most two parts (the second may be missing).
    fn parts(&mut self) -> (NonNull<[u8]>, Option<NonNull<[u8]>>);
}

/// Which way the data goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The device writes, and a chain has one part.
    ToDriver,
    /// The device reads.
    ToDevice,
}

/// A queue of chains.
pub(crate) struct Ring<H: Hal, C, const SIZE: usize> {
    queue: VirtQueue<H, SIZE>,
    in_flight: Vec<Option<C>>,
    count: usize,
    index: u16,
    direction: Direction,
    /// Chains added since the device was last told.
    news: bool,
    broken: bool,
    malformed: u64,
}

impl<H: Hal, C: Chain, const SIZE: usize> Ring<H, C, SIZE> {
    /// Sets up the device's queue `index`.
    pub(crate) fn new<T: Transport>(
        transport: &mut T,
        index: u16,
        direction: Direction,
    ) -> Result<Self, DeviceError> {
        let queue = VirtQueue::new(transport, index, false, false);
        let queue = queue.map_err(|_| DeviceError::Queue { queue: index })?;
        let in_flight = (0..SIZE).map(|_| None).collect();
        Ok(Self {
            queue,
            in_flight,
            count: 0,
            index,
            direction,
            news: false,
            broken: false,
            malformed: 0,
        })
    }

    /// Chains that the device has.
    pub(crate) fn in_flight(&self) -> usize {
        self.count
    }

    /// Whether an id made no sense, so that nothing the device returns here can be believed.
    pub(crate) fn broken(&self) -> bool {
        self.broken
    }

    /// Ids and lengths that were refused.
    pub(crate) fn malformed(&self) -> u64 {
        self.malformed
    }

    /// Counts a length that was refused.
    pub(crate) fn count_malformed(&mut self) {
        self.malformed += 1;
    }

    /// Whether a chain of one part would be taken.
    pub(crate) fn has_room(&self) -> bool {
        !self.broken && self.queue.available_desc() > 0
    }

    /// Gives the device a chain; hands it back when there is no room.
    pub(crate) fn add(&mut self, mut chain: C) -> Result<(), C> {
        if self.broken {
            return Err(chain);
        }
        let (first, second) = chain.parts();
        // SAFETY: `Chain` promises valid memory that nobody else uses; it is kept in the books
        // until `take` has popped its id.
        let token = unsafe {
            match (self.direction, second) {
                (Direction::ToDriver, _) => self.queue.add(&[], &mut [&mut *first.as_ptr()]),
                (Direction::ToDevice, None) => self.queue.add(&[first.as_ref()], &mut []),
                (Direction::ToDevice, Some(second)) => {
                    self.queue.add(&[first.as_ref(), second.as_ref()], &mut [])
                }
            }
        };
        let slot = token.ok().and_then(|token| self.in_flight.get_mut(usize::from(token)));
        match slot {
            None => Err(chain),
            Some(slot) => {
                *slot = Some(chain);
                self.count += 1;
                self.news = true;
                Ok(())
            }
        }
    }

    /// Whether [`Ring::take`] has something to look at.
    pub(crate) fn ready(&self) -> bool {
        !self.broken && self.queue.can_pop()
    }

    /// Takes back one chain that the device has finished, and the length it says it wrote.
    pub(crate) fn take(&mut self) -> Option<(C, u32)> {
        if !self.ready() {
            return None;
        }
        let token = self.queue.peek_used()?;
        let slot = self.in_flight.get_mut(usize::from(token));
        let Some(mut chain) = slot.and_then(Option::take) else {
            self.break_down(token);
            return None;
        };
        let (first, second) = chain.parts();
        // SAFETY: these are the parts that `add` was given when it returned this token.
        let length = unsafe {
            match (self.direction, second) {
                (Direction::ToDriver, _) => {
                    self.queue.pop_used(token, &[], &mut [&mut *first.as_ptr()])
                }
                (Direction::ToDevice, None) => {
                    self.queue.pop_used(token, &[first.as_ref()], &mut [])
                }
                (Direction::ToDevice, Some(second)) => {
                    self.queue.pop_used(token, &[first.as_ref(), second.as_ref()], &mut [])
                }
            }
        };
        let Ok(length) = length else {
            // The device changed its mind between two looks: the chain stays where it was.
            self.in_flight[usize::from(token)] = Some(chain);
            self.break_down(token);
            return None;
        };
        self.count -= 1;
        Some((chain, length))
    }

    /// Tells the device about new chains, if there are any and it wants to know.
    pub(crate) fn kick<T: Transport>(&mut self, transport: &mut T) {
        if !core::mem::take(&mut self.news) {
            return;
        }
        // The index must be seen before the device's wish is read, or both sides may fall asleep
        // (virtio 1.2, 2.7.13.4.1); the queue itself only orders the store after what precedes it.
        fence(Ordering::SeqCst);
        if self.queue.should_notify() {
            transport.notify(self.index);
        }
    }

    /// Asks for interrupts, or for none (the device may ignore it).
    pub(crate) fn interrupts(&mut self, wanted: bool) {
        self.queue.set_dev_notify(wanted);
    }

    #[cold]
    fn break_down(&mut self, token: u16) {
        self.broken = true;
        self.malformed += 1;
        let queue = self.index;
        log::error!(
            "virtio: the device returned id {token}, which it does not have; queue {queue} is dead"
        );
    }
}
