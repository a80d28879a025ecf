//! What the kernel shows to everybody, read without a call: clock, books, frames, environments.
//!
//! Reading is a few loads. The system page is refreshed when a slice begins; the frame table and
//! the page tables are always current. A reader that was preempted while the page changed reads
//! again.

use abi::exposed as at;

use crate::sys::{self, Window};

/// The exposed pages.
#[derive(Clone, Debug)]
pub struct Exposed {
    window: Window,
}

/// A row of the environment table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The environment's number.
    pub id: u32,
    /// Its state, as a number ([`abi::start::State`]).
    pub state: u32,
    /// Its creator's number, 0 for none.
    pub parent: u32,
    /// Frames that it may hold.
    pub quota: u64,
    /// Frames charged to it.
    pub used: u64,
    /// Pages that it owns.
    pub pages: u64,
    /// Its name, zeros behind it.
    pub name: [u8; 32],
}

impl Exposed {
    /// The pages, which are there in every address space.
    pub fn new() -> Exposed {
        Exposed { window: sys::shared_region(at::SYSTEM, at::END - at::SYSTEM) }
    }

    /// Nanoseconds since boot, by the time-stamp counter and the kernel's calibration of it.
    pub fn now_ns(&self) -> u64 {
        let elapsed = sys::cycles().wrapping_sub(self.system(at::CLOCK_BASE));
        ((u128::from(elapsed) * u128::from(self.system(at::CLOCK_SCALE))) >> 32) as u64
    }

    /// Unix time in nanoseconds, if the machine has a clock.
    pub fn unix_ns(&self) -> Option<u64> {
        let boot = self.system(at::WALL_NS);
        (boot != 0).then(|| boot.saturating_add(self.now_ns()))
    }

    /// A word of the system page, by its offset in `abi::exposed`.
    pub fn system(&self, offset: usize) -> u64 {
        self.window.load_u64(offset)
    }

    /// Several words of the system page as they were at one moment.
    pub fn consistent<const N: usize>(&self, offsets: [usize; N]) -> [u64; N] {
        loop {
            let before = self.window.load_u32(at::SEQUENCE);
            let words = offsets.map(|offset| self.system(offset));
            if before.is_multiple_of(2) && self.window.load_u32(at::SEQUENCE) == before {
                return words;
            }
        }
    }

    /// Whose a frame is: an environment's number, [`at::FRAME_FREE`] or [`at::FRAME_KERNEL`].
    pub fn owner(&self, frame: u64) -> Option<u32> {
        let entry = usize::try_from(frame).ok().filter(|_| frame < self.frames())?;
        Some(self.window.load_u32((at::FRAMES - at::SYSTEM) as usize + entry * 4))
    }

    /// Frame numbers that the frame table knows.
    pub fn frames(&self) -> u64 {
        self.system(at::FRAME_ENTRIES)
    }

    /// A free frame at or after this number.
    pub fn free_frame(&self, from: u64) -> Option<u64> {
        (from..self.frames()).find(|&frame| self.owner(frame) == Some(at::FRAME_FREE))
    }

    /// A row of the environment table.
    pub fn row(&self, row: u64) -> Option<Row> {
        let rows = self.system(at::ENVIRONMENT_ROWS);
        let row = usize::try_from(row).ok().filter(|&row| (row as u64) < rows)?;
        let start = (at::ENVIRONMENTS - at::SYSTEM) as usize + row * at::ROW_BYTES;
        let (short, long) = (
            |offset| self.window.load_u32(start + offset),
            |offset| self.window.load_u64(start + offset),
        );
        let mut name = [0; 32];
        self.window.read(start + at::ROW_NAME, &mut name);
        Some(Row {
            id: short(at::ROW_ID),
            state: short(at::ROW_STATE),
            parent: short(at::ROW_PARENT),
            quota: long(at::ROW_QUOTA),
            used: long(at::ROW_USED),
            pages: long(at::ROW_PAGES),
            name,
        })
    }
}

impl Default for Exposed {
    fn default() -> Exposed {
        Exposed::new()
    }
}

/// The processor's own entry for a page that the program knows to be bound: one load.
pub fn leaf(va: u64) -> u64 {
    sys::paged::probe_load(at::leaf_entry(va)).unwrap_or_default()
}

/// The same for any address of ring 3; 0 where nothing is bound. Four loads.
pub fn leaf_or_none(va: u64) -> u64 {
    for entry in [at::root_entry(va), at::pointer_entry(va), at::directory_entry(va)] {
        if sys::paged::probe_load(entry).unwrap_or_default() & at::LEAF_PRESENT == 0 {
            return 0;
        }
    }
    leaf(va)
}
