//! The global allocator: talc over pages that are asked for when they are needed.
//!
//! It begins with a static area, because the start block that names the program's own environment
//! is itself read with the heap. Out of memory is an allocation failure, which ends this program.

use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::ptr::NonNull;

use talc::base::Talc;
use talc::base::binning::Binning;
use talc::cell::TalcSyncCell;
use talc::source::Source;
use talc::{DefaultBinning, TalcCell};

use super::growth::Growth;
use crate::layout::BOOT_HEAP_BYTES;

#[global_allocator]
// SAFETY: a ring-3 program of this slice is one thread, and the kernel enters it at no other
// point than where it left, so that no second caller ever meets a busy allocator.
static HEAP: TalcSyncCell<Pages, DefaultBinning> =
    unsafe { TalcSyncCell::new(TalcCell::new(Pages::new())) };

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
