//! Holders: bindings and derived grants, as the engine keeps them.

use alloc::vec::Vec;

use ebpf::interp;
use verifier::Verified;

use super::Verdict;
use super::value::Rank;
use crate::error::EngineError;
use crate::limits::{SHAPES_MAX, SHAPES_PER_GRANT};
use crate::load::NativeProgram;

/// A binding or a grant.
#[derive(Debug)]
pub(super) struct Holder {
    /// What a frame that it wins is answered with; `None` until published.
    pub(super) verdict: Option<Verdict>,
    pub(super) rank: Rank,
    /// The account that its shapes are charged to; the root has none.
    pub(super) charged: Option<u32>,
    /// Of a grant: the account of what is under it.
    pub(super) below: Option<u32>,
    /// A bit for each shape that its rules have.
    pub(super) shapes: u64,
    pub(super) entries: Entries,
    /// The original program, where a key is not the whole rule.
    pub(super) residual: Option<NativeProgram>,
    /// The same program for the interpreter.
    verified: Option<Verified>,
}

impl Holder {
    pub(super) fn new(verified: Option<Verified>, rank: Rank, charged: Option<u32>) -> Self {
        Self {
            verdict: None,
            rank,
            charged,
            below: None,
            shapes: 0,
            entries: Entries::default(),
            residual: None,
            verified,
        }
    }

    /// What the original program says of a frame, natively.
    pub(super) fn confirms(&self, frame: &[u8]) -> bool {
        self.residual.as_ref().is_some_and(|program| program.accepts(frame))
    }

    /// What the original program says of a frame, interpreted.
    pub(super) fn confirms_interpreted(&self, frame: &[u8]) -> bool {
        let program = self.verified.as_ref().map(Verified::program);
        program.is_some_and(|program| interp::accepts(program, frame).unwrap_or(false))
    }
}

/// The entries that a holder claims, each once; nearly always one.
#[derive(Debug, Default)]
pub(super) struct Entries {
    first: Option<u32>,
    more: Vec<u32>,
}

impl Entries {
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        self.first.iter().chain(&self.more).copied()
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len()
    }

    pub(super) fn add(&mut self, entry: u32) -> Result<(), EngineError> {
        if self.iter().any(|known| known == entry) {
            return Ok(());
        }
        if self.first.is_none() {
            self.first = Some(entry);
            return Ok(());
        }
        self.more.try_reserve(1).map_err(|_| EngineError::NoMemory)?;
        self.more.push(entry);
        Ok(())
    }
}

/// What one subtree of grants uses of the shapes.
#[derive(Debug)]
pub(super) struct Account {
    /// For each shape, how many holders use it.
    users: [u32; SHAPES_MAX],
    /// Holders that are charged to it or lead to it.
    pub(super) members: u32,
}

impl Account {
    pub(super) const fn new() -> Self {
        Self { users: [0; SHAPES_MAX], members: 0 }
    }

    /// Shapes in use.
    fn used(&self) -> usize {
        self.users.iter().filter(|users| **users != 0).count()
    }

    /// Whether so many more shapes, of those with a number not in use yet, are within the quota.
    pub(super) fn affords<T>(&self, shapes: &[(Option<u32>, T)]) -> Result<(), EngineError> {
        let uses = |number: Option<u32>| {
            number.and_then(|number| self.users.get(number as usize)).is_some_and(|n| *n != 0)
        };
        let new = shapes.iter().filter(|(number, _)| !uses(*number)).count();
        if self.used() + new > SHAPES_PER_GRANT {
            return Err(EngineError::GrantShapes { limit: SHAPES_PER_GRANT });
        }
        Ok(())
    }

    /// One holder more (or less) uses a shape.
    pub(super) fn charge(&mut self, shape: u32, more: bool) {
        if let Some(users) = self.users.get_mut(shape as usize) {
            *users = if more { users.saturating_add(1) } else { users.saturating_sub(1) };
        }
    }
}
