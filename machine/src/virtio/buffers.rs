//! Memory that devices read and write: blocks of one size, each behind a linear handle.
//!
//! Whoever holds a [`Block`] may use its bytes; while the device has it, the handle is kept in the
//! ring's books, where nobody can reach the bytes. A handle is never duplicated, so a block is
//! never in two places.

use alloc::vec::Vec;
use core::ptr::NonNull;
use core::slice;
use virtio_drivers::{BufferDirection, Hal};

/// One block. Not `Clone`.
pub(crate) struct Block {
    bytes: NonNull<u8>,
    len: usize,
}

// SAFETY: a block is exclusive memory; it is tied to no thread.
unsafe impl Send for Block {}

impl Block {
    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `pool` made this handle for exclusive, initialised memory that is never freed.
        unsafe { slice::from_raw_parts(self.bytes.as_ptr(), self.len) }
    }

    /// Its bytes, to be changed.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `bytes`, and `self` is exclusive.
        unsafe { slice::from_raw_parts_mut(self.bytes.as_ptr(), self.len) }
    }
}

/// Makes `count` blocks of `len` bytes, aligned to `len` if that is a power of two up to a page.
/// Empty if the platform has no device memory left. The memory is never given back.
pub(crate) fn pool<H: Hal>(count: usize, len: usize) -> Vec<Block> {
    let pages = (count * len).div_ceil(crate::memory::PAGE);
    let (phys, base) = H::dma_alloc(pages, BufferDirection::Both);
    if phys == 0 {
        return Vec::new();
    }
    // SAFETY: offsets stay within the pages just allocated.
    let block = |index: usize| Block { bytes: unsafe { base.add(index * len) }, len };
    (0..count).map(block).collect()
}
