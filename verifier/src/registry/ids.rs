//! Handles of grants and bindings: an index and the generation of its slot.
//!
//! A slot that is used again has another generation, so that an old handle names nothing. As a
//! number the index is in the low half and the generation, never zero, in the high half.

use core::fmt;

/// Index and generation, packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Handle(u64);

impl Handle {
    pub(crate) const fn new(index: u32, generation: u32) -> Handle {
        Handle((generation as u64) << 32 | index as u64)
    }

    pub(crate) const fn index(self) -> usize {
        (self.0 & 0xffff_ffff) as usize
    }

    pub(crate) const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// Names a grant of one registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantId(pub(crate) Handle);

/// Names a binding of one registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BindingId(pub(crate) Handle);

impl GrantId {
    /// The root of every registry.
    pub const ROOT: GrantId = GrantId(Handle::new(0, 1));

    /// The handle as a number, never zero.
    #[must_use]
    pub const fn to_raw(self) -> u64 {
        self.0.0
    }

    /// A handle from a number; whether it names something is asked of the registry.
    #[must_use]
    pub const fn from_raw(raw: u64) -> GrantId {
        GrantId(Handle(raw))
    }

    /// The slot, for tables beside the registry.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0.index()
    }
}

impl BindingId {
    /// The handle as a number, never zero.
    #[must_use]
    pub const fn to_raw(self) -> u64 {
        self.0.0
    }

    /// A handle from a number; whether it names something is asked of the registry.
    #[must_use]
    pub const fn from_raw(raw: u64) -> BindingId {
        BindingId(Handle(raw))
    }

    /// The slot, for tables beside the registry.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0.index()
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.index(), self.0.generation())
    }
}

impl fmt::Display for BindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.index(), self.0.generation())
    }
}
