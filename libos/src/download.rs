//! Code that the kernel runs for a library OS besides filters and handlers.
//!
//! [`Pass`]es are fused into a pipe that a binding's packets go through on their way into its ring
//! ([`set_pipe`]); a predicate is a memory program over words of pages that says when the library
//! OS wants to run again ([`set_predicate`], [`wait_until`]). `abi::download` has the layouts.

use abi::download::{
    PASS_CHECKSUM, PASS_COPY, PASS_KEY_SHIFT, PASS_SWAP_16, PASS_SWAP_32, PASS_XOR, WordRef,
};
use abi::{Call, Status};
use alloc::vec::Vec;

use crate::capability::{BindError, Binding, Page, with_refusal};
use crate::sys::{Request, perform, plain};

/// One thing that a pipe does to every byte; `abi::download` says what exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Nothing.
    Copy,
    /// Sums the bytes as they are at this place.
    Checksum,
    /// Swaps the bytes of 16-bit words.
    Swap16,
    /// Reverses the bytes of 32-bit words.
    Swap32,
    /// XORs with a key, repeated.
    Xor(u32),
}

impl Pass {
    fn word(self) -> u64 {
        match self {
            Pass::Copy => PASS_COPY,
            Pass::Checksum => PASS_CHECKSUM,
            Pass::Swap16 => PASS_SWAP_16,
            Pass::Swap32 => PASS_SWAP_32,
            Pass::Xor(key) => PASS_XOR | u64::from(key) << PASS_KEY_SHIFT,
        }
    }
}

/// Packets for the binding's ring go through these passes from now on; none: as they are.
///
/// # Errors
/// `BadArgument` for too many passes or checksums, `MissingRight` for a binding of somebody
/// else's, `NoMemory`.
pub fn set_pipe(binding: Binding, passes: &[Pass]) -> Result<(), Status> {
    let bytes: Vec<u8> = passes.iter().flat_map(|pass| pass.word().to_le_bytes()).collect();
    let request = Request::Text { call: Call::PipeSet, first: binding.0.0, bytes: &bytes };
    perform(request).map(drop)
}

/// The word at `offset` of a page, for [`set_predicate`].
pub fn word(page: Page, offset: usize) -> WordRef {
    WordRef { page: page.0.0, offset: offset as u64 }
}

/// The caller's predicate from now on; an empty program takes it back.
///
/// # Errors
/// [`BindError`] with the kernel's record if the program was refused.
pub fn set_predicate(program: &[u8], words: &[WordRef]) -> Result<(), BindError> {
    with_refusal(|refusal| perform(Request::Predicate { program, words, refusal })).map(drop)
}

/// Sleeps until the predicate returns something else than 0, and returns that, or 0 once the
/// deadline has passed.
///
/// # Errors
/// `WrongState` without a predicate.
pub fn wait_until(deadline_ns: u64) -> Result<u64, Status> {
    plain(Call::WaitUntil, &[deadline_ns])
}
