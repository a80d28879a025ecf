//! Dynamic integrated layer processing: passes over data, composed at run time, fused into a loop.
//!
//! The idea (Engler, Wallach, Kaashoek 1996): a protocol stack touches each byte several times: to
//! move it, to sum it, to swap it, to decrypt it. Each of these is a [`Pass`]; a [`Pipeline`] is a
//! list of them. [`sequential`] runs one after the other and defines what a pipeline means;
//! [`load`] makes one loop that loads each word once, does every pass to it in a register,
//! and stores it once.
//!
//! That the two agree rests on one thing: every pass maps aligned units of at most four bytes to
//! themselves, so the order "all passes on one word, then the next word" cannot be told from "one
//! pass on all words, then the next pass". What does not fill a unit at the end is left alone by
//! the swaps; the sum pads it with zero (RFC 1071).
//!
//! Pipeline: passes -> [`fuse`](self) -> `check::pipe` -> sealed pages -> [`NativePipe`].

mod fuse;
mod sequential;
#[cfg(test)]
mod tests;

use core::fmt;

use runtime::native::{Code, Pipe, pipe};
use runtime::pages::CodePages;

use crate::check;
use crate::error::EngineError;

pub use sequential::sequential;

/// Passes of one pipeline.
pub const PASSES_MAX: usize = 8;
/// Sums of one pipeline.
pub const SUMS_MAX: usize = pipe::SUMS;

/// One thing done to every byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Nothing: the bytes are moved, as by every pipeline.
    Copy,
    /// The Internet checksum's sum (RFC 1071) of the bytes as this pass finds them.
    Checksum,
    /// The bytes of each whole 16-bit word change places.
    Swap16,
    /// The bytes of each whole 32-bit word are reversed.
    Swap32,
    /// Byte `i` is XORed with byte `i % 4` of the key's little-endian form.
    Xor(u32),
}

/// Passes in their order, within the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pipeline {
    passes: [Pass; PASSES_MAX],
    count: usize,
}

/// Why passes are no pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PipelineError {
    /// There are none.
    Empty,
    /// More than [`PASSES_MAX`].
    Passes {
        /// How many.
        count: usize,
    },
    /// More checksums than [`SUMS_MAX`].
    Sums {
        /// How many.
        count: usize,
    },
}

impl fmt::Display for PipelineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "a pipe without passes"),
            Self::Passes { count } => write!(f, "{count} passes, limit {PASSES_MAX}"),
            Self::Sums { count } => write!(f, "{count} checksums, limit {SUMS_MAX}"),
        }
    }
}

impl Pipeline {
    /// A pipeline of these passes.
    ///
    /// # Errors
    /// [`PipelineError`].
    pub fn new(passes: &[Pass]) -> Result<Pipeline, PipelineError> {
        let count = passes.len();
        let sums = passes.iter().filter(|pass| **pass == Pass::Checksum).count();
        match count {
            0 => return Err(PipelineError::Empty),
            1..=PASSES_MAX if sums <= SUMS_MAX => {}
            1..=PASSES_MAX => return Err(PipelineError::Sums { count: sums }),
            _ => return Err(PipelineError::Passes { count }),
        }
        let mut kept = [Pass::Copy; PASSES_MAX];
        kept.iter_mut().zip(passes).for_each(|(place, pass)| *place = *pass);
        Ok(Pipeline { passes: kept, count })
    }

    /// The passes.
    #[must_use]
    pub fn passes(&self) -> &[Pass] {
        self.passes.get(..self.count).unwrap_or_default()
    }
}

/// A pipeline's loop. Give it back with [`NativePipe::free`]; dropping it leaks its pages.
#[derive(Debug)]
pub struct NativePipe {
    code: Code<Pipe>,
}

/// Fuses, checks and seals a pipeline.
///
/// # Errors
/// [`EngineError`]; no page is in use then.
pub fn load(pipeline: &Pipeline, pages: &mut dyn CodePages) -> Result<NativePipe, EngineError> {
    let emitted = fuse::fuse(pipeline)?;
    Ok(NativePipe { code: Code::seal(check::pipe(pipeline, emitted)?, pages)? })
}

impl NativePipe {
    /// Moves `source` into `destination` through the pipeline, as far as the shorter of them goes;
    /// the sums, each as [`fold`] makes it.
    pub fn run(&self, source: &[u8], destination: &mut [u8]) -> [u16; SUMS_MAX] {
        self.code.run(source, destination).map(fold)
    }

    /// The code, for whoever moves bytes to where no reference may point; its sums want [`fold`].
    #[must_use]
    pub fn code(&self) -> &Code<Pipe> {
        &self.code
    }

    /// Gives the pages back.
    pub fn free(self, pages: &mut dyn CodePages) {
        self.code.release(pages);
    }
}

/// The one's-complement sum of big-endian 16-bit words, folded, from a sum of little-endian words
/// of any width: RFC 1071 §2 (B) says that the sum's bytes are merely in the other order.
#[must_use]
pub fn fold(sum: u64) -> u16 {
    let mut folded = sum;
    for _ in 0..4 {
        folded = (folded & 0xffff) + (folded >> 16);
    }
    (folded as u16).swap_bytes()
}
