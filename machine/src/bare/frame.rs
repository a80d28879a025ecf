//! Frames of physical memory, behind handles, and the pool of free ones.
//!
//! A [`Frame`] may be mapped in ring 3 and written there at any moment, so its bytes are only ever
//! copied by string instructions or read as single atomics, never borrowed.
//!
//! `MAPS` counts, per frame, the places it is mapped at. [`FramePool::give`] refuses (stops the
//! kernel) while that is not zero: a frame that is free for the kernel's own use can be in nobody
//! else's page tables. That is what makes the rest of this crate's safe interface sound.

use super::layout::phys_to_virt;
use super::pvh::Loaded;
use super::{cell::OneCpu, layout};
use crate::frames::FrameMap;
use crate::memory::{FrameNumber, PAGE};
use crate::owners::Owners;
use abi::exposed::{FRAME_FREE, FRAME_KERNEL};
use core::arch::asm;
use core::ops::{Deref, Range};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use runtime::native::{Code, Pipe, pipe};

/// A linear handle to one frame.
#[derive(Debug)]
pub struct Frame {
    number: FrameNumber,
}

impl Frame {
    /// Which frame it is.
    pub fn number(&self) -> FrameNumber {
        self.number
    }

    /// A second handle, with which the frame cannot be given back.
    pub fn pin(&self) -> Pinned {
        mapped(self.number);
        Pinned(Frame { number: self.number })
    }

    /// Copies bytes out. Panics when the range leaves the frame: a kernel bug.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        let from = self.at(offset, into.len());
        // SAFETY: `at` checked the range; `into` is exclusive, so it is no part of any frame.
        unsafe { copy(into.as_mut_ptr(), from, into.len()) }
    }

    /// Copies bytes in. Panics when the range leaves the frame: a kernel bug.
    pub fn write(&self, offset: usize, from: &[u8]) {
        let to = self.at(offset, from.len());
        // SAFETY: `at` checked the range, and the kernel holds no reference into a frame.
        unsafe { copy(to, from.as_ptr(), from.len()) }
    }

    /// Moves bytes in through a pipe; its sums, as it made them. Panics when the range leaves the
    /// frame: a kernel bug.
    pub fn pipe(&self, offset: usize, from: &[u8], code: &Code<Pipe>) -> [u64; pipe::SUMS] {
        let to = self.at(offset, from.len());
        // SAFETY: `at` checked the range, and the kernel holds no reference into a frame.
        unsafe { code.run_to(from, to) }
    }

    /// Reads an aligned little-endian word, with acquire ordering.
    pub fn load_u32(&self, offset: usize) -> u32 {
        self.word::<AtomicU32>(offset).load(Ordering::Acquire)
    }

    /// Writes an aligned little-endian word, with release ordering.
    pub fn store_u32(&self, offset: usize, value: u32) {
        self.word::<AtomicU32>(offset).store(value, Ordering::Release);
    }

    /// Reads an aligned little-endian double word, with acquire ordering.
    pub fn load_u64(&self, offset: usize) -> u64 {
        self.word::<AtomicU64>(offset).load(Ordering::Acquire)
    }

    /// Writes an aligned little-endian double word, with release ordering.
    pub fn store_u64(&self, offset: usize, value: u64) {
        self.word::<AtomicU64>(offset).store(value, Ordering::Release);
    }

    /// Fills the frame with zero bytes.
    pub fn zero(&self) {
        // SAFETY: the frame is ours to write, and the kernel holds no reference into it.
        unsafe { zero(self.at(0, PAGE), 1) }
    }

    /// The address of a range of this frame in the physical map, checked to lie inside.
    pub(super) fn at(&self, offset: usize, len: usize) -> *mut u8 {
        let fits = offset <= PAGE && len <= PAGE - offset;
        assert!(fits, "{len} bytes at {offset} leave their frame");
        phys_to_virt(self.number.0 * PAGE as u64 + offset as u64)
    }

    /// One atomic word of the frame. `T` is an atomic integer.
    fn word<T>(&self, offset: usize) -> &T {
        assert!(offset.is_multiple_of(size_of::<T>()), "unaligned word at {offset}");
        // SAFETY: in range (`at`), aligned (just checked), and every bit pattern is an integer.
        // Others write it only as hardware does, word by word, which an atomic allows for.
        unsafe { &*self.at(offset, size_of::<T>()).cast::<T>() }
    }
}

/// A second handle to a frame, to look at and write it: while there is one, the frame counts as
/// mapped and cannot be given back.
#[derive(Debug)]
pub struct Pinned(Frame);

impl Deref for Pinned {
    type Target = Frame;

    #[inline]
    fn deref(&self) -> &Frame {
        &self.0
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        unmapped(self.0.number);
    }
}

/// Frames in a row, for arenas and devices.
#[derive(Debug)]
pub struct FrameRun {
    first: FrameNumber,
    count: usize,
}

impl FrameRun {
    /// The first frame's number.
    pub fn first(&self) -> FrameNumber {
        self.first
    }

    /// How many frames.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The run's bytes in the physical map.
    pub(super) fn bytes(&self) -> Range<*mut u8> {
        let start = phys_to_virt(self.first.0 * PAGE as u64);
        start..start.wrapping_add(self.count * PAGE)
    }
}

/// How often each frame is mapped, by number.
static MAPS: OneCpu<&'static [AtomicU32]> = OneCpu::new(&[]);

/// Counts a mapping of this frame.
pub(super) fn mapped(number: FrameNumber) {
    MAPS.with(|maps| maps[number.0 as usize].fetch_add(1, Ordering::Relaxed));
}

/// Counts the end of a mapping of this frame.
pub(super) fn unmapped(number: FrameNumber) {
    MAPS.with(|maps| maps[number.0 as usize].fetch_sub(1, Ordering::Relaxed));
}

/// The free frames.
pub struct FramePool {
    pub(crate) map: FrameMap<&'static mut [u64]>,
    pub(crate) owners: Owners,
}

impl FramePool {
    /// Takes any free frame. Its contents are whatever they were.
    pub fn take(&mut self) -> Option<Frame> {
        let number = self.map.take()?;
        self.owners.set(number, FRAME_KERNEL);
        Some(Frame { number: FrameNumber(number) })
    }

    /// Takes this very frame, if it is free.
    pub fn take_at(&mut self, number: FrameNumber) -> Option<Frame> {
        let free = self.map.take_at(number.0);
        free.then(|| {
            self.owners.set(number.0, FRAME_KERNEL);
            Frame { number }
        })
    }

    /// Takes `count` frames in a row.
    pub fn take_run(&mut self, count: usize) -> Option<FrameRun> {
        self.take_aligned(count, 1)
    }

    /// Takes `count` frames in a row from a multiple of `align` frames.
    pub(super) fn take_aligned(&mut self, count: usize, align: u64) -> Option<FrameRun> {
        let first = self.map.take_run(count, align)?;
        self.owners.set_run(first..first + count as u64, false);
        Some(FrameRun { first: FrameNumber(first), count })
    }

    /// Takes a frame back. Panics if it is still mapped somewhere: a kernel bug.
    pub fn give(&mut self, frame: Frame) {
        self.put(frame.number);
    }

    /// Takes a run back.
    pub fn give_run(&mut self, run: FrameRun) {
        let range = run.first.0..run.first.0 + run.count as u64;
        let free = |map: &AtomicU32| map.load(Ordering::Relaxed) == 0;
        let unmapped =
            MAPS.with(|maps| maps[range.start as usize..range.end as usize].iter().all(free));
        assert!(unmapped, "frames {range:x?} given back while mapped");
        self.map.put_run(range.clone());
        self.owners.set_run(range, true);
    }

    fn put(&mut self, number: FrameNumber) {
        let maps = MAPS.with(|maps| maps[number.0 as usize].load(Ordering::Relaxed));
        assert!(maps == 0, "frame {:#x} given back while mapped {maps} times", number.0);
        self.map.put(number.0);
        self.owners.set(number.0, FRAME_FREE);
    }

    /// Gives back the frame of a page table, whose handle was spent when it became one.
    ///
    /// # Safety
    ///
    /// The frame was taken from this pool, and nothing points to it any more.
    pub(super) unsafe fn put_table(&mut self, number: FrameNumber) {
        self.put(number);
    }
}

/// Makes the pool from the loader's memory map: all memory but the first MiB, the kernel, the
/// initrd, and the pool's own books.
pub(super) fn pool(loaded: &Loaded) -> FramePool {
    let mut taken = [0..1 << 20, layout::image_frames(), loaded.initrd.clone(), 0..0];
    let end = loaded.memory().iter().map(|region| region.end).max().unwrap_or(0);
    let frames = (end.min(layout::PHYS_SIZE) / PAGE as u64) as usize;
    let words = frames.div_ceil(64);
    let books = (words * 8 + frames * 4).next_multiple_of(PAGE) as u64;

    let place = loaded.memory().iter().find_map(|region| place(region, &taken, books));
    let Some(place) = place else { panic!("no room for the books of {frames} frames") };
    // SAFETY: this memory is in no range taken, it is below 4 GiB and so mapped, and it is never
    // added to the pool; page alignment suits both element types, and zero is valid for both.
    let (words, maps) = unsafe {
        let base = phys_to_virt(place);
        base.write_bytes(0, books as usize);
        let maps = base.add(words * 8).cast::<AtomicU32>();
        (
            core::slice::from_raw_parts_mut(base.cast::<u64>(), words),
            core::slice::from_raw_parts(maps, frames),
        )
    };
    MAPS.with(|slot| *slot = maps);
    taken[3] = place..place + books;
    let mut map = FrameMap::new(words);
    for region in loaded.memory() {
        add(&mut map, region.clone(), &taken);
    }
    FramePool { map, owners: Owners::default() }
}

/// Adds the whole frames of a region that touch none of the taken ranges.
fn add(map: &mut FrameMap<&'static mut [u64]>, region: Range<u64>, taken: &[Range<u64>]) {
    let page = PAGE as u64;
    let mut at = region.start.next_multiple_of(page);
    while at + page <= region.end {
        let clash = taken.iter().find(|t| t.start < at + page && at < t.end);
        match clash {
            Some(taken) => at = taken.end.next_multiple_of(page),
            None => {
                map.add(at / page..at / page + 1);
                at += page;
            }
        }
    }
}

/// The lowest place for `bytes` in a region below 4 GiB that touches none of the taken ranges.
fn place(region: &Range<u64>, taken: &[Range<u64>], bytes: u64) -> Option<u64> {
    let mut at = region.start.next_multiple_of(PAGE as u64);
    while at + bytes <= region.end.min(4 << 30) {
        match taken.iter().find(|t| t.start < at + bytes && at < t.end) {
            Some(taken) => at = taken.end.next_multiple_of(PAGE as u64),
            None => return Some(at),
        }
    }
    None
}

/// Copies bytes with string instructions: what others do to the memory meanwhile is theirs.
///
/// # Safety
///
/// Both ranges are mapped and do not overlap; `to` is writable and nothing relies on its bytes.
pub(super) unsafe fn copy(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: as promised by the caller. The direction flag is clear in Rust code.
    unsafe {
        asm!(
            "rep movsq", "mov rcx, {tail}", "rep movsb",
            tail = in(reg) len % 8, inout("rcx") len / 8 => _,
            inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags)
        );
    }
}

/// Fills pages with zero.
///
/// # Safety
///
/// The pages are mapped and writable, and nothing relies on their bytes.
pub(super) unsafe fn zero(to: *mut u8, pages: usize) {
    // SAFETY: as promised by the caller. The direction flag is clear in Rust code.
    unsafe {
        asm!(
            "rep stosq",
            inout("rcx") pages * PAGE / 8 => _, inout("rdi") to => _, in("rax") 0_u64,
            options(nostack, preserves_flags)
        );
    }
}
