//! The space before a branch, from the spaces behind it.
//!
//! A frame is accepted if the comparison holds and it is in the space behind the jump, or if it
//! fails and it is in the space behind the fall-through. A rule that is inside a rule of the
//! *other* side too needs neither: whichever way the comparison comes out, its frames are accepted.
//! That is what keeps "this, or else that" at two rules instead of all the ways to fail the first.
//!
//! Each side's space only has to be right for frames that can come there; so a test of a byte that
//! was loaded need not ask again whether the byte exists.
//!
//! A work item compares one rule with at most [`COMPARED_AT_ONCE`] others, so that spaces of any
//! size are put together in short steps.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Poll;

use super::rules::{Adding, COMPARED_AT_ONCE, RuleId, Rules};
use crate::fuel::Fuel;
use crate::limits::ITEM_UNITS;
use crate::refusal::Refusal;

/// Computes `(holds and taken) or (fails and other)` in steps.
#[derive(Debug)]
pub(super) struct Combine {
    sides: [Side; 2],
    side: usize,
    rule: usize,
    stage: Stage,
    /// On its way into the result.
    adding: Option<Adding>,
    result: Vec<RuleId>,
}

/// A branch's one way out: the frames that take it, and what is accepted behind it.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) condition: Box<[RuleId]>,
    pub(super) accepted: Arc<[RuleId]>,
}

/// What is asked next of a rule.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Whether it is inside the other side's rule at this index, or one behind it.
    Look(usize),
    /// What of it is in the condition's rule at this index.
    Test(usize),
}

/// Fuel for a work item: some hundred instructions for each comparison, or one intersection.
const UNITS: u32 = 40;

const _: () = assert!(UNITS <= ITEM_UNITS);

impl Combine {
    pub(super) fn new(sides: [Side; 2]) -> Combine {
        let (stage, result) = (Stage::Look(0), Vec::new());
        Combine { sides, side: 0, rule: 0, stage, adding: None, result }
    }

    /// Works until the fuel is spent or the space is there.
    pub(super) fn step(
        &mut self,
        rules: &mut Rules,
        fuel: &mut Fuel,
    ) -> Poll<Result<Vec<RuleId>, Refusal>> {
        loop {
            if self.is_done() {
                return Poll::Ready(Ok(core::mem::take(&mut self.result)));
            }
            if fuel.is_empty() {
                return Poll::Pending;
            }
            fuel.spend(UNITS);
            if let Err(refusal) = self.item(rules) {
                return Poll::Ready(Err(refusal));
            }
        }
    }

    /// Goes on to the next side where one is at its end; whether both are.
    fn is_done(&mut self) -> bool {
        while let Some(side) = self.sides.get(self.side) {
            if self.rule < side.accepted.len() {
                return false;
            }
            (self.side, self.rule) = (self.side + 1, 0);
        }
        self.adding.is_none()
    }

    /// One work item.
    fn item(&mut self, rules: &mut Rules) -> Result<(), Refusal> {
        if let Some(adding) = self.adding.take() {
            self.adding = rules.add_some(&mut self.result, adding)?;
            return Ok(());
        }
        let [first, second] = &self.sides;
        let (this, that) = if self.side == 0 { (first, second) } else { (second, first) };
        let Some(&id) = this.accepted.get(self.rule) else { return Ok(()) };
        let next = match (self.stage, rules.get(id)) {
            (Stage::Look(from), Some(rule)) => {
                let rest = that.accepted.get(from..).unwrap_or(&[]);
                let some = rest.get(..COMPARED_AT_ONCE).unwrap_or(rest);
                if some.contains(&id) || rules.covered(rule, some) {
                    self.adding = Some(Adding::new(rule.clone()));
                    None
                } else if some.len() < rest.len() {
                    Some(Stage::Look(from + some.len()))
                } else {
                    Some(Stage::Test(0))
                }
            }
            (Stage::Test(test), Some(rule)) => this.condition.get(test).map(|&condition| {
                let both = rules.get(condition).and_then(|condition| rule.intersect(condition));
                self.adding = both.map(Adding::new);
                Stage::Test(test + 1)
            }),
            (_, None) => None,
        };
        self.stage = next.unwrap_or(Stage::Look(0));
        self.rule += usize::from(next.is_none());
        Ok(())
    }
}
