//! The kernel heap, and arenas for work that reserves its memory beforehand.
//!
//! One heap over frames taken at boot; up to [`ARENAS`] arenas over frames that somebody donated.
//! Inside [`Arena::enter`] the global allocator serves from the arena; a block always goes back to
//! where it came from, by its address. An arena that runs out falls back to the heap: that means a
//! reservation was too small, and it is counted.

use super::cell::OneCpu;
use super::frame::FrameRun;
use crate::limits::ARENAS;
use core::alloc::{GlobalAlloc, Layout};
use core::ops::Range;
use core::ptr::{self, NonNull};
use talc::base::Talc;
use talc::{DefaultBinning, source::Manual};

type Allocator = Talc<Manual, DefaultBinning>;

struct Area {
    allocator: Allocator,
    range: Range<usize>,
}

impl Area {
    const fn empty() -> Self {
        Self { allocator: Talc::new(Manual), range: 0..0 }
    }

    /// Takes memory over. Too little for the allocator's own lists: every allocation will fail.
    ///
    /// # Safety
    ///
    /// The memory is unused and stays the area's until nothing allocated in it is alive.
    unsafe fn claim(&mut self, bytes: Range<*mut u8>) {
        self.range = bytes.start as usize..bytes.end as usize;
        // SAFETY: passed on.
        unsafe { self.allocator.claim(bytes.start, self.range.len()) };
    }
}

struct Heap {
    main: Area,
    arenas: [Option<Area>; ARENAS],
    current: Option<usize>,
    overflows: u64,
}

impl Heap {
    fn allocate(&mut self, layout: Layout) -> *mut u8 {
        let arena = self.current.and_then(|slot| self.arenas[slot].as_mut());
        // SAFETY: the layout's size is not zero, by the contract of `GlobalAlloc`.
        let block = arena.map(|arena| unsafe { arena.allocator.allocate(layout) });
        let block = match block {
            Some(Some(block)) => Some(block),
            // SAFETY: as above.
            None => unsafe { self.main.allocator.allocate(layout) },
            Some(None) => {
                self.overflows += 1;
                // SAFETY: as above.
                unsafe { self.main.allocator.allocate(layout) }
            }
        };
        block.map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    /// The area that this block came from.
    fn area(&mut self, block: *mut u8) -> &mut Area {
        let address = block as usize;
        let Self { main, arenas, current, .. } = self;
        if main.range.contains(&address) {
            return main;
        }
        // Nearly always the one that serves now: there are many, and a proof gives back a lot.
        let holds = |slot: &usize| {
            let arena = arenas.get(*slot).and_then(Option::as_ref);
            arena.is_some_and(|arena| arena.range.contains(&address))
        };
        let slot = current.filter(holds).or_else(|| (0..ARENAS).find(holds));
        match slot.and_then(|slot| arenas[slot].as_mut()) {
            Some(arena) => arena,
            None => panic!("{block:p} was never allocated"),
        }
    }
}

static HEAP: OneCpu<Heap> = OneCpu::new(Heap {
    main: Area::empty(),
    arenas: [const { None }; ARENAS],
    current: None,
    overflows: 0,
});

struct Global;

#[global_allocator]
static GLOBAL: Global = Global;

// SAFETY: blocks come from `Talc`, which keeps this trait's promises for the memory it was given;
// `HEAP` lends itself to one caller at a time.
unsafe impl GlobalAlloc for Global {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HEAP.with(|heap| heap.allocate(layout))
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller promises that the block came from `alloc` with this layout, and
        // `area` finds where.
        HEAP.with(|heap| unsafe { heap.area(block).allocator.deallocate(block, layout) });
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as for `dealloc`; the caller promises that the new size is not zero.
        let in_place = HEAP.with(|heap| unsafe {
            heap.area(block).allocator.try_realloc_in_place(block, layout, size)
        });
        if in_place {
            return block;
        }
        // SAFETY: the caller promises that `size`, rounded up to the alignment, does not overflow.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        let new = HEAP.with(|heap| heap.allocate(wanted));
        if !new.is_null() {
            // SAFETY: both blocks are alive, distinct, and at least this long.
            unsafe { ptr::copy_nonoverlapping(block, new, layout.size().min(size)) };
            // SAFETY: passed on; nobody uses the old block after a move.
            unsafe { self.dealloc(block, layout) };
        }
        new
    }
}

/// Gives the heap its memory, for good.
pub(super) fn init(run: FrameRun) {
    // SAFETY: the run came from the pool and is never given back.
    HEAP.with(|heap| unsafe { heap.main.claim(run.bytes()) });
}

/// Bytes that the kernel heap could still hand out, in pieces.
pub fn free_bytes() -> usize {
    HEAP.with(|heap| heap.main.allocator.counters().available_bytes)
}

/// Bytes that the kernel heap has handed out.
pub fn used_bytes() -> usize {
    HEAP.with(|heap| heap.main.allocator.counters().allocated_bytes)
}

/// Allocations that overflowed their arena into the heap.
pub fn arena_overflows() -> u64 {
    HEAP.with(|heap| heap.overflows)
}

/// Memory that some work may use and that is given back whole.
///
/// Dropping it instead of calling [`Arena::into_run`] leaks its frames.
pub struct Arena {
    run: FrameRun,
    /// Its place in the table; `None` when the table was full: then it only keeps its frames.
    slot: Option<usize>,
}

impl Arena {
    /// An arena over these frames.
    pub fn new(run: FrameRun) -> Self {
        let slot = HEAP.with(|heap| {
            let slot = heap.arenas.iter().position(Option::is_none)?;
            let area = heap.arenas[slot].insert(Area::empty());
            // SAFETY: the run is a linear handle that this arena keeps until `into_run`, which
            // lets go of it only when nothing is alive in it.
            unsafe { area.claim(run.bytes()) };
            Some(slot)
        });
        Self { run, slot }
    }

    /// Runs `f` with the global allocator serving from this arena.
    pub fn enter<R>(&mut self, f: impl FnOnce() -> R) -> R {
        let before = HEAP.with(|heap| core::mem::replace(&mut heap.current, self.slot));
        let result = f();
        HEAP.with(|heap| heap.current = before);
        result
    }

    /// Gives the frames back, unless something that was allocated in them is alive.
    pub fn into_run(self) -> Result<FrameRun, ArenaBusy> {
        let alive = HEAP.with(|heap| {
            let Some(slot) = self.slot else { return 0 };
            let area = heap.arenas[slot].as_ref();
            let alive = area.map_or(0, |area| area.allocator.counters().allocation_count);
            if alive == 0 {
                heap.arenas[slot] = None;
            }
            alive
        });
        if alive == 0 { Ok(self.run) } else { Err(ArenaBusy { arena: self, alive }) }
    }
}

/// The arena cannot be given back yet: something allocated in it is alive.
pub struct ArenaBusy {
    /// The arena, kept.
    pub arena: Arena,
    /// Allocations alive in it.
    pub alive: usize,
}

impl core::fmt::Debug for ArenaBusy {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "ArenaBusy {{ alive: {} }}", self.alive)
    }
}
