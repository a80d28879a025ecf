//! The convention of a pipe: one loop that moves bytes and does several things to them on the way.
//!
//! The idea: a pipe's code gets source, destination, length and a place for its sums. It reads
//! `length` bytes of the source and writes `length` bytes of the destination, each word once, and
//! nothing else but the sums. The destination may be memory that others see (a slot in a library
//! OS's page), so it is a pointer, and never a reference.

use core::mem::transmute;

use super::code::{Code, Convention, sealed};

/// Sums that one pipe can make.
pub const SUMS: usize = 2;

/// A pipe: `(source, destination, length, sums)`.
#[derive(Debug)]
pub enum Pipe {}

impl sealed::Convention for Pipe {}
impl Convention for Pipe {
    type Geometry = ();
}

type PipeEntry = extern "C" fn(*const u8, *mut u8, u64, *mut u64);

impl Code<Pipe> {
    /// Runs the pipe from `source` into as much of `destination`; whichever is shorter ends it.
    pub fn run(&self, source: &[u8], destination: &mut [u8]) -> [u64; SUMS] {
        let length = source.len().min(destination.len());
        let source = source.get(..length).unwrap_or_default();
        // SAFETY: the destination is borrowed exclusively and at least `length` bytes long.
        unsafe { self.run_to(source, destination.as_mut_ptr()) }
    }

    /// Runs the pipe from `source` to as many bytes at `destination`.
    ///
    /// # Safety
    /// `source.len()` bytes at `destination` must be valid for writes until this returns, no part
    /// of them borrowed, and none of them in `source`.
    pub unsafe fn run_to(&self, source: &[u8], destination: *mut u8) -> [u64; SUMS] {
        let mut sums = [0; SUMS];
        let _ = source.as_ptr().expose_provenance();
        let _ = destination.expose_provenance();
        // SAFETY: the code was vouched for under `Pipe`: it reads the source, writes as many bytes
        // of the destination (the caller's promise) and the sums, and returns under the System V
        // ABI.
        let entry = unsafe { transmute::<*const (), PipeEntry>(self.entry()) };
        entry(source.as_ptr(), destination, source.len() as u64, sums.as_mut_ptr());
        sums
    }
}
