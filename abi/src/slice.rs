//! Processor time: a linear vector of slices, allocated by position.
//!
//! The vector has [`POSITIONS`] positions of [`crate::limits::SLICE_NS`] each and is walked round
//! and round. Each position is free or owned by one environment. Its place says when it comes: at
//! most so many slices after the one that runs now. A position that is free, whose owner has
//! nothing to run, or that was forfeited, is offered onward: the walk passes it by at once. When
//! no owner wants the time, it goes round robin to environments that own none.
//!
//! Authority over the whole vector is one capability (`init`'s, `slices` in its start block). From
//! it positions are allocated to environments; each is a capability of its own ([`Kind::Slice`]).
//! Whoever holds the vector with `CONTROL` can take any position back.
//!
//! An environment with a [`SliceEnd`] upcall is told [`GRACE_NS`] before its slice ends, so that it
//! saves its state itself and yields. If it has not when the slice ends, that is an *excess* slice:
//! its state is saved by the kernel, its next slice is forfeited, and after [`EXCESS_MAX`] such
//! slices it ends. A slice given back in time takes one off the count.
//!
//! [`Kind::Slice`]: crate::handle::Kind::Slice
//! [`SliceEnd`]: crate::upcall::Kind::SliceEnd

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::limits::SLICE_NS;

/// Positions of the vector.
pub const POSITIONS: usize = 64;

/// For `SliceAllocate`: the first free position.
pub const ANY: u64 = u64::MAX;

/// From the `SliceEnd` upcall to the end of the slice, in nanoseconds.
pub const GRACE_NS: u64 = SLICE_NS / 8;

/// Excess slices that an environment may have; one more ends it.
pub const EXCESS_MAX: u32 = 16;

/// Detail of [`crate::start::State::Killed`] for an environment that kept its slices too often.
pub const ENDED_BY_EXCESS: u64 = 1;

/// What an environment has had of the processor: `Call::SliceStats`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SliceStats {
    /// Positions that it owns.
    pub positions: u64,
    /// Slices that began with it, or of which it was given the rest by name.
    pub quanta: u64,
    /// Slices that it did not give back in time, less those that it did since.
    pub excess: u64,
    /// Slices still to be forfeited.
    pub forfeited: u64,
}

const _: () = assert!(GRACE_NS > 0 && GRACE_NS < SLICE_NS);
const _: () = assert!(POSITIONS >= crate::limits::ENVIRONMENTS_MAX);
