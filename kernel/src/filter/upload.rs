//! A program of ring 3 on its way to being proven safe: copied in, decoded, proven.
//!
//! Its bytes are copied when the call is made, so that whatever its owner or anybody who shares the
//! memory does to them later changes nothing; the rest is done in steps, all of it in the arena.

use abi::refusal::{Blame, Code};
use alloc::boxed::Box;
use alloc::vec::Vec;
use ebpf::{Decoder, Kind, MapSpec, Program};
use machine::heap::Arena;
use verifier::{Fuel, SafetyProof, Verified};

use super::{At, Source, Trouble, drive};
use crate::Kernel;
use crate::environment::EnvironmentId;

/// A program on its way.
pub(super) struct Upload {
    blame: Blame,
    stage: Stage,
}

enum Stage {
    Decode(Box<Decoder>, Vec<MapSpec>),
    Prove(Box<SafetyProof>),
    Over,
}

impl Upload {
    /// Copies a program in that uses no maps.
    pub(super) fn new(
        kernel: &Kernel,
        arena: &mut Arena,
        (owner, source): (EnvironmentId, Source),
        (kind, blame): (Kind, Blame),
    ) -> Result<Upload, Trouble> {
        let slots = abi::limits::PROGRAM_SLOTS_MAX;
        if source.slots() > slots {
            return Err(Trouble::limit(Code::Limit, blame, ("PROGRAM_SLOTS_MAX", slots as u64)));
        }
        let decoder = arena.enter(|| {
            let bytes = kernel.copy_in(owner, source.address, source.bytes)?;
            Ok(Decoder::new(bytes, kind, slots).map(Box::new))
        });
        let decoder = decoder.map_err(Trouble::Failed)?;
        let decoder = decoder.map_err(|error| Trouble::malformed(blame, &error))?;
        Ok(Upload { blame, stage: Stage::Decode(decoder, Vec::new()) })
    }

    /// The same, of a handler that names these maps by position.
    pub(super) fn with_maps(
        mut self,
        arena: &mut Arena,
        specs: impl Iterator<Item = MapSpec>,
    ) -> Upload {
        if let Stage::Decode(_, maps) = &mut self.stage {
            arena.enter(|| maps.extend(specs));
        }
        self
    }

    /// A program that the kernel made.
    pub(super) fn made(arena: &mut Arena, program: Program, blame: Blame) -> Upload {
        let proof = arena.enter(|| Box::new(SafetyProof::new(program)));
        Upload { blame, stage: Stage::Prove(proof) }
    }

    /// What it is at.
    pub(super) const fn at(&self) -> At {
        match self.stage {
            Stage::Decode(..) => At::Decode,
            Stage::Prove(_) | Stage::Over => At::Safe,
        }
    }

    /// Works on it until the fuel is spent, or a stage is over.
    pub(super) fn step(
        &mut self,
        arena: &mut Arena,
        fuel: &mut Fuel,
    ) -> Result<Option<Verified>, Trouble> {
        let blame = self.blame;
        match &mut self.stage {
            Stage::Decode(decoder, maps) => {
                let decoded = arena.enter(|| decode(decoder, fuel));
                let decoded = decoded.map_err(|error| Trouble::malformed(blame, &error))?;
                if let Some(program) = decoded {
                    let maps = core::mem::take(maps);
                    self.stage = Stage::Prove(
                        arena.enter(|| Box::new(SafetyProof::new(program.with_maps(maps)))),
                    );
                }
                Ok(None)
            }
            Stage::Prove(proof) => {
                let verified = drive(arena, blame, || proof.step(fuel))?;
                if verified.is_some() {
                    self.stage = Stage::Over;
                }
                Ok(verified)
            }
            Stage::Over => Err(Trouble::over()),
        }
    }
}

fn decode(decoder: &mut Decoder, fuel: &mut Fuel) -> Result<Option<Program>, ebpf::DecodeError> {
    while !fuel.is_empty() {
        fuel.spend(1);
        if let Some(program) = decoder.advance()? {
            return Ok(Some(program));
        }
    }
    Ok(None)
}
