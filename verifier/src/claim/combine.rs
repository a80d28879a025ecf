//! The space before a branch, from the spaces behind it.
//!
//! A frame is accepted if the comparison holds and it is in the space behind the jump, or if it
//! fails and it is in the space behind the fall-through. A rule that is inside a rule of the
//! *other* side too needs neither: whichever way the comparison comes out, its frames are accepted.
//! That is what keeps "this, or else that" at two rules instead of all the ways to fail the first.
//!
//! Each side's space only has to be right for frames that can come there; so a test of a byte that
//! was loaded need not ask again whether the byte exists.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Poll;

use super::rules::{RuleId, Rules};
use crate::fuel::Fuel;
use crate::refusal::Refusal;

/// Computes `(holds and taken) or (fails and other)` in steps.
#[derive(Debug)]
pub(super) struct Combine {
    sides: [Side; 2],
    side: usize,
    rule: usize,
    test: usize,
    result: Vec<RuleId>,
}

/// A branch's one way out: the frames that take it, and what is accepted behind it.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) condition: Box<[RuleId]>,
    pub(super) accepted: Arc<[RuleId]>,
}

impl Combine {
    pub(super) fn new(sides: [Side; 2]) -> Combine {
        Combine { sides, side: 0, rule: 0, test: 0, result: Vec::new() }
    }

    /// Works until the fuel is spent or the space is there.
    pub(super) fn step(
        &mut self,
        rules: &mut Rules,
        fuel: &mut Fuel,
    ) -> Poll<Result<Vec<RuleId>, Refusal>> {
        loop {
            let [first, second] = &self.sides;
            let (this, that) = match self.side {
                0 => (first, second),
                1 => (second, first),
                _ => return Poll::Ready(Ok(core::mem::take(&mut self.result))),
            };
            let Some(&id) = this.accepted.get(self.rule) else {
                (self.side, self.rule, self.test) = (self.side + 1, 0, 0);
                continue;
            };
            if fuel.is_empty() {
                return Poll::Pending;
            }
            fuel.spend(cost(self.result.len() + that.accepted.len()));
            let Some(rule) = rules.get(id).cloned() else {
                self.rule += 1;
                continue;
            };
            if self.test == 0
                && (that.accepted.contains(&id) || rules.covered(&rule, &that.accepted))
            {
                self.rule += 1;
                if let Err(refusal) = rules.add(&mut self.result, rule) {
                    return Poll::Ready(Err(refusal));
                }
                continue;
            }
            let Some(&condition) = this.condition.get(self.test) else {
                (self.rule, self.test) = (self.rule + 1, 0);
                continue;
            };
            self.test += 1;
            if let Some(both) = rules.get(condition).and_then(|condition| rule.intersect(condition))
                && let Err(refusal) = rules.add(&mut self.result, both)
            {
                return Poll::Ready(Err(refusal));
            }
        }
    }
}

/// Comparing a rule with others costs a few hundred instructions each at worst.
fn cost(others: usize) -> u32 {
    8 + 2 * u32::try_from(others).unwrap_or(u32::MAX / 4)
}
