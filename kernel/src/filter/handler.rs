//! The handler of a binding that is made by something else than a plain bind: decoded and proven
//! safe before the rest, so that the comparison with the neighbours is the last thing that is done.

use abi::limits::ASH_COST_MAX;
use abi::refusal::{Blame, Code};
use alloc::vec::Vec;
use ebpf::{Kind, Program};
use machine::heap::Arena;
use verifier::{Fuel, SafetyProof, Verified};

use super::{Source, Trouble, decode, drive};
use crate::Kernel;
use crate::environment::EnvironmentId;
use crate::maps::MapId;

/// An ASH on its way, or none.
pub(super) enum Handler {
    /// Being proven safe.
    Proof(SafetyProof),
    /// Safe and not too costly; none if there is none.
    Ready(Option<Verified>),
}

impl Handler {
    /// Copy in, decode.
    pub(super) fn decode(
        kernel: &Kernel,
        arena: &mut Arena,
        (caller, source): (EnvironmentId, Option<Source>),
        maps: &[MapId],
    ) -> Result<Handler, Trouble> {
        let program = program(kernel, arena, (caller, source), maps)?;
        Ok(match program {
            Some(program) => Handler::Proof(arena.enter(|| SafetyProof::new(program))),
            None => Handler::Ready(None),
        })
    }

    /// Works on the proof; true once there is nothing left to prove.
    pub(super) fn step(&mut self, arena: &mut Arena, fuel: &mut Fuel) -> Result<bool, Trouble> {
        let Handler::Proof(proof) = self else { return Ok(true) };
        let Some(ash) = drive(arena, Blame::Ash, || proof.step(fuel))? else { return Ok(false) };
        affordable(&ash)?;
        *self = Handler::Ready(Some(ash));
        Ok(true)
    }

    /// What was proven.
    pub(super) fn take(self) -> Option<Verified> {
        match self {
            Handler::Ready(ash) => ash,
            Handler::Proof(_) => None,
        }
    }
}

/// Copies an ASH in and decodes it, with the maps that it names.
pub(super) fn program(
    kernel: &Kernel,
    arena: &mut Arena,
    (caller, source): (EnvironmentId, Option<Source>),
    maps: &[MapId],
) -> Result<Option<Program>, Trouble> {
    let Some(source) = source else { return Ok(None) };
    let program = decode(kernel, arena, (caller, source), Kind::Ash, Blame::Ash)?;
    let held = maps.iter().filter_map(|&id| kernel.maps.get(id));
    let specs = held.map(|held| *held.map.spec());
    Ok(Some(arena.enter(|| program.with_maps(specs.collect::<Vec<_>>()))))
}

/// Whether one run of an ASH is short enough for anybody.
pub(super) fn affordable(ash: &Verified) -> Result<(), Trouble> {
    if ash.worst_case() > ASH_COST_MAX {
        let limit = ("ASH_COST_MAX", u64::from(ASH_COST_MAX));
        return Err(Trouble::limit(Code::Limit, Blame::Ash, limit));
    }
    Ok(())
}
