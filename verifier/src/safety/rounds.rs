//! One run of a loop: how often its instructions are gone through, and with what states.
//!
//! Two ways. *Exploring* keeps the rounds apart: the states that come back to the head are those of
//! the next round, until none comes back; exact, and as long as the loop runs. *Summing up* finds a
//! state for the head that holds in every round: it is joined with what comes back and widened
//! until what comes back is described by it already. On the way there nothing is required of the
//! instructions and nothing leaves the loop; a last pass, with that state, requires everything,
//! checks that what comes back is described, and only what leaves the loop then goes on. That pass
//! alone is the proof; how the state was found does not matter. The loop ends because of
//! its [`Ranking`], which that pass checks too.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::join::{apart, includes, join};
use super::name::{Name, Names};
use super::pending::{Meeting, Pending, States};
use super::ranking::Ranking;
use super::scalar::Scalar;
use super::shape::Loop;
use super::state::State;
use super::widen::{Thresholds, widen};
use crate::limits::WIDENINGS_MAX;
use crate::refusal::Refusal;

/// A loop under way.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) index: usize,
    pub(super) shape: Loop,
    pub(super) way: Way,
    /// What has come back to the head in this round or pass.
    pub(super) back: States,
}

#[derive(Debug)]
pub(super) enum Way {
    /// Round by round: how many, and what the head had when that was last a power of two.
    Explore { rounds: u32, seen: Vec<State> },
    /// A state for all rounds.
    Sum(Box<Sum>),
}

/// A state for all rounds, being found or checked.
#[derive(Debug)]
pub(super) struct Sum {
    pub(super) entry: State,
    pub(super) head: State,
    pub(super) phase: Phase,
    /// Names from here on were given in the loop.
    pub(super) mark: Name,
    /// Names from here on were given in this pass.
    pass: Name,
    pub(super) thresholds: Thresholds,
    pub(super) ranking: Ranking,
    /// Rounds at most, and instructions in one at most.
    bound: (u64, u64),
    widenings: u32,
    /// Widened beyond the thresholds: what comes back may be less, once.
    far: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The state is being found.
    Find,
    /// One that may be smaller is tried; if it holds, it is taken.
    Narrow,
    /// Everything is required.
    Check,
}

/// What follows a pass through a loop.
#[derive(Debug)]
pub(super) enum After {
    /// Another pass, with these states at the head.
    Again(States),
    /// The rounds are not kept apart any more: these states begin it anew, summed up.
    Sum(States),
    /// The loop is done.
    Leave,
    /// Nothing says how often it can be gone round.
    Unbounded,
}

impl Sum {
    pub(super) fn new(entry: State, names: &Names) -> Sum {
        let mark = names.mark();
        let head = entry.clone();
        let ranking = Ranking::of(&head, mark);
        let (thresholds, phase) = (Thresholds::default(), Phase::Find);
        Sum {
            entry,
            head,
            phase,
            mark,
            pass: mark,
            thresholds,
            ranking,
            bound: (0, 0),
            widenings: 0,
            far: false,
        }
    }

    /// Names below mean the same in all states of this pass: those from outside, and those that
    /// the loop's state has.
    pub(super) const fn given(&self) -> Name {
        self.pass
    }

    /// A number is compared with another: if that is fixed in the loop, the loop may stop there.
    pub(super) fn compared(&mut self, number: &Scalar, with: &Scalar) {
        let fixed = with.as_constant().is_some() || with.name < self.mark;
        if fixed && number.as_constant() != Some(with.num.umin) {
            let delta = number.delta;
            self.thresholds.add(with.num.umin, delta);
            if with.num.umax != with.num.umin {
                self.thresholds.add(with.num.umax, delta);
            }
        }
    }

    /// The states to begin a pass with.
    fn again(&mut self, names: &Names) -> After {
        self.ranking = Ranking::of(&self.head, self.mark);
        self.pass = names.mark();
        After::Again(alloc::vec![Box::new(self.head.clone())])
    }

    /// A pass is over; `back` came back.
    pub(super) fn pass(&mut self, back: Option<&State>, names: &mut Names) -> After {
        match (self.phase, back) {
            (Phase::Check, None) => After::Leave,
            (Phase::Check, Some(back)) => {
                let spent = back.cost.saturating_sub(self.head.cost);
                let bounded = self.ranking.trips().is_some_and(|trips| trips <= self.bound.0);
                let holds = includes(&self.head, back, self.mark)
                    && includes(&self.head, &self.entry, self.mark);
                if holds && bounded && spent <= self.bound.1 {
                    After::Leave
                } else {
                    After::Unbounded
                }
            }
            (_, None) => {
                // Never gone round: the first round is the only one.
                self.head = self.entry.clone();
                self.check((0, 0), names)
            }
            (Phase::Find, Some(back)) => self.find(back, names),
            (Phase::Narrow, Some(back)) => match self.measured(back) {
                Some(bound) if includes(&self.head, back, self.mark) => self.check(bound, names),
                _ => After::Unbounded,
            },
        }
    }

    fn find(&mut self, back: &State, names: &mut Names) -> After {
        if includes(&self.head, back, self.mark) {
            if self.far {
                self.far = false;
                self.phase = Phase::Narrow;
                let mut smaller = join(names, &self.entry, back);
                smaller.cost = self.entry.cost;
                self.head = smaller;
                return self.again(names);
            }
            return match self.measured(back) {
                Some(bound) => self.check(bound, names),
                None => After::Unbounded,
            };
        }
        self.widenings += 1;
        if self.widenings > WIDENINGS_MAX {
            return After::Unbounded;
        }
        let mut joined = join(names, &self.head, back);
        joined.cost = self.entry.cost;
        let soft = self.widenings <= WIDENINGS_MAX / 2;
        self.far |= !soft;
        widen(&self.head, &mut joined, soft.then_some(&self.thresholds));
        self.head = joined;
        self.again(names)
    }

    /// Rounds and instructions in each, as this pass showed them.
    fn measured(&self, back: &State) -> Option<(u64, u64)> {
        let spent = back.cost.saturating_sub(self.head.cost);
        self.ranking.trips().map(|trips| (trips, spent))
    }

    /// The last pass: all rounds are paid for before the first.
    fn check(&mut self, bound: (u64, u64), names: &Names) -> After {
        self.phase = Phase::Check;
        self.bound = bound;
        let all = bound.0.saturating_mul(bound.1);
        self.head.cost = self.entry.cost.saturating_add(all);
        self.again(names)
    }
}

impl Run {
    /// Whether the loop's state is still being found.
    pub(super) fn is_loose(&self) -> bool {
        matches!(&self.way, Way::Sum(sum) if sum.phase != Phase::Check)
    }

    /// A state comes back to the head.
    pub(super) fn comes_back(
        &mut self,
        state: Box<State>,
        names: &mut Names,
        pending: &mut Pending,
        meeting: Meeting,
    ) -> Result<(), Refusal> {
        let Meeting { mut cap, mark } = meeting;
        if let Way::Sum(sum) = &mut self.way {
            sum.ranking.goes_round(&state);
            cap = 1;
        }
        let described = |there: &&mut Box<State>| includes(there, &state, mark);
        if let Some(there) = self.back.iter_mut().find(described) {
            there.cost = there.cost.max(state.cost);
            return Ok(());
        }
        // The more there is to compare, the fewer.
        let load: usize = self.back.iter().map(|there| there.heft()).sum();
        if load == 0 || load + state.heft() <= cap {
            pending.hold(&state)?;
            self.back.push(state);
            return Ok(());
        }
        let nearest = self.back.iter_mut().min_by_key(|there| apart(there, &state));
        if let Some(there) = nearest {
            let before = there.heap_bytes();
            **there = join(names, there, &state);
            pending.resize(before, there.heap_bytes())?;
        }
        Ok(())
    }
}
