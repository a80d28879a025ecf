//! A predicate's way: copy in, decode, safe, compile, check. Short enough for one call.
//!
//! A predicate has at most `PREDICATE_SLOTS_MAX` slots, so its whole proof takes fewer steps than a
//! filter's, and it is not worth an arena: the card is served between two steps, the caller waits.
//! One with loops may take more: both its proof and its runs have a most.

use abi::download::PREDICATE_SLOTS_MAX;
use abi::limits::ASH_COST_MAX;
use abi::refusal::{Blame, Code};
use core::task::Poll;
use dpf::{EngineError, Loading, NativeProgram};
use ebpf::Kind;
use verifier::{Fuel, GrantId, SafetyProof, Verified};

use super::{Order, Programs, Source, Trouble};
use crate::Kernel;
use crate::calls::{Answer, Done};
use crate::charge;
use crate::environment::EnvironmentId;
use crate::limits::{PREDICATE_STEPS_MAX, PROOF_FUEL};

/// A predicate's program, ready to run, and what each run is charged.
pub(crate) struct Proven {
    pub(crate) program: NativeProgram,
    pub(crate) cost: u32,
}

impl Kernel {
    /// Proves and compiles the program at `source`. The caller has reserved for it.
    pub(crate) fn prove_predicate(
        &mut self,
        caller: EnvironmentId,
        source: Source,
    ) -> Result<Proven, Trouble> {
        if source.slots() > PREDICATE_SLOTS_MAX {
            let limit = ("PREDICATE_SLOTS_MAX", PREDICATE_SLOTS_MAX as u64);
            return Err(Trouble::limit(Code::Limit, Blame::Predicate, limit));
        }
        let bytes = self.copy_in(caller, source.address, source.bytes).map_err(Trouble::Failed)?;
        let program = ebpf::decode(&bytes, Kind::Memory, PREDICATE_SLOTS_MAX)
            .map_err(|error| Trouble::malformed(Blame::Predicate, &error))?;
        let verified = self.run_proof(SafetyProof::new(program))?;
        let cost = charge::cost_of(&verified);
        if cost > ASH_COST_MAX {
            let limit = ("ASH_COST_MAX", u64::from(ASH_COST_MAX));
            return Err(Trouble::limit(Code::Limit, Blame::Predicate, limit));
        }
        let program = self.build_predicate(&verified);
        let program = program.map_err(|it| Trouble::engine(Blame::Predicate, &it))?;
        Ok(Proven { program, cost })
    }

    /// Compiles and checks it, the card served in between, and seals it.
    fn build_predicate(&mut self, verified: &Verified) -> Result<NativeProgram, EngineError> {
        let mut loading = Loading::new(verified, &[])?;
        while loading.step(&[], &mut Fuel(PROOF_FUEL))?.is_pending() {
            self.poll_card();
        }
        loading.seal(&[], &mut self.network.code)
    }

    fn run_proof(&mut self, mut proof: SafetyProof) -> Result<Verified, Trouble> {
        for _ in 0..PREDICATE_STEPS_MAX {
            if let Poll::Ready(answer) = proof.step(&mut Fuel(PROOF_FUEL)) {
                return answer.map_err(|it| Trouble::refused(Blame::Predicate, &it));
            }
            self.poll_card();
        }
        let limit = ("PREDICATE_STEPS_MAX", u64::from(PREDICATE_STEPS_MAX));
        Err(Trouble::limit(Code::Limit, Blame::Predicate, limit))
    }

    /// Answers a call whose predicate was refused.
    pub(crate) fn refuse_predicate(
        &mut self,
        caller: EnvironmentId,
        (source, refusal): (Source, (u64, u64)),
        trouble: &Trouble,
    ) -> Answer {
        let programs = Programs { filter: source, ..Programs::default() };
        let order = Order { grant: GrantId::ROOT, refusal, programs };
        match trouble {
            Trouble::Failed(status) => Err(*status),
            Trouble::Refused(_) => Ok(Done::Refused(self.refuse(caller, order, trouble, 0))),
        }
    }
}
