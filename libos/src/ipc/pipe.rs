//! A pipe: a ring of bytes in a shared page.
//!
//! Two free-running indices, each written by one side. Whoever finds the ring full or empty gives
//! its slice to the other side by name. The page is shared memory: the other side may write what it
//! likes, so indices that make no sense end the pipe instead of being believed.

use abi::Status;

use crate::capability::Env;
use crate::slice::yield_to;
use crate::sys::Window;

/// Offsets of the indices and of the bytes.
const WRITTEN: usize = 0;
const READ: usize = 64;
const BYTES: usize = 128;
/// Bytes that a pipe holds.
const CAPACITY: usize = 1024;

/// Both ends' view of one pipe.
#[derive(Clone, Debug)]
pub struct Pipe {
    page: Window,
    at: usize,
    peer: Env,
}

const _: () = assert!(2 * Pipe::BYTES <= abi::limits::PAGE_BYTES);

/// Which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PipeEnd {
    /// The end that writes.
    Writer,
    /// The end that reads.
    Reader,
}

impl Pipe {
    /// In this page from that offset (a multiple of 64), with that environment at the other end.
    pub fn new(page: Window, at: usize, peer: Env) -> Pipe {
        Pipe { page, at, peer }
    }

    /// The pipe behind it in the same page: the way back.
    #[must_use]
    pub fn back(self) -> Pipe {
        Pipe { at: self.at + Pipe::BYTES, ..self }
    }

    /// Bytes that a pipe takes of its page.
    pub const BYTES: usize = BYTES + CAPACITY;

    /// Writes all of it, waiting for room.
    ///
    /// # Errors
    /// `WrongState` when the reader has ended, `RingCorrupt` when its index makes no sense.
    pub fn write(&self, bytes: &[u8]) -> Result<(), Status> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (written, filled) = self.look(PipeEnd::Writer)?;
            let at = written as usize % CAPACITY;
            let count = rest.len().min(CAPACITY - filled).min(CAPACITY - at);
            if count == 0 {
                yield_to(self.peer)?;
                continue;
            }
            let (now, later) = rest.split_at(count);
            self.page.write(self.at + BYTES + at, now);
            self.page.store_u32(self.at + WRITTEN, written.wrapping_add(count as u32));
            rest = later;
        }
        Ok(())
    }

    /// Reads what there is, at least a byte, waiting for it; how many.
    ///
    /// # Errors
    /// `WrongState` when the writer has ended, `RingCorrupt` when its index makes no sense.
    pub fn read(&self, into: &mut [u8]) -> Result<usize, Status> {
        loop {
            let (read, filled) = self.look(PipeEnd::Reader)?;
            let at = read as usize % CAPACITY;
            let count = into.len().min(filled).min(CAPACITY - at);
            if let (1.., Some(into)) = (count, into.get_mut(..count)) {
                self.page.read(self.at + BYTES + at, into);
                self.page.store_u32(self.at + READ, read.wrapping_add(count as u32));
                return Ok(count);
            }
            if into.is_empty() {
                return Ok(0);
            }
            yield_to(self.peer)?;
        }
    }

    /// This end's index, and how many bytes are in the pipe.
    fn look(&self, end: PipeEnd) -> Result<(u32, usize), Status> {
        let written = self.page.load_u32(self.at + WRITTEN);
        let read = self.page.load_u32(self.at + READ);
        let filled = written.wrapping_sub(read) as usize;
        let own = if end == PipeEnd::Writer { written } else { read };
        if filled <= CAPACITY { Ok((own, filled)) } else { Err(Status::RingCorrupt) }
    }
}
