//! The global allocator: talc over pages that are asked for when they are needed.
//!
//! It begins with a static area, because the start block that names the program's own environment
//! is itself read with the heap. Out of memory is an allocation failure, which ends this program.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};

use talc::base::Talc;
use talc::base::binning::Binning;
use talc::cell::TalcSyncCell;
use talc::source::Source;
use talc::{DefaultBinning, TalcCell};

use super::growth::Growth;
use crate::layout::BOOT_HEAP_BYTES;

#[global_allocator]
static HEAP: Guarded = Guarded {
    // SAFETY: a ring-3 program is one thread; an upcall handler that interrupts the allocator finds
    // it busy and is refused, so that no second caller ever meets it.
    talc: unsafe { TalcSyncCell::new(TalcCell::new(Pages::new())) },
    busy: AtomicBool::new(false),
};

/// The allocator, for one caller at a time. Memory that a handler frees while it is busy is lost.
struct Guarded {
    talc: TalcSyncCell<Pages, DefaultBinning>,
    busy: AtomicBool,
}

// SAFETY: what is allocated is talc's; a refusal is a null pointer.
unsafe impl GlobalAlloc for Guarded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if self.busy.swap(true, Ordering::Acquire) {
            return core::ptr::null_mut();
        }
        // SAFETY: as the caller promises.
        let block = unsafe { self.talc.alloc(layout) };
        self.busy.store(false, Ordering::Release);
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if self.busy.swap(true, Ordering::Acquire) {
            return;
        }
        // SAFETY: as the caller promises.
        unsafe { self.talc.dealloc(block, layout) };
        self.busy.store(false, Ordering::Release);
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if self.busy.swap(true, Ordering::Acquire) {
            return core::ptr::null_mut();
        }
        // SAFETY: as the caller promises.
        let block = unsafe { self.talc.realloc(block, layout, size) };
        self.busy.store(false, Ordering::Release);
        block
    }
}

#[repr(C, align(16))]
struct Boot(UnsafeCell<[u8; BOOT_HEAP_BYTES]>);

// SAFETY: only the allocator takes its address, once, and there is one thread.
unsafe impl Sync for Boot {}

static BOOT: Boot = Boot(UnsafeCell::new([0; BOOT_HEAP_BYTES]));

/// Where the allocator's memory comes from.
#[derive(Debug)]
struct Pages {
    booted: bool,
    growth: Growth,
    /// End of the talc heap that lies in pages, once there is one.
    heap_end: Option<NonNull<u8>>,
}

// SAFETY: `acquire` calls the kernel only; nothing on that way allocates.
unsafe impl Source for Pages {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        if !talc.source.booted {
            talc.source.booted = true;
            // SAFETY: the area is this allocator's alone and lives for ever.
            let claimed = unsafe { talc.claim(BOOT.0.get().cast(), BOOT_HEAP_BYTES) };
            return claimed.map(|_| ()).ok_or(());
        }
        // Room for talc's own words and for the alignment.
        let wanted = layout.size().checked_add(layout.align()).ok_or(())?;
        let wanted = wanted.checked_add(abi::limits::PAGE_BYTES).ok_or(())?;
        let (begin, end) = talc.source.growth.grow(super::own(), wanted).map_err(|_| ())?;
        let size = (end - begin) as usize;
        // SAFETY: the pages were just mapped writable, for good, at addresses that nothing else
        // uses; `heap_end` came from `claim` or `extend` and the heap is never cut.
        let heap_end = unsafe {
            match talc.source.heap_end {
                None => talc.claim(begin as *mut u8, size).ok_or(())?,
                Some(old) => talc.extend(old, end as *mut u8),
            }
        };
        talc.source.heap_end = Some(heap_end);
        Ok(())
    }
}

impl Pages {
    const fn new() -> Pages {
        Pages { booted: false, growth: Growth::new(), heap_end: None }
    }
}
