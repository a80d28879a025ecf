//! Processor time: positions of the kernel's vector of slices, and whose they are.
//!
//! A [`Slice`] names one position, [`Vector`] the authority over all of them (`init` has it). A
//! program that was started by `init` finds its own positions in its start block as `slice`,
//! `slice:1` and so on. To be told when a slice begins or ends, register a handler for
//! [`abi::upcall::Kind::SliceStart`] or `SliceEnd`; [`give_back_in_time`] is the usual one.

use abi::slice::{ANY, POSITIONS, SliceStats};
use abi::upcall::Kind;
use abi::{Call, Handle, Status};

use crate::capability::Env;
use crate::sys::{self, Request, perform, plain};

/// The whole vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vector(pub Handle);

/// A position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice(pub Handle);

impl Vector {
    /// Makes a position an environment's: this one, or the first that is free.
    ///
    /// # Errors
    /// `NotFree`, `Limit` when none is free, `BadArgument` for no position, `MissingRight`.
    pub fn allocate(self, owner: Env, position: Option<usize>) -> Result<Slice, Status> {
        let position = position.map_or(ANY, |position| position as u64);
        plain(Call::SliceAllocate, &[self.0.0, owner.0.0, position])
            .map(|slice| Slice(Handle(slice)))
    }

    /// Takes a position from whoever owns it.
    ///
    /// # Errors
    /// `WrongState` if nobody does, `BadArgument`, `MissingRight`.
    pub fn reclaim(self, position: usize) -> Result<(), Status> {
        plain(Call::SliceFree, &[self.0.0, position as u64]).map(drop)
    }
}

impl Slice {
    /// Frees it. The position must be the one that it names.
    ///
    /// # Errors
    /// `BadHandle`, `BadArgument`, `MissingRight`.
    pub fn free(self, position: usize) -> Result<(), Status> {
        plain(Call::SliceFree, &[self.0.0, position as u64]).map(drop)
    }

    /// Makes it somebody else's.
    ///
    /// # Errors
    /// `BadHandle`, `MissingRight`, `WrongState` if that one has ended.
    pub fn give(self, to: Env) -> Result<(), Status> {
        plain(Call::SliceGive, &[self.0.0, to.0.0]).map(drop)
    }
}

/// Whose each position is, by environment number; 0 is nobody's.
///
/// # Errors
/// What the kernel said.
pub fn owners() -> Result<[u32; POSITIONS], Status> {
    let mut owners = [0; POSITIONS];
    perform(Request::Words { call: Call::SliceOwners, first: None, into: &mut owners })?;
    Ok(owners)
}

/// What an environment has had.
///
/// # Errors
/// `BadHandle`; `WrongState` if it has ended.
pub fn stats(of: Env) -> Result<SliceStats, Status> {
    let mut words = [0; 8];
    perform(Request::Words { call: Call::SliceStats, first: Some(of.0), into: &mut words })?;
    let [a, b, c, d, e, f, g, h] = words.map(u64::from);
    let (positions, quanta) = (a | b << 32, c | d << 32);
    Ok(SliceStats { positions, quanta, excess: e | f << 32, forfeited: g | h << 32 })
}

/// Gives the rest of the slice to an environment.
///
/// # Errors
/// `BadHandle`; `WrongState` if it has ended.
pub fn yield_to(heir: Env) -> Result<(), Status> {
    plain(Call::Yield, &[heir.0.0]).map(drop)
}

/// From now on every slice is given back when the kernel says that it ends.
///
/// # Errors
/// What the kernel said to the registration.
pub fn give_back_in_time() -> Result<(), Status> {
    sys::upcall::register(Kind::SliceEnd, |_| crate::clock::yield_now())
}
