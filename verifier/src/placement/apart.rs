//! Does a claim meet a neighbour's.
//!
//! The grant's index names the rules that might meet one of ours; each pair of rules is then
//! decided exactly. What came in behind the look-up's back is compared whole, one neighbour after
//! the other, oldest first, before the answer: the registry's sequence number says what that is.
//! If it is much, the look-up starts over. [`super::scan`] is the same proof without the index.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Poll;

use flow::{Contradiction, Intersection, Space};

use super::{Shared, confirm, with_flow_fuel, within};
use crate::claim::{Claim, Doubt};
use crate::fuel::Fuel;
use crate::index::{Candidate, Form, Search, Work};
use crate::limits::{ITEM_UNITS, RECHECK_MAX};
use crate::refusal::{Party, Refusal, RefusalCode, UndecidedReason};
use crate::registry::{GrantId, Registry, Tables, TooMany};

/// Which neighbours a claim must be apart from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Neighbours {
    /// For a binding: the bindings under the grant. Child grants are carved out instead.
    Bindings,
    /// For a derived grant: its siblings, and the bindings made under the parent before it.
    Everyone,
    /// For a grant carved from a binding: its siblings.
    Children,
}

/// The proof that a claim meets no neighbour.
#[derive(Debug)]
pub(super) struct Apart {
    grant: GrantId,
    neighbours: Neighbours,
    space: Shared,
    forms: Vec<Form>,
    stage: Stage,
    /// Everything that came in up to here is in the index, or compared.
    seen: u64,
    current: Option<(Party, Box<Comparison>)>,
    named: u32,
    work: Work,
}

type Comparison = Intersection<Shared, Shared>;

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// The forms of the claim's rules are made.
    Forms,
    /// An index is looked through.
    Look(Tables, Search),
    /// What came in meanwhile is compared.
    Since,
}

/// Fuel for the form of a rule, and for comparing two rules without making one.
const FORM_UNITS: u32 = 128;
const COMPARE_UNITS: u32 = 8;

const _: () = assert!(FORM_UNITS <= ITEM_UNITS);

impl Apart {
    pub(super) fn new(grant: GrantId, neighbours: Neighbours, space: &Shared) -> Apart {
        Apart {
            grant,
            neighbours,
            space: Arc::clone(space),
            forms: Vec::new(),
            stage: Stage::Forms,
            seen: 0,
            current: None,
            named: 0,
            work: Work::default(),
        }
    }

    /// The sequence number up to which everything is compared.
    pub(super) const fn seen(&self) -> u64 {
        self.seen
    }

    /// What the look-ups did.
    pub(super) fn work(&self) -> Work {
        let mut work = self.work;
        if let Stage::Look(_, search) = &self.stage {
            work += search.work;
        }
        work
    }

    /// The forms of the claim's rules, given away.
    pub(super) fn take_forms(&mut self) -> Vec<Form> {
        core::mem::take(&mut self.forms)
    }

    pub(super) fn step(
        &mut self,
        claim: &Claim,
        registry: &Registry,
        fuel: &mut Fuel,
    ) -> Poll<Result<(), Refusal>> {
        loop {
            if let Some((party, comparison)) = &mut self.current {
                if fuel.is_empty() {
                    return Poll::Pending;
                }
                let party = *party;
                let verdict = with_flow_fuel(fuel, |flow_fuel| comparison.step(flow_fuel));
                let Poll::Ready(verdict) = verdict else { return Poll::Pending };
                self.current = None;
                if let Err(contradiction) = verdict
                    && let Some(refusal) = accuse(registry, claim, party, contradiction)
                {
                    return Poll::Ready(Err(refusal));
                }
            }
            if fuel.is_empty() {
                return Poll::Pending;
            }
            match &mut self.stage {
                Stage::Forms => {
                    fuel.spend(FORM_UNITS);
                    match self.space.rules().get(self.forms.len()) {
                        Some(rule) => self.forms.push(Form::of(rule)),
                        None => self.look(registry),
                    }
                }
                Stage::Look(tables, search) => {
                    let tables = *tables;
                    let next = match registry.index(self.grant, tables) {
                        Some(index) => search.next(index, &self.forms, fuel),
                        None => Poll::Ready(None),
                    };
                    match next {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(None) => self.finish_look(tables),
                        Poll::Ready(Some(candidate)) => {
                            fuel.spend(COMPARE_UNITS);
                            if let Err(refusal) = self.weigh(registry, tables, candidate) {
                                return Poll::Ready(Err(refusal));
                            }
                        }
                    }
                }
                Stage::Since => {
                    match next_after(registry, self.grant, self.neighbours, self.seen) {
                        Ok(None) => return Poll::Ready(Ok(())),
                        Ok(Some((party, theirs))) => {
                            self.seen = registry.born(party).unwrap_or(self.seen);
                            let theirs = Arc::clone(theirs.shared_space());
                            let both = Intersection::new(Arc::clone(&self.space), theirs);
                            self.current = Some((party, Box::new(both)));
                        }
                        Err(TooMany) => self.look(registry),
                    }
                }
            }
        }
    }

    /// Begins the look-up, from now on.
    fn look(&mut self, registry: &Registry) {
        self.seen = registry.sequence();
        let first = match self.neighbours {
            Neighbours::Bindings | Neighbours::Everyone => Tables::Bound,
            Neighbours::Children => Tables::Carved,
        };
        self.stage = Stage::Look(first, Search::default());
    }

    fn finish_look(&mut self, tables: Tables) {
        self.work = self.work();
        self.stage = match (tables, self.neighbours) {
            (Tables::Bound, Neighbours::Everyone) => Stage::Look(Tables::Carved, Search::default()),
            _ => Stage::Since,
        };
    }

    /// Begins the comparison with a rule that the index named, unless the two plainly differ.
    fn weigh(
        &mut self,
        registry: &Registry,
        tables: Tables,
        candidate: Candidate,
    ) -> Result<(), Refusal> {
        let Candidate { rule, tag, walked } = candidate;
        let most = registry.limits().candidates;
        self.named += u32::from(!walked);
        if self.named > most {
            return Err(Refusal::limit("CANDIDATES_MAX", most.into()));
        }
        let theirs = registry.tagged(tables, tag);
        let Some((party, claim, number)) = theirs else { return Ok(()) };
        let pair = (self.space.rules().get(rule), claim.space().rules().get(number));
        if let (Some(ours), Some(theirs)) = pair
            && ours.may_meet(theirs)
        {
            let [ours, theirs] = [ours, theirs].map(|rule| Arc::new(Space::from(rule.clone())));
            self.current = Some((party, Box::new(Intersection::new(ours, theirs))));
        }
        Ok(())
    }
}

/// Compares with what came in after `seen`, all at once: at most `RECHECK_MAX` neighbours.
pub(super) fn recheck(
    registry: &Registry,
    grant: GrantId,
    neighbours: Neighbours,
    claim: &Claim,
    mut seen: u64,
) -> Result<(), Refusal> {
    loop {
        let Ok(next) = next_after(registry, grant, neighbours, seen) else {
            let limit = Refusal::limit("RECHECK_MAX", RECHECK_MAX as u64);
            return Err(Refusal { code: RefusalCode::Stale, ..limit });
        };
        let Some((party, theirs)) = next else { return Ok(()) };
        seen = registry.born(party).ok_or(Refusal::new(RefusalCode::Stale))?;
        if let Err(contradiction) = claim.space().disjoint_from(theirs.space())
            && let Some(refusal) = accuse(registry, claim, party, contradiction)
        {
            return Err(refusal);
        }
    }
}

/// The oldest neighbour that came in after `seen`, if no more than `RECHECK_MAX` of either kind
/// did.
fn next_after(
    registry: &Registry,
    grant: GrantId,
    neighbours: Neighbours,
    seen: u64,
) -> Result<Option<(Party, &Claim)>, TooMany> {
    let binding = match neighbours {
        Neighbours::Children => None,
        _ => registry.binding_since(grant, seen, RECHECK_MAX)?.map(Party::Binding),
    };
    let child = match neighbours {
        Neighbours::Bindings => None,
        _ => registry.child_since(grant, seen, RECHECK_MAX)?.map(Party::Grant),
    };
    let party = match (binding, child) {
        (Some(a), Some(b)) if registry.born(b) < registry.born(a) => Some(b),
        (Some(a), _) => Some(a),
        (None, b) => b,
    };
    Ok(party.and_then(|party| Some((party, claim_of(registry, party)?))))
}

fn claim_of(registry: &Registry, party: Party) -> Option<&Claim> {
    match party {
        Party::Binding(id) => registry.binding(id).map(|binding| binding.claim()),
        Party::Grant(id) => registry.grant(id).and_then(|grant| grant.claim()),
    }
}

/// The refusal that follows, unless the neighbour has left meanwhile.
pub(super) fn accuse(
    registry: &Registry,
    claim: &Claim,
    party: Party,
    contradiction: Contradiction,
) -> Option<Refusal> {
    let theirs = claim_of(registry, party)?;
    let witness = match contradiction {
        Contradiction::Witness(witness) => witness,
        Contradiction::Budget { limit } => return Some(within::budget(limit).against(party)),
    };
    let confirmed = confirm::find(&witness, |frame| {
        claim.program_accepts(frame) && theirs.program_accepts(frame)
    });
    let refusal = match confirmed {
        Some(frame) => Refusal::new(RefusalCode::Overlap).with_witness(frame),
        None => unconfirmed(claim.doubt()).with_witness(witness),
    };
    Some(refusal.against(party))
}

/// The witness is no proof of anything: because of what the claim could not decide, if that is all
/// that is wrong.
pub(super) fn unconfirmed(doubt: Option<Doubt>) -> Refusal {
    match doubt {
        Some(doubt) => doubt.refusal(),
        None => Refusal::new(RefusalCode::Undecided(UndecidedReason::Unconfirmed)),
    }
}
