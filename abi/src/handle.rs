//! Capabilities as ring 3 sees them.
//!
//! A handle is an index into the environment's capability table and the generation of that slot:
//! a slot that is used again has another generation, so that an old handle names nothing. Rights
//! only shrink when a capability is derived or passed on.

use bitflags::bitflags;

/// A capability's name in one environment's table. Zero is never given out.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct Handle(pub u64);

impl Handle {
    /// The handle that names nothing; "none" in argument blocks.
    pub const NONE: Handle = Handle(0);

    /// Index in the low half, generation (never zero) in the high half.
    pub fn new(index: u32, generation: u32) -> Handle {
        Handle(u64::from(generation) << 32 | u64::from(index))
    }

    /// The slot.
    pub fn index(self) -> u32 {
        self.0 as u32
    }

    /// The slot's generation.
    pub fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// What a capability names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A physical page.
    Page = 1,
    /// An environment.
    Environment = 2,
    /// A pair of flow spaces.
    Grant = 3,
    /// A filter with its ring and ASH.
    Binding = 4,
    /// Text and record output, and the power switch.
    Debug = 5,
    /// A position in the vector of slices, or the whole vector.
    Slice = 6,
    /// A map.
    Map = 7,
}

bitflags! {
    /// What a capability allows. Bits that a kind does not use are ignored and passed on.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Rights: u32 {
        /// Page: map it readable. Binding: read statistics. Map: look up.
        const READ = 1;
        /// Page: map it writable. Debug: print and report. Map: update and delete.
        const WRITE = 2;
        /// Page: map it executable.
        const EXECUTE = 4;
        /// Any: pass it on to another environment.
        const GRANT = 8;
        /// Grant: derive child grants.
        const DERIVE = 16;
        /// Grant: bind filters under it.
        const BIND = 32;
        /// Environment: start, kill, map into, grant to. Page: free. Debug: halt. Slice: free,
        /// give; the vector: allocate.
        const CONTROL = 64;
        /// Binding: transmit.
        const TRANSMIT = 128;
        /// Grant: revoke it. Binding: unbind it.
        const REVOKE = 256;
    }
}

#[cfg(test)]
mod tests {
    use super::Handle;

    #[test]
    fn a_handle_keeps_both_halves() {
        let handle = Handle::new(7, 0xffff_fff0);
        assert_eq!((handle.index(), handle.generation()), (7, 0xffff_fff0));
        assert_ne!(Handle::new(0, 1), Handle::NONE);
    }
}
