//! The case split that makes rules with header bases exact.
//!
//! A guard has few values under its mask (16 for an IPv4 header length). [`Cases`] walks a rule's
//! guards depth first, fixes one value after the other, and hands out the cases in which all
//! addresses are constants. There, different cells are different bytes, so a case that exists has a
//! frame. The stack is as deep as the rule has guards; the work is bounded by `CASES_MAX` in total
//! and by the caller's fuel per step.

use alloc::vec::Vec;
use core::task::Poll;

use crate::byteset::ByteSet;
use crate::cell::{Cell, HeaderBase};
use crate::error::FlowError;
use crate::limits::CASES_MAX;
use crate::rule::Rule;

/// The cases of one rule, one after the other; see the module.
#[derive(Clone, Debug)]
pub struct Cases {
    start: Option<Rule>,
    stack: Vec<Split>,
    visited: u32,
}

/// A rule, one of its guards, and the next value to try.
#[derive(Clone, Debug)]
struct Split {
    rule: Rule,
    at: u16,
    mask: u8,
    next: Option<u8>,
}

impl Cases {
    /// Every case of `rule`.
    #[must_use]
    pub fn new(rule: Rule) -> Cases {
        Cases { start: Some(rule), stack: Vec::new(), visited: 0 }
    }

    /// The next case, `None` after the last. One unit of fuel is one value of one guard; without
    /// fuel the answer is `Pending` and nothing is lost.
    pub fn step(&mut self, fuel: &mut u64) -> Poll<Result<Option<Rule>, FlowError>> {
        if let Some(rule) = self.start.take()
            && let Some(case) = self.open(rule)
        {
            return Poll::Ready(Ok(Some(case)));
        }
        while let Some(top) = self.stack.last_mut() {
            let Some(value) = top.next else {
                self.stack.pop();
                continue;
            };
            if self.visited == CASES_MAX {
                return Poll::Ready(Err(FlowError::Budget { limit: "CASES_MAX" }));
            }
            if *fuel == 0 {
                return Poll::Pending;
            }
            *fuel -= 1;
            self.visited += 1;
            top.next = (value != top.mask).then(|| value.wrapping_sub(top.mask) & top.mask);
            if !top.rule.admits_guard(top.at, top.mask, value) {
                continue;
            }
            let fixed = top.rule.with(Cell::frame(top.at), ByteSet::masked(value, top.mask));
            if let Some(case) = fixed.and_then(|rule| self.open(rule)) {
                return Poll::Ready(Ok(Some(case)));
            }
        }
        Poll::Ready(Ok(None))
    }

    /// How many values of guards have been tried.
    pub(crate) fn visited(&self) -> u32 {
        self.visited
    }

    /// The next case with a fuel of its own, for callers that need no steps.
    pub(crate) fn run(&mut self, mut fuel: u64) -> Result<Option<Rule>, FlowError> {
        match self.step(&mut fuel) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(FlowError::Budget { limit: "CASES_MAX" }),
        }
    }

    /// Gives a rule without header bases back; puts any other onto the stack, to be split on the
    /// guard with the fewest values.
    fn open(&mut self, rule: Rule) -> Option<Rule> {
        let values = |&(at, mask): &(u16, u8)| {
            rule.lengths(HeaderBase { at, mask, shift: 0, add: 0 }).count()
        };
        let Some((at, mask)) = rule.guards().min_by_key(values) else { return Some(rule) };
        self.stack.push(Split { rule, at, mask, next: Some(0) });
        None
    }
}
