//! The code window: pages for generated code, in one of three states.
//!
//! | state | mapped |
//! |---|---|
//! | free | not at all |
//! | open | readable, writable |
//! | sealed | readable, executable |
//!
//! The window's frames have no other mapping: the physical map leaves them out. Page `i` of the
//! window always shows frame `i` of its run, so nothing is ever remapped to another address.

use super::layout::CODE_BASE;
use super::paging;
use crate::limits::CODE_WINDOW;
use crate::memory::PAGE;
use core::ops::Range;
use runtime::pages::{CodeError, CodePages, CodeRegion, Sealed};
use x86_64::VirtAddr;
use x86_64::instructions::tlb;
use x86_64::structures::paging::PageTableFlags;

const PAGES: usize = CODE_WINDOW / PAGE;
/// What unwritten bytes hold: `int3`.
const TRAP: u8 = 0xcc;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    Open,
    Sealed,
}

/// The window. There is one.
pub struct CodeWindow {
    phys: u64,
    states: [State; PAGES],
}

impl CodeWindow {
    /// The window over this memory.
    ///
    /// # Safety
    ///
    /// The memory is `CODE_WINDOW` bytes, mapped nowhere, used by nothing else, and this is called
    /// once, after [`paging::switch`] has made the window's tables.
    pub(super) unsafe fn new(phys: u64) -> Self {
        Self { phys, states: [State::Free; PAGES] }
    }

    /// Bytes of code pages in use.
    pub fn used(&self) -> usize {
        self.states.iter().filter(|state| **state != State::Free).count() * PAGE
    }

    /// The lowest row of `count` free pages.
    fn room(&self, count: usize) -> Option<usize> {
        let mut row = 0;
        for (index, state) in self.states.iter().enumerate() {
            row = if *state == State::Free { row + 1 } else { 0 };
            if row == count {
                return Some(index + 1 - count);
            }
        }
        None
    }

    /// The pages of a region, if it is one of ours in this state.
    fn pages(&self, base: usize, len: usize, state: State) -> Option<Range<usize>> {
        let offset = base.checked_sub(CODE_BASE as usize)?;
        let pages = offset / PAGE..offset.checked_add(len)? / PAGE;
        let ours = self.states.get(pages.clone())?.iter().all(|page| *page == state);
        (ours && !pages.is_empty() && offset.is_multiple_of(PAGE)).then_some(pages)
    }

    /// Puts pages into a state: books, tables, and the processor's copies of them.
    fn enter(&mut self, pages: Range<usize>, state: State) {
        let root = paging::root();
        for page in pages {
            let va = CODE_BASE + (page * PAGE) as u64;
            let Some(slot) = root.find(va, 1) else { panic!("the code window has no tables") };
            let read = PageTableFlags::PRESENT | PageTableFlags::GLOBAL;
            let phys = self.phys + (page * PAGE) as u64;
            match state {
                State::Free => slot.clear(),
                State::Open => {
                    slot.set(phys, read | PageTableFlags::WRITABLE | paging::no_execute());
                }
                State::Sealed => slot.set(phys, read),
            }
            tlb::flush(VirtAddr::new(va));
            self.states[page] = state;
        }
    }
}

// SAFETY: regions are disjoint rows of pages (`room` takes free ones, `enter` marks them); pages
// are writable only while open and executable only while sealed (`enter`), by this one mapping;
// the kernel's tables outlive this value, so what is sealed stays sealed if it is dropped; and a
// region that is not ours in the right state changes nothing (`pages`).
unsafe impl CodePages for CodeWindow {
    fn reserve(&mut self, bytes: usize) -> Result<CodeRegion, CodeError> {
        let full = CodeError::NoMemory { bytes, limit: CODE_WINDOW };
        let count = bytes.max(1).div_ceil(PAGE);
        let first = self.room(count).ok_or(full)?;
        self.enter(first..first + count, State::Open);
        let base = CODE_BASE as usize + first * PAGE;
        // SAFETY: just mapped writable, and ours alone.
        unsafe { (base as *mut u8).write_bytes(TRAP, count * PAGE) };
        // SAFETY: open pages are not executable and named by no other region.
        Ok(unsafe { CodeRegion::new(base, count * PAGE) })
    }

    fn write(&mut self, region: &CodeRegion, offset: usize, bytes: &[u8]) -> Result<(), CodeError> {
        let error = CodeError::OutsideRegion { offset, bytes: bytes.len(), len: region.len() };
        let fits = offset <= region.len() && bytes.len() <= region.len() - offset;
        if !fits || self.pages(region.base(), region.len(), State::Open).is_none() {
            return Err(error);
        }
        let to = (region.base() + offset) as *mut u8;
        // SAFETY: the range is in open pages, which are mapped writable and referred to by nobody.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }

    fn seal(&mut self, region: CodeRegion) -> Result<Sealed, CodeError> {
        let pages = self.pages(region.base(), region.len(), State::Open);
        self.enter(pages.ok_or(CodeError::SealFailed)?, State::Sealed);
        // SAFETY: the pages are executable and not writable now, and stale translations are gone.
        Ok(unsafe { Sealed::new(region) })
    }

    fn abandon(&mut self, region: CodeRegion) {
        if let Some(pages) = self.pages(region.base(), region.len(), State::Open) {
            self.enter(pages, State::Free);
        }
    }

    fn free(&mut self, sealed: Sealed) {
        if let Some(pages) = self.pages(sealed.base(), sealed.len(), State::Sealed) {
            self.enter(pages, State::Free);
        }
    }
}
