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

#[cfg(test)]
mod tests {
    use super::{CAPACITY, Pipe, READ, WRITTEN};
    use crate::capability::Env;
    use crate::sys::host::{self, page_window};
    use abi::{Handle, Status};
    use std::vec::Vec;

    const PAGE: Handle = Handle(70);
    const PEER: Env = Env(Handle(5));

    fn pipe() -> Pipe {
        Pipe::new(page_window(PAGE), 0, PEER)
    }

    #[test]
    fn bytes_come_out_in_order_and_the_ways_do_not_mix() {
        let _guard = host::script(|_| (Status::WrongState as u64, 0));
        let (to, from) = (pipe(), pipe().back());
        to.write(b"there").unwrap();
        from.write(b"back").unwrap();
        let mut buffer = [0; 64];
        assert_eq!(to.read(&mut buffer), Ok(5));
        assert_eq!(&buffer[..5], b"there");
        assert_eq!(from.read(&mut buffer), Ok(4));
        assert_eq!(&buffer[..4], b"back");
        assert_eq!(to.read(&mut []), Ok(0));
        // Empty, and the writer is no more.
        assert_eq!(to.read(&mut buffer), Err(Status::WrongState));
    }

    #[test]
    fn a_full_pipe_waits_for_its_reader() {
        let sent: Vec<u8> = (0..3 * CAPACITY).map(|at| at as u8).collect();
        let got = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let sink = got.clone();
        // Whenever the writer yields the reader takes an odd number of bytes.
        let _guard = host::script(move |_| {
            let mut buffer = [0; 333];
            let count = pipe().read(&mut buffer).unwrap_or(0);
            sink.borrow_mut().extend_from_slice(&buffer[..count]);
            (0, 0)
        });
        pipe().write(&sent).unwrap();
        let mut buffer = [0; 333];
        while got.borrow().len() < sent.len() {
            let count = pipe().read(&mut buffer).unwrap();
            got.borrow_mut().extend_from_slice(&buffer[..count]);
        }
        assert_eq!(*got.borrow(), sent);
    }

    #[test]
    fn indices_that_make_no_sense_end_it() {
        let _guard = host::script(|_| (0, 0));
        for (written, read) in [(CAPACITY as u32 + 1, 0), (0, 1), (5, u32::MAX - CAPACITY as u32)] {
            let page = page_window(PAGE);
            page.store_u32(WRITTEN, written);
            page.store_u32(READ, read);
            assert_eq!(pipe().read(&mut [0]), Err(Status::RingCorrupt));
            assert_eq!(pipe().write(&[0]), Err(Status::RingCorrupt));
        }
    }
}
