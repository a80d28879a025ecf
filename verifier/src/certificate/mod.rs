//! Cases that make a filter decidable, proposed by its owner and believed in nothing.
//!
//! For a filter outside the fragment the extraction finds a guard: a space around what the filter
//! accepts ([`crate::ClaimProof::guarding`]). A [`Certificate`] splits it: a list of rules, the
//! *cases*, each of which says what some bytes are. The check is
//!
//! 1. the guard is extracted, without the certificate;
//! 2. the cases cover the guard (`flow`'s exact containment): a frame that no case holds is refused
//!    with that frame as witness;
//! 3. in each case the filter is extracted again, with the case's bytes as constants. Now it must
//!    be decided; what it accepts there is cut with the case.
//!
//! The union of the results is exactly what the filter accepts: nothing outside the guard is
//! accepted, everything in it is in a case, and each case is exact. So a certified claim is as good
//! as one that needed no certificate. A wrong or useless certificate is refused and proves nothing;
//! it cannot make a claim smaller than what the program accepts, because only the program is ever
//! extracted.
//!
//! Work: one extraction for each case, one containment, nothing recurses, all in steps. Cases,
//! their tests, and the resulting rules and cells are limited by name.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Poll;

use flow::{Containment, Contradiction, Rule, Space};

use crate::claim::{Attempt, Claim};
use crate::fuel::{Fuel, Step};
use crate::hash::HashKey;
use crate::limits::{
    CERTIFICATE_CASES_MAX, CERTIFICATE_TESTS_MAX, CERTIFIED_CELLS_MAX, CERTIFIED_RULES_MAX,
    ITEM_UNITS,
};
use crate::placement::{admissible, budget, with_flow_fuel};
use crate::refusal::{Refusal, RefusalCode, UndecidedReason};
use crate::safety::Verified;

/// Cases that are said to cover a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    cases: Arc<Space>,
}

/// The most heap that checking a certificate holds beyond one extraction, in bytes.
pub(crate) const fn heap_bytes() -> usize {
    let cell = size_of::<(flow::Cell, flow::ByteSet)>();
    // The cases, the copy that the containment works on, what is left of the guard, the results.
    2 * CERTIFICATE_CASES_MAX * (size_of::<Rule>() + (CERTIFICATE_TESTS_MAX + 2) * cell)
        + 2 * CERTIFIED_RULES_MAX * size_of::<Rule>()
        + 2 * CERTIFIED_CELLS_MAX * cell
}

impl Certificate {
    /// Takes cases as they come.
    ///
    /// # Errors
    /// [`RefusalCode::Limit`] naming `CERTIFICATE_CASES_MAX`, `CERTIFICATE_TESTS_MAX` or a limit of
    /// [`Space::check`].
    pub fn new(cases: Vec<Rule>) -> Result<Certificate, Refusal> {
        if cases.len() > CERTIFICATE_CASES_MAX {
            return Err(Refusal::limit("CERTIFICATE_CASES_MAX", CERTIFICATE_CASES_MAX as u64));
        }
        // A guard's own cell comes with the cells behind it.
        if cases.iter().any(|case| case.cells().len() > 2 * CERTIFICATE_TESTS_MAX) {
            return Err(Refusal::limit("CERTIFICATE_TESTS_MAX", CERTIFICATE_TESTS_MAX as u64));
        }
        for case in &cases {
            admissible(&Space::from(case.clone()))?;
        }
        Ok(Certificate { cases: Arc::new(Space::from_rules(cases)) })
    }

    /// The cases.
    #[must_use]
    pub fn cases(&self) -> &[Rule] {
        self.cases.rules()
    }
}

/// The check of a certificate under way.
#[derive(Debug)]
pub(crate) struct Checking {
    verified: Verified,
    key: HashKey,
    certificate: Certificate,
    stage: Stage,
    found: Space,
    cells: usize,
}

#[derive(Debug)]
enum Stage {
    /// What the filter may accept is extracted.
    Guard(Box<Attempt>),
    /// The cases are held against it.
    Cover(Box<Containment<Arc<Space>, Arc<Space>>>),
    /// The filter is extracted in the case with this number.
    Case(usize, Box<Attempt>),
    /// What it accepts there is taken in: the case, the rules, the next of them.
    Take(usize, Arc<Space>, usize),
    /// The answer was given.
    Done,
}

impl Checking {
    pub(crate) fn new(verified: Verified, key: HashKey, certificate: Certificate) -> Checking {
        let stage = Stage::Guard(Box::new(Attempt::guarding(verified.clone(), key)));
        Checking { verified, key, certificate, stage, found: Space::empty(), cells: 0 }
    }

    /// Works until the fuel is spent or the answer is there.
    pub(crate) fn step(&mut self, fuel: &mut Fuel) -> Step<Claim> {
        loop {
            if fuel.is_empty() {
                return Poll::Pending;
            }
            let next = match &mut self.stage {
                Stage::Guard(attempt) => match attempt.step(fuel) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(claim)) if claim.is_exact() => {
                        self.stage = Stage::Done;
                        return Poll::Ready(Ok(claim));
                    }
                    Poll::Ready(guard) => guard.map(|guard| {
                        let guard = Arc::clone(guard.shared_space());
                        let cases = Arc::clone(&self.certificate.cases);
                        Stage::Cover(Box::new(Containment::new(guard, cases)))
                    }),
                },
                Stage::Cover(proof) => match with_flow_fuel(fuel, |units| proof.step(units)) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) => Ok(self.case(0)),
                    Poll::Ready(Err(contradiction)) => Err(uncovered(contradiction)),
                },
                Stage::Case(number, attempt) => match attempt.step(fuel) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(refusal)) => Err(in_case(*number, refusal)),
                    Poll::Ready(Ok(claim)) => {
                        Ok(Stage::Take(*number, Arc::clone(claim.shared_space()), 0))
                    }
                },
                Stage::Take(number, space, at) => {
                    fuel.spend(ITEM_UNITS);
                    let (number, rule) = (*number, space.rules().get(*at).cloned());
                    *at += 1;
                    match rule {
                        Some(rule) => match self.take(number, &rule) {
                            Ok(()) => continue,
                            Err(refusal) => Err(refusal),
                        },
                        None => Ok(self.case(number + 1)),
                    }
                }
                Stage::Done => {
                    return Poll::Ready(Err(Refusal::new(RefusalCode::Finished)));
                }
            };
            match next {
                Ok(Stage::Done) => {
                    self.stage = Stage::Done;
                    return Poll::Ready(self.finish());
                }
                Ok(stage) => self.stage = stage,
                Err(refusal) => {
                    self.stage = Stage::Done;
                    return Poll::Ready(Err(refusal));
                }
            }
        }
    }

    /// The extraction in a case; done behind the last.
    fn case(&self, number: usize) -> Stage {
        match self.certificate.cases().get(number) {
            Some(case) => {
                let attempt = Attempt::within(self.verified.clone(), self.key, case.clone());
                Stage::Case(number, Box::new(attempt))
            }
            None => Stage::Done,
        }
    }

    /// Takes in what a rule holds of its case.
    fn take(&mut self, case: usize, rule: &Rule) -> Result<(), Refusal> {
        let case = self.certificate.cases().get(case);
        let Some(part) = case.and_then(|case| case.intersect(rule)) else { return Ok(()) };
        self.cells += part.cells().len();
        if self.cells > CERTIFIED_CELLS_MAX {
            return Err(Refusal::limit("CERTIFIED_CELLS_MAX", CERTIFIED_CELLS_MAX as u64));
        }
        self.found.absorb(part);
        if self.found.rules().len() > CERTIFIED_RULES_MAX {
            return Err(Refusal::limit("CERTIFIED_RULES_MAX", CERTIFIED_RULES_MAX as u64));
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Claim, Refusal> {
        let found = core::mem::take(&mut self.found);
        admissible(&found)?;
        Ok(Claim::exact(self.verified.clone(), found))
    }
}

/// What stays open in a case, with the case's number, from 0.
fn in_case(number: usize, refusal: Refusal) -> Refusal {
    let detail = alloc::format!("in case {number} of the certificate");
    Refusal { detail: Some(Cow::Owned(detail)), ..refusal }
}

/// The guard holds a frame that no case does, or the comparison met a limit.
fn uncovered(contradiction: Contradiction) -> Refusal {
    match contradiction {
        Contradiction::Witness(frame) => {
            let code = RefusalCode::Undecided(UndecidedReason::Uncovered);
            Refusal::new(code).with_witness(frame)
        }
        Contradiction::Budget { limit } => budget(limit),
    }
}
