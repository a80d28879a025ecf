//! Asking for resources back, and taking them: what both sides agree on.
//!
//! Whoever holds `Rights::CONTROL` on an environment may ask it for resources ([`Kind`]) until a
//! deadline. The environment is told by [`crate::ring::EVENT_REVOKE`] and, if it registered one, by
//! the upcall [`crate::upcall::Kind::Revoke`], and chooses what it gives up. What is missing when
//! the deadline has passed the kernel takes by force: it never ends the environment for that, never
//! takes a vital page, and writes each thing it took into the environment's *repossession vector*.
//!
//! The vector is one page of the environment's own: two indices and a counter on cache lines of
//! their own, then [`ENTRIES`] entries. The indices run freely; entry `i` is entry `i % ENTRIES`.
//! Each has one writer. An entry that found the vector full is counted and not written.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What is asked for, or was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Kind {
    /// Pages. With each that is given back a frame of quota goes back to the lender.
    Pages = 1,
    /// Bindings, with their rings and handlers.
    Bindings = 2,
    /// Capabilities to grants.
    Grants = 3,
    /// Positions in the vector of slices.
    Slices = 4,
}

impl Kind {
    /// The kind of that number, if there is one.
    pub fn from_number(number: u64) -> Option<Kind> {
        match number {
            1 => Some(Kind::Pages),
            2 => Some(Kind::Bindings),
            3 => Some(Kind::Grants),
            4 => Some(Kind::Slices),
            _ => None,
        }
    }
}

/// `u32`: entries that the kernel has written.
pub const PRODUCED: usize = 0;
/// `u32`: entries that the library OS is done with.
pub const CONSUMED: usize = 64;
/// `u32`: entries that found the vector full.
pub const LOST: usize = 128;
/// The first entry.
pub const ENTRY_FIRST: usize = 256;
/// Bytes of an entry: [`Entry`].
pub const ENTRY_BYTES: usize = 48;
/// Entries in a vector.
pub const ENTRIES: u32 = 64;

/// One thing that was taken.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Entry {
    /// [`Kind`], as a number.
    pub kind: u32,
    /// The request; 0 for a grant that was taken back without one.
    pub request: u32,
    /// Its physical name: the frame's number, the binding's, the grant's, or the position.
    pub name: u64,
    /// Pages: where it was mapped, an entry for each place; 0 if it was mapped nowhere.
    /// Bindings: transmissions with the card that are still finished, in bits 0–31, and packets
    /// that wait unread in the ring, in bits 32–63. Grants: the capability.
    pub address: u64,
    /// Pages: the backing capability whose page has the contents now, or 0.
    pub backing: u64,
    /// Bindings: the grant's number. Pages: whose page it was.
    pub detail: u64,
    /// When, in nanoseconds since boot.
    pub at_ns: u64,
}

/// One request that is open: what [`crate::Call::RevokePending`] writes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Pending {
    /// Its number.
    pub request: u64,
    /// [`Kind`], as a number.
    pub kind: u64,
    /// How many are still to be given back.
    pub left: u64,
    /// For a grant that is called back its number, otherwise 0.
    pub name: u64,
    /// Nanoseconds since boot after which they are taken.
    pub deadline: u64,
}

/// What [`crate::Call::RevokeStatus`] returns, unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Given back.
    pub given: u16,
    /// Taken by force.
    pub taken: u16,
    /// Neither: still open, or, when it is over, what could not be had.
    pub short: u16,
    /// Whether it is over.
    pub over: bool,
}

impl Progress {
    /// As a register carries it: 16 bits each, and bit 48.
    pub fn pack(self) -> u64 {
        let counts = [self.given, self.taken, self.short].map(u64::from);
        let [given, taken, short] = counts;
        given | taken << 16 | short << 32 | u64::from(self.over) << 48
    }

    /// The other way.
    pub fn unpack(value: u64) -> Progress {
        Progress {
            given: value as u16,
            taken: (value >> 16) as u16,
            short: (value >> 32) as u16,
            over: value >> 48 & 1 == 1,
        }
    }
}

/// Vital pages that an environment may name; its save areas and its vector come on top.
pub const VITAL_MAX: usize = 10;
/// Backing pages that may be registered at a time.
pub const BACKING_MAX: usize = 16;
/// What one request may ask for.
pub const AMOUNT_MAX: u64 = u16::MAX as u64;
/// Requests that one environment may have open at a time, one for each environment.
pub const REQUESTS_MAX: usize = 4;

const _: () = assert!(size_of::<Entry>() == ENTRY_BYTES);
const _: () = assert!(ENTRIES.is_power_of_two());
const _: () = assert!(ENTRY_FIRST + ENTRIES as usize * ENTRY_BYTES <= crate::limits::PAGE_BYTES);

#[cfg(test)]
mod tests {
    use super::{Kind, Progress};

    #[test]
    fn progress_survives_a_register() {
        let progress = Progress { given: 1, taken: 65_535, short: 7, over: true };
        assert_eq!(Progress::unpack(progress.pack()), progress);
        let open = Progress { over: false, ..progress };
        assert_eq!(Progress::unpack(open.pack()), open);
    }

    #[test]
    fn kinds_are_numbered() {
        for kind in [Kind::Pages, Kind::Bindings, Kind::Grants, Kind::Slices] {
            assert_eq!(Kind::from_number(kind as u64), Some(kind));
        }
        assert_eq!(Kind::from_number(0), None);
        assert_eq!(Kind::from_number(u64::from(u32::MAX) + 2), None);
    }
}
