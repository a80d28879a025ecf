//! What the virtio crates ask of the machine: memory for devices, and addresses.

use super::cell::OneCpu;
use super::frame::{self, FramePool};
use super::layout::{phys_to_virt, virt_to_phys};
use super::paging::map_device;
use crate::limits::{BUFFER, BUFFERS, CONSOLE_SLOT, CONSOLE_SLOTS, TRANSMIT_SLOT, TRANSMIT_SLOTS};
use crate::memory::PAGE;
use core::ptr::NonNull;
use virtio_drivers::{BufferDirection, Hal, PhysAddr};

/// Pages for three queues, 4 at most each, and for everybody's buffers.
const PAGES: usize = 3 * 4
    + (BUFFERS * BUFFER + TRANSMIT_SLOTS * TRANSMIT_SLOT + CONSOLE_SLOTS * CONSOLE_SLOT) / PAGE
    + 3;

/// Device memory that is left: next physical address, pages.
static LEFT: OneCpu<(u64, usize)> = OneCpu::new((0, 0));

/// Takes memory for devices out of the pool, for good. False if there is not enough.
pub(super) fn reserve(frames: &mut FramePool) -> bool {
    let run = frames.take_run(PAGES);
    LEFT.with(|left| {
        *left = run.as_ref().map_or((0, 0), |run| (run.first().0 * PAGE as u64, PAGES))
    });
    run.is_some()
}

/// The kernel, as the virtio crates see it.
pub(super) struct KernelHal;

// SAFETY: allocations are disjoint pieces of a run that the pool has given up, zeroed; device and
// kernel see the same memory at addresses that differ by a constant.
unsafe impl Hal for KernelHal {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let phys = LEFT.with(|(next, left)| {
            *left = left.checked_sub(pages)?;
            let phys = *next;
            *next += (pages * PAGE) as u64;
            Some(phys)
        });
        let Some(phys) = phys else { return (0, NonNull::dangling()) };
        let base = phys_to_virt(phys);
        // SAFETY: the pages were taken from the run above, and nothing refers to them.
        unsafe { frame::zero(base, pages) };
        (phys, NonNull::new(base).unwrap_or(NonNull::dangling()))
    }

    unsafe fn dma_dealloc(_: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        0 // Devices are set up once; what a failed one took is not worth a second allocator.
    }

    unsafe fn mmio_phys_to_virt(phys: PhysAddr, size: usize) -> NonNull<u8> {
        match map_device(phys, size).and_then(NonNull::new) {
            Some(address) => address,
            None => panic!("device registers at {phys:#x} ({size} bytes) cannot be mapped"),
        }
    }

    #[inline(always)]
    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        virt_to_phys(buffer.cast().as_ptr())
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}
