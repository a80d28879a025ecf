//! A split virtqueue (virtio 1.2, 2.7): descriptors, what is available, what is used.
//!
//! The packet path's own, in the place of `virtio-drivers`' (decision 063): a chain here has one
//! part or two, so that giving and taking are straight lines. The device shares the three tables
//! and may write any of them at any moment; the driver reads back only the used index and the used
//! ring's entries, each once. Which descriptors are free, and what follows which, is kept in memory
//! that the device does not see. Ids are the caller's to check before [`Queue::release`].

use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use virtio_drivers::transport::Transport;
use virtio_drivers::{BufferDirection, Hal};

/// Flags of a descriptor.
const NEXT: u16 = 1;
const DEVICE_WRITES: u16 = 2;
/// Flag of the available ring: no interrupts, please. Of the used ring: no notifications.
const QUIET: u16 = 1;

/// No descriptor.
const NONE: u16 = u16::MAX;

/// Bytes of a descriptor.
const DESCRIPTOR: usize = 16;
/// Bytes of a ring before its entries: flags and index.
const RING: usize = 4;

/// A queue of `SIZE` descriptors, a power of two.
pub(crate) struct Queue<H: Hal, const SIZE: usize> {
    /// Each two words: address; length, flags and next.
    descriptors: NonNull<[AtomicU64; 2]>,
    available: NonNull<AtomicU16>,
    used: NonNull<AtomicU16>,
    /// Of a free descriptor the next free one, of a chain's first the second.
    next: [u16; SIZE],
    free: u16,
    /// Free descriptors.
    room: u16,
    /// Chains given and taken back since the beginning, modulo 2^16.
    given: u16,
    taken: u16,
    /// How many had been given when the device was last told, or did not want to be.
    told: u16,
    /// What a descriptor says besides address and length: the device writes, or nothing.
    flags: u16,
    hal: PhantomData<H>,
}

/// Why there is no queue: the device has too small a one, it is in use, or there is no memory.
#[derive(Debug)]
pub(crate) struct NoQueue;

impl<H: Hal, const SIZE: usize> Queue<H, SIZE> {
    const MASK: u16 = (SIZE - 1) as u16;
    const AVAILABLE: usize = DESCRIPTOR * SIZE;
    /// Aligned to 8: entries are read as one word of eight bytes, which begins four bytes in.
    const USED: usize = (Self::AVAILABLE + RING + 2 * SIZE + 2).next_multiple_of(8) + 4;
    const PAGES: usize = (Self::USED + RING + 8 * SIZE + 2).div_ceil(crate::memory::PAGE);
    const FITS: () = assert!(SIZE.is_power_of_two() && SIZE <= 1 << 15);

    /// Sets up the device's queue `index`.
    pub(crate) fn new<T: Transport>(
        transport: &mut T,
        index: u16,
        device_writes: bool,
    ) -> Result<Self, NoQueue> {
        let () = Self::FITS;
        if transport.queue_used(index) || transport.max_queue_size(index) < SIZE as u32 {
            return Err(NoQueue);
        }
        let (phys, base) = H::dma_alloc(Self::PAGES, BufferDirection::Both);
        if phys == 0 {
            return Err(NoQueue);
        }
        let at = |offset: usize| phys + offset as u64;
        transport.queue_set(index, SIZE as u32, phys, at(Self::AVAILABLE), at(Self::USED));
        // SAFETY: both offsets are inside of the pages just allocated, which are zero and never
        // given back; each table is aligned for what it holds.
        let (available, used) =
            unsafe { (base.add(Self::AVAILABLE).cast(), base.add(Self::USED).cast()) };
        let mut next = [NONE; SIZE];
        next.iter_mut().zip(1..SIZE as u16).for_each(|(next, number)| *next = number);
        Ok(Self {
            descriptors: base.cast(),
            available,
            used,
            next,
            free: 0,
            room: SIZE as u16,
            given: 0,
            taken: 0,
            told: 0,
            flags: if device_writes { DEVICE_WRITES } else { 0 },
            hal: PhantomData,
        })
    }

    /// Free descriptors.
    #[inline(always)]
    pub(crate) fn room(&self) -> usize {
        usize::from(self.room)
    }

    /// Chains that the device has.
    #[inline(always)]
    pub(crate) fn in_flight(&self) -> usize {
        usize::from(self.given.wrapping_sub(self.taken))
    }

    /// Gives the device a chain of one part or two, none of them empty; its id. `None`: no room.
    ///
    /// # Safety
    ///
    /// The parts are valid memory that nobody but the device uses until this id is released.
    #[inline(always)]
    pub(crate) unsafe fn give(
        &mut self,
        first: NonNull<[u8]>,
        second: Option<NonNull<[u8]>>,
    ) -> Option<u16> {
        let flags = self.flags;
        let head = self.free;
        if self.room <= u16::from(second.is_some()) {
            return None;
        }
        let after = self.next[usize::from(head & Self::MASK)];
        match second {
            None => {
                self.describe(head, first, flags, 0);
                (self.free, self.room) = (after, self.room - 1);
                self.next[usize::from(head & Self::MASK)] = NONE;
            }
            Some(second) => {
                self.describe(head, first, flags | NEXT, after);
                self.describe(after, second, flags, 0);
                // The first one's `next` already says who the second is.
                self.free = self.next[usize::from(after & Self::MASK)];
                self.room -= 2;
            }
        }
        self.available(2 + usize::from(self.given & Self::MASK)).store(head, Ordering::Relaxed);
        self.given = self.given.wrapping_add(1);
        // Descriptor and entry must be seen before the index is (2.7.13.3).
        self.available(1).store(self.given, Ordering::Release);
        Some(head)
    }

    /// Whether the device says that it has used something.
    #[inline(always)]
    pub(crate) fn ready(&self) -> bool {
        self.used(1).load(Ordering::Acquire) != self.taken
    }

    /// What it used next, as it says: an id, which may be anything, and a length.
    #[inline(always)]
    pub(crate) fn peek(&self) -> (u32, u32) {
        let slot = usize::from(self.taken & Self::MASK);
        // SAFETY: entries follow four bytes of flags and index, and are aligned to eight bytes
        // there; the slot is below `SIZE`.
        let entry = unsafe { self.used.byte_add(RING).cast::<AtomicU64>().add(slot).as_ref() };
        let entry = entry.load(Ordering::Relaxed);
        (entry as u32, (entry >> 32) as u32)
    }

    /// Takes back the chain with this id, which [`Queue::peek`] returned and which is in flight.
    #[inline(always)]
    pub(crate) fn release(&mut self, id: u16) {
        self.taken = self.taken.wrapping_add(1);
        let head = usize::from(id & Self::MASK);
        let second = self.next[head];
        if second == NONE {
            self.next[head] = self.free;
            self.room += 1;
        } else {
            self.next[usize::from(second & Self::MASK)] = self.free;
            self.room += 2;
        }
        self.free = id;
    }

    /// Chains given since the device was last told.
    #[inline(always)]
    pub(crate) fn news(&self) -> u16 {
        self.given.wrapping_sub(self.told)
    }

    /// The device is told, or need not be.
    #[inline(always)]
    pub(crate) fn settle(&mut self) {
        self.told = self.given;
    }

    /// Whether the device wants to be told of what it was given.
    #[inline(always)]
    pub(crate) fn wants_notice(&self) -> bool {
        self.used(0).load(Ordering::Acquire) & QUIET == 0
    }

    /// Whether the device may have fewer chains left than `few`, of those that it has been told
    /// of, as it says itself.
    #[inline(always)]
    pub(crate) fn runs_low(&self, few: i16) -> bool {
        let left = self.told.wrapping_sub(self.used(1).load(Ordering::Acquire));
        // Negative: it has used chains that it found by itself.
        left.cast_signed() < few
    }

    /// Asks for interrupts, or for none (the device may ignore it).
    #[inline(always)]
    pub(crate) fn interrupts(&mut self, wanted: bool) {
        self.available(0).store(if wanted { 0 } else { QUIET }, Ordering::Release);
    }

    #[inline(always)]
    fn describe(&mut self, number: u16, part: NonNull<[u8]>, flags: u16, next: u16) {
        // SAFETY: sharing is finding out the address; the memory is what `give` was promised.
        let address = unsafe { H::share(part, BufferDirection::Both) };
        let rest = part.len() as u64 & 0xffff_ffff | u64::from(flags) << 32 | u64::from(next) << 48;
        // SAFETY: the table has `SIZE` entries.
        let [first, second] =
            unsafe { self.descriptors.add(usize::from(number & Self::MASK)).as_ref() };
        first.store(address, Ordering::Relaxed);
        second.store(rest, Ordering::Relaxed);
    }

    /// A half word of the available ring.
    #[inline(always)]
    fn available(&self, number: usize) -> &AtomicU16 {
        // SAFETY: callers name flags, index, or one of the `SIZE` entries behind them.
        unsafe { self.available.add(number).as_ref() }
    }

    /// Flags or index of the used ring.
    #[inline(always)]
    fn used(&self, number: usize) -> &AtomicU16 {
        // SAFETY: callers name one of the first two half words.
        unsafe { self.used.add(number).as_ref() }
    }
}
