//! What was proven becomes code, step by step, before anything is owned or published.
//!
//! Compiled and checked in the arena, so that dropping it gives everything back; what is left for
//! the moment of publication is to copy the code into pages and seal them. The code holds addresses
//! of maps, but keeps none of them: they are asked for at each step, and once more when the code is
//! sealed.

use abi::refusal::Blame;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Poll;
use dpf::{EngineError, LoadStage, Loading, NativeProgram};
use machine::heap::Arena;
use runtime::map::Map;
use verifier::{Claim, Fuel, Verified};

use super::{At, Trouble};
use crate::Kernel;
use crate::environment::EnvironmentId;
use crate::maps::MapId;

/// Programs on their way to code.
pub(super) struct Build {
    owner: EnvironmentId,
    /// The maps that the handler names by position.
    maps: Vec<MapId>,
    /// In the order in which they are worked on.
    jobs: [Job; 4],
}

/// One of them, or none.
type Job = Option<Loading>;

const HANDLER: usize = 0;
const GUARD: usize = 1;
/// Programs of claims that are not the whole of them.
const RESIDUALS: [usize; 2] = [2, 3];

const BLAME: [Blame; 4] = [Blame::Ash, Blame::Transmit, Blame::Filter, Blame::Filter];

/// What is to become code.
#[derive(Default)]
pub(super) struct Plans<'a> {
    pub(super) handler: Option<&'a Verified>,
    pub(super) guard: Option<&'a Verified>,
    /// Of these claims, those programs that their holders keep.
    pub(super) claims: [Option<&'a Claim>; 2],
}

impl Build {
    /// Nothing is compiled yet.
    pub(super) fn new(
        kernel: &Kernel,
        arena: &mut Arena,
        (owner, maps): (EnvironmentId, &[MapId]),
        plans: &Plans<'_>,
    ) -> Result<Build, Trouble> {
        let held = held(kernel, owner, plans.handler.map(|_| maps))?;
        let jobs = arena.enter(|| {
            let claims = plans.claims.map(|claim| claim.map_or(Ok(None), residual));
            let [one, other] = claims;
            let handler = plans.handler.map(|it| Loading::new(it, &held)).transpose();
            let guard = plans.guard.map(|it| Loading::new(it, &[])).transpose();
            drop(held);
            [handler, guard, one, other]
        });
        let mut ready = [const { None }; 4];
        for ((place, job), blame) in ready.iter_mut().zip(jobs).zip(BLAME) {
            *place = job.map_err(|it| Trouble::engine(blame, &it))?;
        }
        Ok(Build { owner, maps: maps.to_vec(), jobs: ready })
    }

    /// What it is at.
    pub(super) fn at(&self) -> At {
        let mut stages = self.jobs.iter().flatten().map(Loading::stage);
        match stages.find(|stage| *stage != LoadStage::Seal) {
            Some(LoadStage::Compile) => At::Compile,
            Some(_) => At::Check,
            None => At::Publish,
        }
    }

    /// Works on them until the fuel is spent or one is done; true once all are.
    pub(super) fn step(
        &mut self,
        arena: &mut Arena,
        kernel: &Kernel,
        fuel: &mut Fuel,
    ) -> Result<bool, Trouble> {
        let jobs = self.jobs.iter_mut().zip(BLAME).enumerate();
        let job = jobs.filter_map(|(at, (job, blame))| Some((at, job.as_mut()?, blame)));
        let mut left = job.filter(|(_, job, _)| job.stage() != LoadStage::Seal);
        let Some((at, job, blame)) = left.next() else { return Ok(true) };
        let held = held(kernel, self.owner, (at == HANDLER).then_some(&self.maps[..]))?;
        match arena.enter(|| job.step(&held, fuel)) {
            Poll::Ready(Err(error)) => Err(Trouble::engine(blame, &error)),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(false),
        }
    }

    /// Seals the handler, if there is one.
    pub(super) fn handler(
        &mut self,
        kernel: &mut Kernel,
    ) -> Result<Option<NativeProgram>, Trouble> {
        let Some(job) = self.jobs[HANDLER].take() else { return Ok(None) };
        let held = held(kernel, self.owner, Some(&self.maps))?;
        let sealed = job.seal(&held, &mut kernel.network.code);
        sealed.map(Some).map_err(|it| Trouble::engine(Blame::Ash, &it))
    }

    /// Seals the guard, if there is one.
    pub(super) fn guard(&mut self, kernel: &mut Kernel) -> Result<Option<NativeProgram>, Trouble> {
        let Some(job) = self.jobs[GUARD].take() else { return Ok(None) };
        let sealed = job.seal(&[], &mut kernel.network.code);
        sealed.map(Some).map_err(|it| Trouble::engine(Blame::Transmit, &it))
    }

    /// The programs of both claims, for the engine to seal.
    pub(super) fn residuals(&mut self) -> [Option<Loading>; 2] {
        RESIDUALS.map(|at| self.jobs[at].take())
    }

    /// The next of them that was not taken yet.
    pub(super) fn residual(&mut self) -> Option<Loading> {
        RESIDUALS.into_iter().find_map(|at| self.jobs[at].take())
    }
}

/// The program of a claim, if its holder keeps it.
fn residual(claim: &Claim) -> Result<Option<Loading>, EngineError> {
    if !dpf::keeps_program(claim)? {
        return Ok(None);
    }
    Loading::new(claim.verified(), &[]).map(Some)
}

fn held(
    kernel: &Kernel,
    owner: EnvironmentId,
    maps: Option<&[MapId]>,
) -> Result<Vec<Arc<Map>>, Trouble> {
    let gone = || Trouble::stale("a map was given back while the proof ran");
    maps.map_or(Some(Vec::new()), |maps| kernel.maps_of(owner, maps)).ok_or_else(gone)
}
