//! Frames as heap pages, shared with the address spaces that map them.

use crate::frames::FrameMap;
use crate::memory::{FrameNumber, PAGE};
use crate::owners::Owners;
use abi::exposed::{FRAME_FREE, FRAME_KERNEL};
use runtime::native::{Code, Pipe, pipe};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The bytes of a frame, shared between its handle and its mappings.
pub(super) type Page = Arc<[AtomicU8; PAGE]>;

/// What a fresh frame holds: memory is not clean until somebody cleans it.
const RUBBISH: u8 = 0xa5;

/// A linear handle to one frame.
#[derive(Debug)]
pub struct Frame {
    number: FrameNumber,
    pub(super) page: Page,
}

impl Frame {
    fn new(number: u64) -> Self {
        let page = Arc::new([const { AtomicU8::new(RUBBISH) }; PAGE]);
        Self { number: FrameNumber(number), page }
    }

    /// Which frame it is.
    pub fn number(&self) -> FrameNumber {
        self.number
    }

    /// A second handle, with which the frame cannot be given back.
    pub fn pin(&self) -> Pinned {
        Pinned(Frame { number: self.number, page: Arc::clone(&self.page) })
    }

    /// Copies bytes out. Panics when the range leaves the frame: a kernel bug.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        let bytes = &self.page[offset..][..into.len()];
        for (to, from) in into.iter_mut().zip(bytes) {
            *to = from.load(Ordering::Relaxed);
        }
    }

    /// Copies bytes in. Panics when the range leaves the frame: a kernel bug.
    pub fn write(&self, offset: usize, from: &[u8]) {
        let bytes = &self.page[offset..][..from.len()];
        for (to, from) in bytes.iter().zip(from) {
            to.store(*from, Ordering::Relaxed);
        }
    }

    /// Moves bytes in through a pipe; its sums, as it made them. Panics when the range leaves the
    /// frame: a kernel bug.
    pub fn pipe(&self, offset: usize, from: &[u8], code: &Code<Pipe>) -> [u64; pipe::SUMS] {
        let mut copy = vec![0; from.len()];
        let sums = code.run(from, &mut copy);
        self.write(offset, &copy);
        sums
    }

    /// Reads an aligned little-endian word, with acquire ordering.
    pub fn load_u32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.load(offset))
    }

    /// Writes an aligned little-endian word, with release ordering.
    pub fn store_u32(&self, offset: usize, value: u32) {
        self.store(offset, value.to_le_bytes());
    }

    /// Reads an aligned little-endian double word, with acquire ordering.
    pub fn load_u64(&self, offset: usize) -> u64 {
        u64::from_le_bytes(self.load(offset))
    }

    /// Writes an aligned little-endian double word, with release ordering.
    pub fn store_u64(&self, offset: usize, value: u64) {
        self.store(offset, value.to_le_bytes());
    }

    /// Fills the frame with zero bytes.
    pub fn zero(&self) {
        self.page.iter().for_each(|byte| byte.store(0, Ordering::Relaxed));
    }

    fn load<const N: usize>(&self, offset: usize) -> [u8; N] {
        assert!(offset.is_multiple_of(N), "unaligned load at {offset}");
        let mut bytes = [0; N];
        self.read(offset, &mut bytes);
        bytes
    }

    fn store<const N: usize>(&self, offset: usize, value: [u8; N]) {
        assert!(offset.is_multiple_of(N), "unaligned store at {offset}");
        self.write(offset, &value);
    }
}

/// A second handle to a frame, to look at and write it: while there is one, the frame counts as
/// mapped and cannot be given back.
#[derive(Debug)]
pub struct Pinned(Frame);

impl Deref for Pinned {
    type Target = Frame;

    fn deref(&self) -> &Frame {
        &self.0
    }
}

/// Frames in a row, for arenas.
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
}

/// The free frames.
pub struct FramePool {
    pub(crate) map: FrameMap<Vec<u64>>,
    pub(crate) owners: Owners,
}

impl FramePool {
    pub(super) fn new(frames: usize) -> Self {
        let first = 0x100; // As on a PC: the first MiB is not for us.
        let mut map = FrameMap::new(vec![0; (first + frames).div_ceil(64)]);
        map.add(first as u64..(first + frames) as u64);
        Self { map, owners: Owners::default() }
    }

    /// Takes any free frame. Its contents are whatever they were.
    pub fn take(&mut self) -> Option<Frame> {
        let number = self.map.take()?;
        self.owners.set(number, FRAME_KERNEL);
        Some(Frame::new(number))
    }

    /// Takes this very frame, if it is free.
    pub fn take_at(&mut self, number: FrameNumber) -> Option<Frame> {
        let free = self.map.take_at(number.0);
        free.then(|| {
            self.owners.set(number.0, FRAME_KERNEL);
            Frame::new(number.0)
        })
    }

    /// Takes `count` frames in a row.
    pub fn take_run(&mut self, count: usize) -> Option<FrameRun> {
        let first = self.map.take_run(count, 1)?;
        self.owners.set_run(first..first + count as u64, false);
        Some(FrameRun { first: FrameNumber(first), count })
    }

    /// Takes a frame back. Panics if it is still mapped somewhere: a kernel bug.
    pub fn give(&mut self, frame: Frame) {
        let maps = Arc::strong_count(&frame.page) - 1;
        assert!(maps == 0, "frame {:#x} given back while mapped {maps} times", frame.number.0);
        self.put(frame.number.0);
    }

    /// Takes a run back.
    pub fn give_run(&mut self, run: FrameRun) {
        let range = run.first.0..run.first.0 + run.count as u64;
        self.map.put_run(range.clone());
        self.owners.set_run(range, true);
    }

    fn put(&mut self, number: u64) {
        self.map.put(number);
        self.owners.set(number, FRAME_FREE);
    }
}
