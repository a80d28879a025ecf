//! A virtqueue with books: what is in flight, and under which id.
//!
//! The books are what makes the queue safe: what keeps a descriptor chain's memory is kept here, by
//! the id that the queue gave it, until the device returns that id. Ids are checked against the
//! books before the queue believes them.

use super::DeviceError;
use super::queue::Queue;
use crate::limits::{LOW, NEWS};
use alloc::boxed::Box;
use core::ptr::NonNull;
use core::sync::atomic::{Ordering, fence};
use virtio_drivers::Hal;
use virtio_drivers::transport::Transport;

/// Which way the data goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The device writes.
    ToDriver,
    /// The device reads.
    ToDevice,
}

/// A queue of chains; `C` is what keeps a chain's memory.
pub(crate) struct Ring<H: Hal, C, const SIZE: usize> {
    queue: Queue<H, SIZE>,
    in_flight: Box<[Option<C>; SIZE]>,
    index: u16,
    broken: bool,
    malformed: u64,
}

impl<H: Hal, C, const SIZE: usize> Ring<H, C, SIZE> {
    /// Sets up the device's queue `index`.
    pub(crate) fn new<T: Transport>(
        transport: &mut T,
        index: u16,
        direction: Direction,
    ) -> Result<Self, DeviceError> {
        let queue = Queue::new(transport, index, direction == Direction::ToDriver);
        let queue = queue.map_err(|_| DeviceError::Queue { queue: index })?;
        let in_flight = Box::new([const { None }; SIZE]);
        Ok(Self { queue, in_flight, index, broken: false, malformed: 0 })
    }

    /// Chains that the device has.
    pub(crate) fn in_flight(&self) -> usize {
        self.queue.in_flight()
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

    /// Chains of one part that would be taken.
    #[inline(always)]
    pub(crate) fn room(&self) -> usize {
        if self.broken { 0 } else { self.queue.room() }
    }

    /// Whether a chain of one part would be taken.
    #[inline(always)]
    pub(crate) fn has_room(&self) -> bool {
        !self.broken && self.queue.room() > 0
    }

    /// Gives the device a chain of one part or two, none of them empty; hands back what keeps it
    /// when there is no room.
    ///
    /// # Safety
    ///
    /// The parts are valid memory that nobody but the device uses while `keep` is in the ring.
    #[inline(always)]
    pub(crate) unsafe fn add(
        &mut self,
        keep: C,
        first: NonNull<[u8]>,
        second: Option<NonNull<[u8]>>,
    ) -> Result<(), C> {
        if self.broken {
            return Err(keep);
        }
        // SAFETY: as promised by the caller: `keep` is in the books until `take` has released the
        // id.
        let id = unsafe { self.queue.give(first, second) };
        match id.and_then(|id| self.in_flight.get_mut(usize::from(id))) {
            None => Err(keep),
            Some(slot) => {
                *slot = Some(keep);
                Ok(())
            }
        }
    }

    /// Whether [`Ring::take`] has something to look at.
    #[inline(always)]
    pub(crate) fn ready(&self) -> bool {
        !self.broken && self.queue.ready()
    }

    /// Takes back one chain that the device has finished, and the length it says it wrote.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Option<(C, u32)> {
        if !self.ready() {
            return None;
        }
        let (id, length) = self.queue.peek();
        let Some(keep) = self.in_flight.get_mut(id as usize).and_then(Option::take) else {
            self.break_down(id);
            return None;
        };
        // An id in the books is one that the queue gave, so it is below `SIZE`.
        self.queue.release(id as u16);
        Some((keep, length))
    }

    /// Tells the device about new chains, if there are any, whether or not it wants to know.
    ///
    /// Its wish not to be told cannot be relied on: the index must be seen before the wish is read
    /// (virtio 1.2, 2.7.13.4.1), and QEMU before 8.1 leaves the guest's fences out where there is
    /// one processor. An answer would lie there until the next one (decision 082).
    #[inline(always)]
    pub(crate) fn kick<T: Transport>(&mut self, transport: &mut T) {
        if self.queue.news() != 0 {
            self.queue.settle();
            transport.notify(self.index);
        }
    }

    /// Tells the device about new chains once there are many, if it wants to know or may have run
    /// low: who has plenty is not waiting to be told, and finds them by itself.
    #[inline(always)]
    pub(crate) fn kick_if_low<T: Transport>(&mut self, transport: &mut T) {
        if self.queue.news() >= NEWS {
            self.tell_if_low(transport);
        }
    }

    #[inline(never)]
    fn tell_if_low<T: Transport>(&mut self, transport: &mut T) {
        // As for `kick`. What was left over is far more than a device uses while a store becomes
        // visible, so that what is read too early cannot hide one that has run dry.
        fence(Ordering::SeqCst);
        let notify = self.queue.wants_notice() || self.queue.runs_low(LOW);
        self.queue.settle();
        if notify {
            transport.notify(self.index);
        }
    }

    /// Asks for interrupts, or for none (the device may ignore it). Who asks for them looks at
    /// [`Ring::ready`] before it sleeps: what the device finished before it saw the wish brings
    /// none.
    pub(crate) fn interrupts(&mut self, wanted: bool) {
        self.queue.interrupts(wanted);
        if wanted {
            // The wish must be seen before the used index is read, or the device may finish with
            // the old wish in hand while this side reads the old index (virtio 1.2, 2.7.14).
            fence(Ordering::SeqCst);
        }
    }

    #[cold]
    fn break_down(&mut self, id: u32) {
        self.broken = true;
        self.malformed += 1;
        let queue = self.index;
        log::error!(
            "virtio: the device returned id {id}, which it does not have; queue {queue} is dead"
        );
    }
}
