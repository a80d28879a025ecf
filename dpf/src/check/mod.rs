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
//! It shares no code with the compiler: own decoder (`decode`), own register table, own idea of
//! each sequence. What both use speaks about eBPF only (`crate::context`).
//!
//! This module is the only caller of [`Checked::vouch`]: the trust line of generated code.

mod arithmetic;
mod call;
mod cursor;
mod decode;
mod dispatch;
mod division;
mod frame;
mod idiom;
mod memory;
mod native;
mod pipe;
mod program;
#[cfg(test)]
mod tests;
mod text;
mod whole;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::task::Poll;

use ebpf::{Kind, Program};
use runtime::map::Map;
#[cfg(test)]
use runtime::native::Convention;
use runtime::native::dispatch::Geometry;
use runtime::native::{Checked, Dispatch, Filter, Memory, Packet, Pipe};
use verifier::{Fuel, Verified};

use crate::compile::Emitted;
use crate::context::{Gathering, Premises};
use crate::dilp::Pipeline;
use crate::plan::Plan;
use program::Walk;

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
    Check::new(verified, emitted, &[])?.at_once()?.filter()
}

/// Checks a handler's code, compiled with these maps.
///
/// # Errors
/// As for [`filter`].
pub fn handler(
    verified: &Verified,
    emitted: Emitted,
    maps: &[Arc<Map>],
) -> Result<Checked<Packet>, CheckError> {
    Check::new(verified, emitted, maps)?.at_once()?.handler(maps)
}

/// Checks a memory program's code, compiled with these maps.
///
/// # Errors
/// As for [`filter`].
pub fn memory(
    verified: &Verified,
    emitted: Emitted,
    maps: &[Arc<Map>],
) -> Result<Checked<Memory>, CheckError> {
    Check::new(verified, emitted, maps)?.at_once()?.memory(maps)
}

/// A program's code being checked, a slot at a time.
#[derive(Debug)]
pub(crate) struct Check {
    verified: Verified,
    bytes: Vec<u8>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Gather(Gathering),
    Walk(Premises, Walk),
    Over,
}

/// Code that was checked to be the program's, with what was taken for granted.
#[derive(Debug)]
pub(crate) struct Accepted {
    kind: Kind,
    bytes: Vec<u8>,
    premises: Premises,
}

impl Check {
    /// Nothing is checked yet.
    ///
    /// # Errors
    /// These are not the maps that the program was proven with.
    pub(crate) fn new(
        verified: &Verified,
        emitted: Emitted,
        maps: &[Arc<Map>],
    ) -> Result<Self, CheckError> {
        let gathering = Gathering::new(verified, maps).ok_or(WRONG_MAPS)?;
        let stage = Stage::Gather(gathering);
        Ok(Self { verified: verified.clone(), bytes: emitted.bytes, stage })
    }

    /// Works until the fuel is spent or the answer is there.
    pub(crate) fn step(&mut self, fuel: &mut Fuel) -> Poll<Result<Accepted, CheckError>> {
        let program = self.verified.program();
        while let Stage::Gather(gathering) = &mut self.stage {
            if fuel.is_empty() {
                return Poll::Pending;
            }
            fuel.spend(1);
            if gathering.advance(program)
                && let Stage::Gather(gathering) = core::mem::replace(&mut self.stage, Stage::Over)
            {
                self.stage = Stage::Walk(gathering.finish(program), Walk::new());
            }
        }
        let Stage::Walk(premises, walk) = &mut self.stage else {
            return Poll::Ready(Err(CheckError { offset: 0, expected: "one answer" }));
        };
        match walk.step(program, premises, &self.bytes, fuel) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(answer) => {
                let stage = core::mem::replace(&mut self.stage, Stage::Over);
                let (bytes, kind) = (core::mem::take(&mut self.bytes), self.verified.kind());
                Poll::Ready(answer.and(match stage {
                    Stage::Walk(premises, _) => Ok(Accepted { kind, bytes, premises }),
                    _ => Err(CheckError { offset: 0, expected: "one answer" }),
                }))
            }
        }
    }

    fn at_once(mut self) -> Result<Accepted, CheckError> {
        loop {
            if let Poll::Ready(answer) = self.step(&mut Fuel::UNLIMITED.clone()) {
                return answer;
            }
        }
    }
}

const WRONG_MAPS: CheckError =
    CheckError { offset: 0, expected: "the maps that the program was proven with" };

impl Accepted {
    /// As a filter's.
    pub(crate) fn filter(self) -> Result<Checked<Filter>, CheckError> {
        Ok(Checked::vouch(self.bytes_of(Kind::Filter, &[])?, ()))
    }

    /// As a handler's; whoever has the code keeps the maps whose addresses are in it.
    pub(crate) fn handler(self, maps: &[Arc<Map>]) -> Result<Checked<Packet>, CheckError> {
        Ok(Checked::vouch(self.bytes_of(Kind::Ash, maps)?, maps.to_vec()))
    }

    /// As a memory program's.
    pub(crate) fn memory(self, maps: &[Arc<Map>]) -> Result<Checked<Memory>, CheckError> {
        Ok(Checked::vouch(self.bytes_of(Kind::Memory, maps)?, maps.to_vec()))
    }

    fn bytes_of(self, kind: Kind, maps: &[Arc<Map>]) -> Result<Vec<u8>, CheckError> {
        if self.kind != kind {
            return Err(CheckError { offset: 0, expected: "a program of another kind" });
        }
        if self.premises.holds_of(maps) { Ok(self.bytes) } else { Err(WRONG_MAPS) }
    }
}

/// Checks the merged classifier's code against its plan.
pub(crate) fn dispatcher(
    plan: &Plan,
    emitted: crate::dispatch::Emitted,
) -> Result<Checked<Dispatch>, CheckError> {
    let crate::dispatch::Emitted { bytes, full, prefetch, .. } = emitted;
    dispatch::implements(plan, &bytes, (full, prefetch))?;
    Ok(Checked::vouch(bytes, Geometry { tables: plan.layouts(), full, prefetch }))
}

/// Checks a pipe's loop against its passes.
///
/// # Errors
/// [`CheckError`] at the first instruction that is not what the passes say.
pub(crate) fn pipe(pipeline: &Pipeline, emitted: Emitted) -> Result<Checked<Pipe>, CheckError> {
    pipe::implements(pipeline, &emitted.bytes)?;
    Ok(Checked::vouch(emitted.bytes, ()))
}

/// For tests: vouches for the code of a program that has no proof, but was seen to run without a
/// trap in the interpreter on the very same input.
#[cfg(test)]
pub(crate) fn unproven<C: Convention>(
    program: &Program,
    premises: &Premises,
    emitted: Emitted,
    geometry: C::Geometry,
) -> Result<Checked<C>, CheckError> {
    program::implements(program, premises, &emitted.bytes)?;
    Ok(Checked::vouch(emitted.bytes, geometry))
}

/// Whether code would pass as a program's.
pub(crate) fn accepts(program: &Program, premises: &Premises, code: &[u8]) -> bool {
    program::implements(program, premises, code).is_ok()
}

/// Whether code would pass as a merged classifier's, its second and third entry where given.
pub(crate) fn accepts_classifier(plan: &Plan, code: &[u8], entries: (usize, usize)) -> bool {
    dispatch::implements(plan, code, entries).is_ok()
}

/// Code as the checker understands it; `None` if it does not.
pub(crate) fn meaning(code: &[u8]) -> Option<Vec<impl PartialEq + fmt::Debug + use<>>> {
    let mut meaning = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let (native, next) = decode::decode(code, at)?;
        meaning.push((at, native));
        at = next;
    }
    Some(meaning)
}

/// The instruction at `at` as text, and where the next one is; `None` where there is none.
pub(crate) fn text(code: &[u8], at: usize) -> Option<(usize, alloc::string::String)> {
    let (native, next) = decode::decode(code, at)?;
    Some((next, text::of(&native)))
}
