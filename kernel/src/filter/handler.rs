//! The handler of a binding: decoded and proven safe before the rest, so that the comparison with
//! the neighbours is the last thing that is done.

use abi::limits::ASH_COST_MAX;
use abi::refusal::{Blame, Code};
use ebpf::Kind;
use machine::heap::Arena;
use verifier::{Fuel, Verified};

use super::upload::Upload;
use super::{At, Source, Trouble};
use crate::Kernel;
use crate::environment::EnvironmentId;
use crate::maps::MapId;

/// An ASH on its way, or none.
pub(super) enum Handler {
    /// Being proven safe.
    Proof(Upload),
    /// Safe and not too costly; none if there is none.
    Ready(Option<Verified>),
}

impl Handler {
    /// Copy in.
    pub(super) fn new(
        kernel: &Kernel,
        arena: &mut Arena,
        (caller, source): (EnvironmentId, Option<Source>),
        maps: &[MapId],
    ) -> Result<Handler, Trouble> {
        let upload = upload(kernel, arena, (caller, source), maps)?;
        Ok(upload.map_or(Handler::Ready(None), Handler::Proof))
    }

    /// Works on the proof; true once there is nothing left to prove.
    pub(super) fn step(&mut self, arena: &mut Arena, fuel: &mut Fuel) -> Result<bool, Trouble> {
        let Handler::Proof(upload) = self else { return Ok(true) };
        let Some(ash) = upload.step(arena, fuel)? else { return Ok(false) };
        affordable(&ash)?;
        *self = Handler::Ready(Some(ash));
        Ok(false)
    }

    /// What it is at, unless there is nothing left to prove.
    pub(super) const fn at(&self) -> Option<At> {
        match self {
            Handler::Proof(upload) => Some(upload.at()),
            Handler::Ready(_) => None,
        }
    }

    /// What was proven, so far.
    pub(super) const fn ready(&self) -> Option<&Verified> {
        match self {
            Handler::Ready(ash) => ash.as_ref(),
            Handler::Proof(_) => None,
        }
    }

    /// What was proven.
    pub(super) fn take(self) -> Option<Verified> {
        match self {
            Handler::Ready(ash) => ash,
            Handler::Proof(_) => None,
        }
    }
}

/// Copies an ASH in, with the maps that it names.
fn upload(
    kernel: &Kernel,
    arena: &mut Arena,
    (caller, source): (EnvironmentId, Option<Source>),
    maps: &[MapId],
) -> Result<Option<Upload>, Trouble> {
    let Some(source) = source else { return Ok(None) };
    let upload = Upload::new(kernel, arena, (caller, source), (Kind::Ash, Blame::Ash))?;
    let held = maps.iter().filter_map(|&id| kernel.maps.get(id));
    Ok(Some(upload.with_maps(arena, held.map(|held| *held.map.spec()))))
}

/// Whether one run of an ASH is short enough for anybody.
fn affordable(ash: &Verified) -> Result<(), Trouble> {
    if ash.worst_case() > ASH_COST_MAX {
        let limit = ("ASH_COST_MAX", u64::from(ASH_COST_MAX));
        return Err(Trouble::limit(Code::Limit, Blame::Ash, limit));
    }
    Ok(())
}
