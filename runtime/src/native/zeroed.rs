//! Arrays of zeros that cost little to make: what tables are made of.
//!
//! The idea: a table of a million keys must come into being without the machine standing still, so
//! its memory is asked for as zeroed. A host's allocator hands out such memory untouched, page by
//! page as it is used; nothing is written here. Failure is an answer, never an abort.
//!
//! The array begins on a cache line and never moves while it lives.

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::fmt;
use core::marker::PhantomData;
use core::mem::size_of;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use core::sync::atomic::AtomicU64;

use super::pages::CodeError;

/// Bytes of a cache line.
pub const LINE_BYTES: usize = 64;

/// What the allocator is asked to align to; more would make it write every byte.
const ALIGN: usize = 16;

/// Types for which zero bytes are a value. Implemented here only.
///
/// # Safety
/// All-zero bytes must be a valid value, and the type must need no drop.
pub unsafe trait Zeroable {}

// SAFETY: zero is a number.
unsafe impl Zeroable for u8 {}
// SAFETY: zero is a number.
unsafe impl Zeroable for u32 {}
// SAFETY: `AtomicU64` has the representation of `u64`.
unsafe impl Zeroable for AtomicU64 {}

/// A fixed number of values that begin as zero.
pub struct Zeroed<T: Zeroable> {
    /// What the allocator gave; dangling if nothing was asked for.
    block: NonNull<u8>,
    layout: Option<Layout>,
    start: NonNull<T>,
    len: usize,
    owns: PhantomData<T>,
}

// SAFETY: it owns its values, as a box does.
unsafe impl<T: Zeroable + Send> Send for Zeroed<T> {}
// SAFETY: it shares its values only as `&[T]`.
unsafe impl<T: Zeroable + Sync> Sync for Zeroed<T> {}

impl<T: Zeroable> Zeroed<T> {
    /// `len` zeros.
    ///
    /// # Errors
    /// [`CodeError::NoMemory`] if there is no memory for them.
    pub fn new(len: usize) -> Result<Self, CodeError> {
        let bytes = len.saturating_mul(size_of::<T>());
        let full = CodeError::NoMemory { bytes, limit: isize::MAX as usize };
        if bytes == 0 {
            let (block, start) = (NonNull::dangling(), NonNull::dangling());
            return Ok(Self { block, layout: None, start, len: 0, owns: PhantomData });
        }
        let room = bytes.checked_add(LINE_BYTES).ok_or(full)?;
        let layout = Layout::from_size_align(room, ALIGN).map_err(|_| full)?;
        // SAFETY: the layout is not empty.
        let block = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(full)?;
        let skip = block.as_ptr().align_offset(LINE_BYTES);
        if skip > LINE_BYTES {
            // SAFETY: just allocated with this layout.
            unsafe { dealloc(block.as_ptr(), layout) };
            return Err(full);
        }
        // SAFETY: at most `LINE_BYTES` are skipped, and that many were asked for beyond `bytes`.
        let start = unsafe { block.add(skip) }.cast::<T>();
        Ok(Self { block, layout: Some(layout), start, len, owns: PhantomData })
    }

    /// Address of the first value.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.start.as_ptr().expose_provenance() as u64
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.len * size_of::<T>()
    }
}

impl<T: Zeroable> Deref for Zeroed<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `len` values from `start` on lie in the block, were zeroed (a value of each
        // `Zeroable`), are aligned (a line is a multiple of every such type) and live with `self`.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Zeroable> DerefMut for Zeroed<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as for `deref`, and `self` is borrowed for writing.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T: Zeroable> Drop for Zeroed<T> {
    fn drop(&mut self) {
        if let Some(layout) = self.layout {
            // SAFETY: allocated in `new` with this layout, and freed nowhere else.
            unsafe { dealloc(self.block.as_ptr(), layout) };
        }
    }
}

impl<T: Zeroable> fmt::Debug for Zeroed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zeroed({})", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::{LINE_BYTES, Zeroed};

    #[test]
    fn zeros_begin_on_a_line_and_can_be_written() {
        for len in [0, 1, 7, 8, 1000] {
            let mut zeros: Zeroed<u32> = Zeroed::new(len).unwrap();
            assert_eq!(zeros.len(), len);
            assert!(zeros.iter().all(|value| *value == 0));
            zeros.fill(7);
            assert!(len == 0 || zeros.address().is_multiple_of(LINE_BYTES as u64));
            assert_eq!(zeros.bytes(), len * 4);
        }
    }

    #[test]
    fn more_than_there_is_is_refused() {
        assert!(Zeroed::<u32>::new(usize::MAX / 2).is_err());
        assert!(Zeroed::<u32>::new(usize::MAX).is_err());
    }
}
