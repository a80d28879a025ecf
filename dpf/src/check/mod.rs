//! The checker: nothing is sealed that it has not decoded and understood.
//!
//! The idea: emitted code must be *the program*. The checker walks over the eBPF program and over
//! the decoded machine code side by side and demands, for each eBPF instruction, machine code that
//! does exactly that: same operation, same width, same registers, same address, same immediate;
//! jumps that land on the first byte of the slot they name; calls only to the helper named; a stack
//! frame that is large enough, aligned for calls, and undone before each return. So whatever the
//! verifier has proven of the program holds of the code, and a wrong byte anywhere is refused,
//! unless it makes another encoding of the same instruction.
//!
//! It shares no code with the compiler: own decoder ([`decode`]), own register table, own idea of
//! each sequence. What both use speaks about eBPF only ([`crate::context`]).
//!
//! This module is the only caller of [`Checked::vouch`]: the trust line of generated code.

mod arithmetic;
mod cursor;
mod decode;
mod dispatch;
mod frame;
mod memory;
mod native;
mod program;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::fmt;

use ebpf::{Kind, Program};
#[cfg(any(test, feature = "fuzzing"))]
use runtime::native::Convention;
use runtime::native::{Checked, Dispatch, Filter, Memory, Packet};
use verifier::Verified;

use crate::compile::Emitted;
use crate::plan::Plan;

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
/// [`CheckError`] at the first instruction that is not what the program says.
pub fn filter(verified: &Verified, emitted: Emitted) -> Result<Checked<Filter>, CheckError> {
    Ok(Checked::vouch(implements(verified.program(), Kind::Filter, emitted)?, ()))
}

/// Checks a handler's code.
///
/// # Errors
/// As for [`filter`].
pub fn handler(verified: &Verified, emitted: Emitted) -> Result<Checked<Packet>, CheckError> {
    Ok(Checked::vouch(implements(verified.program(), Kind::Ash, emitted)?, ()))
}

/// Checks a memory program's code.
///
/// # Errors
/// As for [`filter`].
pub fn memory(verified: &Verified, emitted: Emitted) -> Result<Checked<Memory>, CheckError> {
    Ok(Checked::vouch(implements(verified.program(), Kind::Memory, emitted)?, ()))
}

/// Checks the merged classifier's code against its plan.
pub(crate) fn dispatcher(plan: &Plan, emitted: Emitted) -> Result<Checked<Dispatch>, CheckError> {
    dispatch::implements(plan, &emitted.bytes)?;
    Ok(Checked::vouch(emitted.bytes, plan.geometry()))
}

/// For tests: vouches for the code of a program that has no proof, but was seen to run without a
/// trap in the interpreter on the very same input.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn unproven<C: Convention<Geometry = ()>>(
    program: &Program,
    emitted: Emitted,
) -> Result<Checked<C>, CheckError> {
    Ok(Checked::vouch(implements(program, program.kind(), emitted)?, ()))
}

fn implements(program: &Program, kind: Kind, emitted: Emitted) -> Result<Vec<u8>, CheckError> {
    if program.kind() != kind {
        return Err(CheckError { offset: 0, expected: "a program of another kind" });
    }
    program::implements(program, &emitted.bytes)?;
    Ok(emitted.bytes)
}
