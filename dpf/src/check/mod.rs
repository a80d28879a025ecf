//! The checker: nothing is sealed that it has not decoded and understood.
use alloc::vec::Vec;
use core::fmt;
use ebpf::Program;
use runtime::native::{Checked, Filter, Packet};
use verifier::Verified;

use crate::compile::Emitted;

/// Why emitted code was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckError {
    /// Offset in the code, bytes.
    pub offset: usize,
    /// What was expected there.
    pub expected: &'static str,
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: expected {}", self.offset, self.expected)
    }
}

/// Checks a filter's code.
///
/// # Errors
/// [`CheckError`] at the first byte that is not understood.
pub fn filter(verified: &Verified, emitted: Emitted) -> Result<Checked<Filter>, CheckError> {
    Ok(Checked::vouch(implements(verified.program(), emitted)?, ()))
}

/// Checks a handler's code.
///
/// # Errors
/// As for [`filter`].
pub fn handler(verified: &Verified, emitted: Emitted) -> Result<Checked<Packet>, CheckError> {
    Ok(Checked::vouch(implements(verified.program(), emitted)?, ()))
}

fn implements(_program: &Program, _emitted: Emitted) -> Result<Vec<u8>, CheckError> {
    Err(CheckError { offset: 0, expected: "the checker, which is being written" })
}
