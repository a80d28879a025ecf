//! Memory that somebody else writes at the same time.
//!
//! A [`Window`] is a run of pages shared with the kernel or with another environment. Its content
//! may change between two looks, so that it is never borrowed as a slice: bytes are copied by the
//! machine's own instruction for it, and indices are single words with acquire and release. An
//! offset outside the window is a bug of the caller, and ends the program.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use abi::limits::PAGE_BYTES;
use abi::{Handle, Status};
use alloc::vec::Vec;

use super::platform;
use crate::capability::{Env, Page};
use crate::layout::{WINDOWS, WINDOWS_END};

/// A shared run of memory.
#[derive(Clone, Debug)]
pub struct Window {
    pub(super) base: *mut u8,
    bytes: usize,
}

// SAFETY: every access is one atomic operation, or the machine's own copy, on memory that stays
// mapped.
unsafe impl Send for Window {}
// SAFETY: as above.
unsafe impl Sync for Window {}

impl Window {
    /// A window at an address.
    ///
    /// # Safety
    /// The memory is mapped readable (writable, if anything is stored) for as long as the window
    /// or a clone lives, aligned to 8, and nobody makes a Rust reference into it.
    pub(super) unsafe fn at(base: *mut u8, bytes: usize) -> Window {
        Window { base, bytes }
    }

    /// Bytes in it.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Copies bytes out.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        self.check(offset, into.len());
        // SAFETY: the window has these bytes, and `into` is as long and nobody else's.
        unsafe { copy(self.base.add(offset), into.as_mut_ptr(), into.len()) };
    }

    /// Copies bytes in.
    pub fn write(&self, offset: usize, from: &[u8]) {
        self.check(offset, from.len());
        // SAFETY: the window has these bytes and is writable, and `from` is as long.
        unsafe { copy(from.as_ptr(), self.base.add(offset), from.len()) };
    }

    /// The word there; what was written before it was stored is seen after this.
    pub fn load_u32(&self, offset: usize) -> u32 {
        self.word32(offset).load(Ordering::Acquire)
    }

    /// The double word there; what was written before it was stored is seen after this.
    pub fn load_u64(&self, offset: usize) -> u64 {
        self.check(offset, 8);
        assert!(offset.is_multiple_of(8), "double word at odd offset {offset}");
        self.word(offset).load(Ordering::Acquire)
    }

    /// Stores the word; what was written before is seen by who loads it.
    pub fn store_u32(&self, offset: usize, value: u32) {
        self.word32(offset).store(value, Ordering::Release);
    }

    fn check(&self, offset: usize, length: usize) {
        let inside = offset.checked_add(length).is_some_and(|end| end <= self.bytes);
        assert!(inside, "{length} bytes at {offset} leave a window of {}", self.bytes);
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        debug_assert!(at.is_multiple_of(8) && at + 8 <= self.bytes);
        // SAFETY: in range and aligned (the callers step by 8 from a multiple of 8).
        unsafe { AtomicU64::from_ptr(self.base.add(at).cast()) }
    }

    fn word32(&self, at: usize) -> &AtomicU32 {
        self.check(at, 4);
        assert!(at.is_multiple_of(4), "word at odd offset {at}");
        // SAFETY: in range and aligned, just checked.
        unsafe { AtomicU32::from_ptr(self.base.add(at).cast()) }
    }
}

/// Copies bytes of which one side may be written by somebody else meanwhile: then what is copied is
/// any mixture, and nothing worse. Eight at a time, aligned or not.
///
/// # Safety
/// `from` can be read and `to` written for so many bytes, and they do not overlap.
unsafe fn copy(from: *const u8, to: *mut u8, bytes: usize) {
    // SAFETY: the caller's promise; the direction flag is clear at every function's entry (System
    // V ABI, 3.2.1). What the machine does to memory here is no access of the language's, so that
    // no race is one of the language's either.
    unsafe {
        core::arch::asm!(
            "rep movsq",
            "mov rcx, {rest}",
            "rep movsb",
            rest = in(reg) bytes % 8,
            inout("rcx") bytes / 8 => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags),
        );
    }
}

static NEXT_WINDOW: AtomicU64 = AtomicU64::new(WINDOWS);

/// New zeroed pages of one's own, mapped in a row: the window and the pages' names.
///
/// # Errors
/// What the kernel said; pages that were already there are freed.
pub fn new_window(own: Env, pages: usize) -> Result<(Window, Vec<Page>), Status> {
    let size = (pages * PAGE_BYTES) as u64;
    let base = NEXT_WINDOW.fetch_add(size, Ordering::Relaxed);
    if base.saturating_add(size) > WINDOWS_END {
        return Err(Status::Limit);
    }
    let mut names: Vec<Page> = Vec::with_capacity(pages);
    for place in 0..pages {
        let at = base + (place * PAGE_BYTES) as u64;
        let made = Page::alloc(own);
        let mapped = made.and_then(|page| {
            names.push(page);
            page.map(own, at, true)
        });
        if let Err(status) = mapped {
            for page in &names {
                // The first refusal is the one to report.
                let _ = page.free();
            }
            return Err(status);
        }
    }
    let handles: Vec<Handle> = names.iter().map(|page| page.0).collect();
    Ok((platform::window(base, &handles), names))
}

/// Shows a page, one's own or somebody else's, for as long as `use_it` runs.
///
/// # Errors
/// What the kernel said when the page was mapped or unmapped.
pub fn with_scratch<R>(
    own: Env,
    page: Page,
    use_it: impl FnOnce(&Window) -> R,
) -> Result<R, Status> {
    page.map(own, crate::layout::SCRATCH, true)?;
    let window = platform::window(crate::layout::SCRATCH, &[page.0]);
    let result = use_it(&window);
    own.unmap(crate::layout::SCRATCH)?;
    Ok(result)
}
