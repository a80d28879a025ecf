//! How the heap grows: whole pages, upward, at addresses nobody else uses.
//!
//! Kept apart from the allocator so that it can be tested anywhere. A page that was mapped is never
//! lost: when a growth fails half-way, the next one begins where it stopped.

use abi::limits::PAGE_BYTES;
use abi::{Handle, Status};

use crate::capability::{Env, Page};
use crate::layout::{HEAP, HEAP_END, HEAP_STEP_PAGES};

/// The heap's end, and how far pages are mapped behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Growth {
    /// One past the last byte that the allocator has.
    pub(super) end: u64,
    /// One past the last mapped byte.
    mapped: u64,
}

impl Growth {
    /// Nothing mapped yet.
    pub(super) const fn new() -> Growth {
        Growth { end: HEAP, mapped: HEAP }
    }

    /// Maps pages for at least `bytes` more; the range that the allocator gains.
    pub(super) fn grow(&mut self, own: Handle, bytes: usize) -> Result<(u64, u64), Status> {
        if own == Handle::NONE {
            return Err(Status::NoMemory);
        }
        let pages = bytes.div_ceil(PAGE_BYTES).max(HEAP_STEP_PAGES) as u64;
        let size = pages.checked_mul(PAGE_BYTES as u64).ok_or(Status::NoMemory)?;
        let end = self.end.checked_add(size).ok_or(Status::NoMemory)?;
        if end > HEAP_END {
            return Err(Status::NoMemory);
        }
        let own = Env(own);
        while self.mapped < end {
            let page = Page::alloc(own)?;
            if let Err(status) = page.map(own, self.mapped, true) {
                let _ = page.free();
                return Err(status);
            }
            // The mapping holds the page; the name is not needed.
            let _ = page.forget();
            self.mapped += PAGE_BYTES as u64;
        }
        let begin = core::mem::replace(&mut self.end, end);
        Ok((begin, end))
    }
}

#[cfg(test)]
mod tests {
    use super::Growth;
    use crate::layout::{HEAP, HEAP_END, HEAP_STEP_PAGES};
    use crate::sys::{Request, host};
    use abi::{Call, Handle, Status};
    use std::cell::Cell;
    use std::rc::Rc;

    const OWN: Handle = Handle(5);

    #[test]
    fn ranges_join_and_no_page_is_lost() {
        let frames = Rc::new(Cell::new(20u64));
        let left = frames.clone();
        let _guard = host::script(move |request| match request {
            Request::Plain { call: Call::PageAlloc, .. } if left.get() == 0 => {
                (Status::NoMemory as u64, 0)
            }
            Request::Plain { call: Call::PageAlloc, .. } => {
                left.set(left.get() - 1);
                (0, 100 + left.get())
            }
            _ => (0, 0),
        });
        let mut growth = Growth::new();
        let step = (HEAP_STEP_PAGES * 4096) as u64;
        assert_eq!(growth.grow(OWN, 1), Ok((HEAP, HEAP + step)));
        // Four pages are left: not enough, but they stay mapped for the next try.
        assert_eq!(growth.grow(OWN, 1), Err(Status::NoMemory));
        assert_eq!(growth.end, HEAP + step);
        frames.set(12);
        assert_eq!(growth.grow(OWN, 1), Ok((HEAP + step, HEAP + 2 * step)));
        assert_eq!(frames.get(), 0);
    }

    #[test]
    fn a_request_beyond_the_range_asks_for_nothing() {
        let _guard = host::script(|request| panic!("asked for {request:?}"));
        let mut growth = Growth::new();
        assert_eq!(growth.grow(OWN, (HEAP_END - HEAP) as usize + 1), Err(Status::NoMemory));
        assert_eq!(growth.grow(OWN, usize::MAX), Err(Status::NoMemory));
        assert_eq!(growth.grow(Handle::NONE, 1), Err(Status::NoMemory));
    }
}
