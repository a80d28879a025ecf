//! Which frames a filter accepts, extracted from its instructions.
//!
//! The extraction is exact: it goes from the entry forward with symbolic values ([`machine`]) to
//! find what each branch asks of the frame ([`decide`]), and from the exits backward to find which
//! frames are accepted from there ([`combine`]). What is accepted from an instruction on depends
//! only on the live registers there, so each pair of instruction and state is worked out once,
//! however many paths lead to it. What cannot be expressed and matters for the answer is
//! [`RefusalCode::Undecided`], never guessed; or, if a guard is asked for
//! ([`ClaimProof::guarding`]), taken as possible either way, so that the space is around what the
//! filter accepts.
//!
//! | file | is |
//! |---|---|
//! | `word`, `measure`, `value` | symbolic values: bits of the frame, its length, places in it |
//! | `machine` | what an instruction does to them |
//! | `splits` with `sums` | cases, where one more bit of the frame has to be known |
//! | `decide` with `ranges`, `lexical`, `lengths` | what a comparison asks of the frame |
//! | `live` | which registers still matter |
//! | `rules`, `combine` | spaces under construction |
//! | `nodes` | pairs of instruction and state, each worked out once |
//! | `extract` | the work list |
//!
//! The work list is explicit, nothing recurses, and a step ends between two work items.

mod combine;
mod decide;
mod extract;
mod lengths;
mod lexical;
mod live;
mod machine;
mod measure;
mod nodes;
mod ranges;
mod rules;
mod splits;
mod sums;
mod value;
mod word;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::task::Poll;

use ebpf::Kind;
use flow::{Rule, Space};

use crate::certificate::{Certificate, Checking};
use crate::fuel::{Fuel, Step};
use crate::graph;
use crate::hash::HashKey;
use crate::limits::ClaimBudget;
use crate::refusal::{Refusal, RefusalCode};
use crate::safety::Verified;
pub use extract::Doubt;
use extract::{Effort, Extraction};

/// Extracts what a filter accepts.
#[derive(Debug)]
pub struct ClaimProof {
    work: Work,
}

#[derive(Debug)]
enum Work {
    Extract(Box<Attempt>),
    Check(Box<Checking>),
}

/// One extraction, and with less detail another if it may be.
#[derive(Debug)]
pub(crate) struct Attempt {
    verified: Verified,
    key: HashKey,
    effort: Effort,
    /// What is taken as known of every frame.
    facts: Rule,
    work: Option<Box<Extraction>>,
    /// What the work came to, while its memory is given back.
    answer: Option<Result<Space, Refusal>>,
}

/// A filter and the frames that it accepts, exactly or (then [`Claim::doubt`] says why) among
/// others: made by [`ClaimProof`] only.
#[derive(Clone, Debug)]
pub struct Claim {
    verified: Verified,
    space: Arc<Space>,
    doubt: Option<Doubt>,
}

/// The most heap that a claim proof holds for a program of `slots` slots, in bytes.
pub(crate) const fn heap_bytes(slots: usize) -> usize {
    let budget = ClaimBudget::of(slots);
    graph::heap_bytes(slots)
        + slots * size_of::<u16>()
        + value::heap_bytes(budget.values)
        + rules::heap_bytes(&budget)
        + nodes::heap_bytes(budget.nodes)
        + extract::heap_bytes(slots)
}

impl ClaimProof {
    /// Starts the extraction for a verified filter, with tables whose hash everybody knows: where
    /// tenants send the filters, use [`ClaimProof::keyed`].
    #[must_use]
    pub fn new(verified: Verified) -> ClaimProof {
        ClaimProof::keyed(verified, HashKey::PUBLIC)
    }

    /// Starts the extraction for a verified filter, with a secret for its tables. The answer does
    /// not depend on it.
    #[must_use]
    pub fn keyed(verified: Verified, key: HashKey) -> ClaimProof {
        let attempt = Attempt::new(verified, key, Effort::Exact, Rule::any());
        ClaimProof { work: Work::Extract(Box::new(attempt)) }
    }

    /// As [`ClaimProof::keyed`], but what cannot be decided is no refusal: the claim then holds
    /// more frames than the filter accepts, and is only good for a binding whose packets go
    /// through the filter itself. Where a limit is met the proof begins again, with less detail.
    #[must_use]
    pub fn guarding(verified: Verified, key: HashKey) -> ClaimProof {
        ClaimProof { work: Work::Extract(Box::new(Attempt::guarding(verified, key))) }
    }

    /// As [`ClaimProof::keyed`], with cases in which the filter can be decided if it cannot be as
    /// it stands ([`crate::certificate`]): the claim is exact, or there is none.
    #[must_use]
    pub fn certified(verified: Verified, key: HashKey, certificate: Certificate) -> ClaimProof {
        let checking = Checking::new(verified, key, certificate);
        ClaimProof { work: Work::Check(Box::new(checking)) }
    }

    /// Works until the fuel is spent or the answer is there.
    ///
    /// The answer's errors: [`RefusalCode::NotAFilter`], [`RefusalCode::Undecided`] with the
    /// instruction, [`RefusalCode::Limit`], and [`RefusalCode::Finished`] after the first answer.
    /// A certificate that is none: [`RefusalCode::Undecided`] with a frame that no case holds, or
    /// what a case leaves open.
    pub fn step(&mut self, fuel: &mut Fuel) -> Step<Claim> {
        match &mut self.work {
            Work::Extract(attempt) => attempt.step(fuel),
            Work::Check(checking) => checking.step(fuel),
        }
    }
}

impl Attempt {
    fn new(verified: Verified, key: HashKey, effort: Effort, facts: Rule) -> Attempt {
        let extraction = Extraction::new(verified.program(), key, effort, facts.clone());
        let work = Some(Box::new(extraction));
        Attempt { verified, key, effort, facts, work, answer: None }
    }

    /// Around what the filter accepts, if it cannot be exact.
    pub(crate) fn guarding(verified: Verified, key: HashKey) -> Attempt {
        Attempt::new(verified, key, Effort::Guard, Rule::any())
    }

    /// Exact for the frames of `facts`; of all others the answer says nothing.
    pub(crate) fn within(verified: Verified, key: HashKey, facts: Rule) -> Attempt {
        Attempt::new(verified, key, Effort::Exact, facts)
    }

    /// As [`ClaimProof::step`].
    pub(crate) fn step(&mut self, fuel: &mut Fuel) -> Step<Claim> {
        loop {
            let Some(work) = &mut self.work else {
                return Poll::Ready(Err(Refusal::new(RefusalCode::Finished)));
            };
            if self.answer.is_none() {
                let answer = match self.verified.kind() {
                    Kind::Filter => work.step(self.verified.program(), fuel),
                    _ => Poll::Ready(Err(Refusal::new(RefusalCode::NotAFilter))),
                };
                let Poll::Ready(answer) = answer else { return Poll::Pending };
                self.answer = Some(answer);
            }
            if work.clear(fuel).is_pending() {
                return Poll::Pending;
            }
            let doubt = work.doubt();
            // First the old tables go, then new ones are made: both do not fit.
            self.work = None;
            if let Some(doubt) = self.give_in() {
                self.effort = Effort::Coarse(doubt);
                let facts = self.facts.clone();
                let again = Extraction::new(self.verified.program(), self.key, self.effort, facts);
                (self.work, self.answer) = (Some(Box::new(again)), None);
                continue;
            }
            let finished = || Err(Refusal::new(RefusalCode::Finished));
            let answer = self.answer.take().unwrap_or_else(finished);
            let verified = self.verified.clone();
            let claim = |space| Claim { verified, space: Arc::new(space), doubt };
            return Poll::Ready(answer.map(claim));
        }
    }

    /// Why to begin again with less detail, if there is reason to.
    fn give_in(&self) -> Option<Doubt> {
        let Some(Err(refusal)) = &self.answer else { return None };
        let limit = refusal.limit.filter(|_| refusal.code == RefusalCode::Limit)?;
        let doubt = Doubt::of_limit(refusal.pc.unwrap_or_default(), limit);
        (self.effort == Effort::Guard).then_some(doubt)
    }
}

impl Claim {
    /// What was worked out in cases.
    pub(crate) fn exact(verified: Verified, space: Space) -> Claim {
        Claim { verified, space: Arc::new(space), doubt: None }
    }

    /// The filter.
    #[must_use]
    pub const fn verified(&self) -> &Verified {
        &self.verified
    }

    /// Whether the space is exactly what the filter accepts.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        self.doubt.is_none()
    }

    /// Why the space is not exact, if it is not.
    #[must_use]
    pub const fn doubt(&self) -> Option<Doubt> {
        self.doubt
    }

    /// The frames it accepts; if it is not exact, others as well.
    #[must_use]
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// A copy that shares no memory with this one: for whoever takes the memory back that the
    /// proof ran in.
    #[must_use]
    pub fn detach(&self) -> Claim {
        let space = Arc::new(Space::clone(&self.space));
        Claim { verified: self.verified.detach(), space, doubt: self.doubt }
    }

    pub(crate) fn shared_space(&self) -> &Arc<Space> {
        &self.space
    }

    /// What the filter itself says of a frame; `false` where it would trap, which a verified
    /// filter does not.
    pub(crate) fn program_accepts(&self, frame: &[u8]) -> bool {
        ebpf::interp::accepts(self.verified.program(), frame).unwrap_or(false)
    }
}
