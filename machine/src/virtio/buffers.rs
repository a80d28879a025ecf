//! Memory that devices read and write: blocks of one size, each behind a linear handle.
//!
//! Whoever holds a [`Block`] may use its bytes; while the device has it, the handle is kept in the
//! ring's books, where nobody can reach the bytes. A handle is never duplicated, so a block is
//! never in two places.

use alloc::vec::Vec;
use core::ptr::NonNull;
use virtio_drivers::{BufferDirection, Hal};

/// One block of `LEN` bytes. Not `Clone`.
pub(crate) struct Block<const LEN: usize>(NonNull<[u8; LEN]>);

// SAFETY: a block is exclusive memory; it is tied to no thread.
unsafe impl<const LEN: usize> Send for Block<LEN> {}

impl<const LEN: usize> Block<LEN> {
    /// Its bytes.
    #[inline(always)]
    pub(crate) fn bytes(&self) -> &[u8; LEN] {
        // SAFETY: `pool` made this handle for exclusive, initialised memory that is never freed.
        unsafe { self.0.as_ref() }
    }

    /// Its bytes, to be changed.
    #[inline(always)]
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8; LEN] {
        // SAFETY: as for `bytes`, and `self` is exclusive.
        unsafe { self.0.as_mut() }
    }
}

/// Makes `count` blocks, aligned to `LEN` if that is a power of two up to a page. Empty if the
/// platform has no device memory left. The memory is never given back.
pub(crate) fn pool<H: Hal, const LEN: usize>(count: usize) -> Vec<Block<LEN>> {
    let pages = (count * LEN).div_ceil(crate::memory::PAGE);
    let (phys, base) = H::dma_alloc(pages, BufferDirection::Both);
    if phys == 0 {
        return Vec::new();
    }
    // SAFETY: offsets stay within the pages just allocated.
    let block = |index: usize| Block(unsafe { base.add(index * LEN) }.cast());
    (0..count).map(block).collect()
}
