//! Arrays of zeros that cost little to make: what tables are made of.
//!
//! The idea: a table of a million keys must come into being without the machine standing still, so
//! its memory is asked for as zeroed. A host's allocator hands out such memory untouched, page by
//! page as it is used; nothing is written here. Failure is an answer, never an abort.
//!
//! The array begins on a cache line and never moves while it lives. Where the allocator has no
//! zeroed memory it would write all of it at once: who can wait makes it a [`Zeroing`] first, which
//! is written a piece at a time.

use alloc::alloc::{Layout, alloc, alloc_zeroed, dealloc};
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
        Self::allocate(len, |layout| {
            // SAFETY: the layout is not empty.
            unsafe { alloc_zeroed(layout) }
        })
    }

    /// So many values; they are zero if `get` gives zeroed memory, and must not be looked at before
    /// they are if not. It is only called with a layout that is not empty.
    fn allocate(len: usize, get: impl Fn(Layout) -> *mut u8) -> Result<Self, CodeError> {
        let bytes = len.saturating_mul(size_of::<T>());
        let full = CodeError::NoMemory { bytes, limit: isize::MAX as usize };
        if bytes == 0 {
            let (block, start) = (NonNull::dangling(), NonNull::dangling());
            return Ok(Self { block, layout: None, start, len: 0, owns: PhantomData });
        }
        let room = bytes.checked_add(LINE_BYTES).ok_or(full)?;
        let layout = Layout::from_size_align(room, ALIGN).map_err(|_| full)?;
        let block = NonNull::new(get(layout)).ok_or(full)?;
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

/// An array that becomes zero piece by piece.
#[derive(Debug)]
pub struct Zeroing<T: Zeroable> {
    /// Not to be looked at before all of it is written.
    values: Zeroed<T>,
    /// Bytes that are zero already.
    done: usize,
}

impl<T: Zeroable> Zeroing<T> {
    /// Memory for `len` values, none of them written.
    ///
    /// # Errors
    /// [`CodeError::NoMemory`] if there is no memory for them.
    pub fn new(len: usize) -> Result<Self, CodeError> {
        let values = Zeroed::allocate(len, |layout| {
            // SAFETY: the layout is not empty.
            unsafe { alloc(layout) }
        })?;
        Ok(Self { values, done: 0 })
    }

    /// Writes at most so many bytes, and takes them off the budget; true once all are there.
    pub fn advance(&mut self, budget: &mut usize) -> bool {
        let all = self.values.bytes();
        let now = (all - self.done).min(*budget);
        let start = self.values.start.as_ptr().cast::<u8>();
        // SAFETY: `done + now` is at most the bytes of the values, which are this array's alone.
        unsafe { start.add(self.done).write_bytes(0, now) };
        self.done += now;
        *budget -= now;
        self.done == all
    }

    /// The array; what was not written yet is written now.
    #[must_use]
    pub fn finish(mut self) -> Zeroed<T> {
        self.advance(&mut usize::MAX.clone());
        self.values
    }
}

#[cfg(test)]
mod tests {
    use super::{LINE_BYTES, Zeroed, Zeroing};

    #[test]
    fn what_is_written_in_pieces_is_zero_in_the_end() {
        for (len, piece) in [(0, 5), (1, 1), (1000, 64), (1000, 4000), (77, 3)] {
            // Something else was there before.
            drop(core::hint::black_box(alloc::vec![0xa5_u8; len * 4 + 64]));
            let mut zeroing: Zeroing<u32> = Zeroing::new(len).unwrap();
            let (mut steps, mut done) = (0, false);
            while !done && steps < 40 {
                let mut budget = piece;
                done = zeroing.advance(&mut budget);
                steps += 1;
            }
            let zeros = zeroing.finish();
            assert_eq!(zeros.len(), len);
            assert!(zeros.iter().all(|value| *value == 0), "{len} by {piece}");
        }
        assert!(Zeroing::<u32>::new(usize::MAX / 2).is_err());
    }

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
