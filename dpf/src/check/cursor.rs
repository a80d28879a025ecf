//! Walks over code, instruction by instruction, and compares with what must be there.

use super::CheckError;
use super::decode::decode;
use super::native::{If, Native};

/// A place in the code.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    code: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(code: &'a [u8]) -> Self {
        Self { code, at: 0 }
    }

    /// Goes on at an offset at which another cursor over the same code was.
    pub(super) fn resume(code: &'a [u8], at: usize) -> Self {
        Self { code, at }
    }

    /// Offset of the next instruction.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn refuse<T>(&self, expected: &'static str) -> Result<T, CheckError> {
        Err(CheckError { offset: self.at, expected })
    }

    /// The next instruction, whatever it is.
    pub(super) fn next(&mut self, expected: &'static str) -> Result<Native, CheckError> {
        let (native, next) =
            decode(self.code, self.at).ok_or(CheckError { offset: self.at, expected })?;
        self.at = next;
        Ok(native)
    }

    /// The next instruction and the one behind it, if they are understood.
    pub(super) fn peek(&self) -> Option<(Native, Option<Native>)> {
        let (native, next) = decode(self.code, self.at)?;
        Some((native, decode(self.code, next).map(|(native, _)| native)))
    }

    /// The next instruction must be exactly this one.
    pub(super) fn expect(
        &mut self,
        native: Native,
        expected: &'static str,
    ) -> Result<(), CheckError> {
        let offset = self.at;
        if self.next(expected)? == native { Ok(()) } else { Err(CheckError { offset, expected }) }
    }

    /// If the next instruction is this one, steps over it.
    pub(super) fn skip(&mut self, native: Native) -> bool {
        match decode(self.code, self.at) {
            Some((found, next)) if found == native => {
                self.at = next;
                true
            }
            _ => false,
        }
    }

    /// A conditional jump on `wanted`: its target.
    pub(super) fn jump_if(
        &mut self,
        wanted: If,
        expected: &'static str,
    ) -> Result<usize, CheckError> {
        let offset = self.at;
        match self.next(expected)? {
            Native::JumpIf { cond, target } if cond == wanted => Ok(target),
            _ => Err(CheckError { offset, expected }),
        }
    }

    /// A jump: its target.
    pub(super) fn jump(&mut self, expected: &'static str) -> Result<usize, CheckError> {
        let offset = self.at;
        match self.next(expected)? {
            Native::Jump { target } => Ok(target),
            _ => Err(CheckError { offset, expected }),
        }
    }

    /// A call inside the code: its target.
    pub(super) fn call(&mut self, expected: &'static str) -> Result<usize, CheckError> {
        let offset = self.at;
        match self.next(expected)? {
            Native::Call { target } => Ok(target),
            _ => Err(CheckError { offset, expected }),
        }
    }

    /// An earlier jump must land here.
    pub(super) fn lands(&self, target: usize, expected: &'static str) -> Result<(), CheckError> {
        if target == self.at { Ok(()) } else { self.refuse(expected) }
    }

    /// The code must end here.
    pub(super) fn ends(&self) -> Result<(), CheckError> {
        if self.at == self.code.len() { Ok(()) } else { self.refuse("the end of the code") }
    }
}
