//! A program: instructions that have passed every structural check, and what they are for.
//!
//! A [`Program`] cannot be changed and cannot be made otherwise than through the checks, so that
//! every later stage (verifier, interpreter, compiler) may index registers and follow jumps
//! without asking again. What the checks promise is listed at [`crate::decode`].

use alloc::vec::Vec;

use crate::check;
use crate::error::DecodeError;
use crate::insn::Insn;
use crate::limits::HOST_SLOTS;
use crate::map::MapSpec;

/// What a program is for: it fixes the context in `r1` and the meaning of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Says whether a packet is its owner's (result not 0). The packet is read-only.
    Filter,
    /// An application-specific safe handler: may rewrite the packet, returns an XDP action.
    Ash,
    /// `r1` is a buffer, `r2` its length; for host tests and conformance suites.
    Memory,
}

impl Kind {
    /// The kind with this name, as test data writes it: `filter`, `ash` or `memory`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Kind> {
        match name {
            "filter" => Some(Kind::Filter),
            "ash" => Some(Kind::Ash),
            "memory" => Some(Kind::Memory),
            _ => None,
        }
    }
}

/// A structurally valid program. Immutable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Program {
    kind: Kind,
    insns: Vec<Insn>,
    maps: Vec<MapSpec>,
}

impl Program {
    /// Makes a program of instructions, after the same checks as [`crate::decode`].
    ///
    /// # Errors
    /// The first rule broken; the limit is [`HOST_SLOTS`].
    pub fn from_insns(kind: Kind, insns: Vec<Insn>) -> Result<Self, DecodeError> {
        Self::checked(kind, insns, HOST_SLOTS)
    }

    /// [`Self::from_insns`] with a limit in slots.
    pub(crate) fn checked(kind: Kind, insns: Vec<Insn>, limit: usize) -> Result<Self, DecodeError> {
        check::length(insns.len(), limit)?;
        let mut pc = 0;
        while check::slot(pc, &insns)? {
            pc += 1;
        }
        check::ending(&insns)?;
        Ok(Self::unchecked(kind, insns))
    }

    /// Of instructions that have passed every check.
    pub(crate) fn unchecked(kind: Kind, insns: Vec<Insn>) -> Self {
        Self { kind, insns, maps: Vec::new() }
    }

    /// What the program is for.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The maps that 64-bit loads name by position.
    #[must_use]
    pub fn maps(&self) -> &[MapSpec] {
        &self.maps
    }

    /// The same instructions with these maps: position `i` is what [`crate::Imm64::MapFd`] and
    /// [`crate::Imm64::MapValue`] call `i`. That positions exist, that there are not too many maps
    /// and that each can exist is the verifier's to say.
    #[must_use]
    pub fn with_maps(self, maps: Vec<MapSpec>) -> Self {
        Self { maps, ..self }
    }

    /// The instructions, one for each slot.
    #[must_use]
    pub fn insns(&self) -> &[Insn] {
        &self.insns
    }

    /// The instruction in a slot, if the program has that many.
    #[must_use]
    pub fn get(&self, pc: u32) -> Option<&Insn> {
        self.insns.get(pc as usize)
    }

    /// Number of slots; at least one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.insns.len()
    }

    /// Never true: an empty program is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.insns.is_empty()
    }

    /// The same instructions for another purpose. The structural rules do not depend on the kind.
    #[must_use]
    pub fn with_kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }
}
