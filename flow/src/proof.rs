//! Proofs in steps.
//!
//! [`Intersection`] proves two spaces disjoint, [`Containment`] one inside the other. Both are
//! state machines: `step` works until its fuel is used up and answers `Pending`, or `Ready` with
//! the verdict, and may be dropped at any time. One unit of fuel is one pair of rules or one
//! operation on one rule. The verdict is a function of the two spaces alone, not of how the steps
//! were cut.
//!
//! The spaces may be borrowed, owned or shared (`&Space`, `Space`, `Arc<Space>`).

use alloc::vec::Vec;
use core::borrow::Borrow;
use core::task::Poll;

use crate::error::{Contradiction, FlowError};
use crate::limits::{HELD_MAX, VISITS_MAX};
use crate::rule::Rule;
use crate::space::Space;
use crate::split::Cases;
use crate::subtract::{take_test, test_count};

/// Comparisons of two rules, without making one, that cost as much as one operation.
const COMPARISONS_PER_FUEL: u64 = 8;

/// What a proof says in the end.
pub type Verdict = Result<(), Contradiction>;

/// Proves that two spaces are disjoint, or finds a frame in both.
#[derive(Clone, Debug)]
pub struct Intersection<A, B> {
    left: A,
    right: B,
    at: (usize, usize),
    visits: u32,
    cases: Option<Cases>,
}

impl<A: Borrow<Space>, B: Borrow<Space>> Intersection<A, B> {
    /// Nothing is done yet.
    pub fn new(left: A, right: B) -> Intersection<A, B> {
        Intersection { left, right, at: (0, 0), visits: 0, cases: None }
    }

    /// Works until the verdict is there or the fuel is used up.
    pub fn step(&mut self, fuel: &mut u64) -> Poll<Verdict> {
        loop {
            if let Some(cases) = &mut self.cases {
                match first_frame(cases, fuel, &mut self.visits) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(None)) => self.cases = None,
                    Poll::Ready(result) => return Poll::Ready(disproof(result)),
                }
            }
            let (left, right) = (self.left.borrow().rules(), self.right.borrow().rules());
            let Some(ours) = left.get(self.at.0) else { return Poll::Ready(Ok(())) };
            let Some(theirs) = right.get(self.at.1) else {
                self.at = (self.at.0 + 1, 0);
                continue;
            };
            if self.visits >= VISITS_MAX {
                return Poll::Ready(Err(Contradiction::Budget { limit: "VISITS_MAX" }));
            }
            if !burn(fuel) {
                return Poll::Pending;
            }
            self.visits += 1;
            self.at.1 += 1;
            self.cases = ours.intersect(theirs).map(Cases::new);
        }
    }
}

/// Proves that one space is inside another, or finds a frame that is not.
///
/// Depth first: each rule of the left space is cut by one rule of the right space after the other,
/// test by test; what fails a test goes on to the next rule, and what survives them all and is not
/// empty disproves.
#[derive(Clone, Debug)]
pub struct Containment<A, B> {
    left: A,
    right: B,
    next: usize,
    stack: Vec<Piece>,
    spill: Vec<Rule>,
    visits: u32,
    cases: Option<Cases>,
}

/// What is left of a rule after the right space's rules before `rule` and the first `test` tests of
/// that one.
#[derive(Clone, Debug)]
struct Piece {
    frames: Rule,
    rule: usize,
    test: usize,
}

impl<A: Borrow<Space>, B: Borrow<Space>> Containment<A, B> {
    /// Whether `left` is inside `right`. Nothing is done yet.
    pub fn new(left: A, right: B) -> Containment<A, B> {
        let (stack, spill) = (Vec::new(), Vec::new());
        Containment { left, right, next: 0, stack, spill, visits: 0, cases: None }
    }

    /// Works until the verdict is there or the fuel is used up.
    pub fn step(&mut self, fuel: &mut u64) -> Poll<Verdict> {
        loop {
            if let Some(cases) = &mut self.cases {
                match first_frame(cases, fuel, &mut self.visits) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(None)) => self.cases = None,
                    Poll::Ready(result) => return Poll::Ready(disproof(result)),
                }
            }
            if self.visits >= VISITS_MAX {
                return Poll::Ready(Err(Contradiction::Budget { limit: "VISITS_MAX" }));
            }
            if self.stack.is_empty() && self.next == self.left.borrow().rules().len() {
                return Poll::Ready(Ok(()));
            }
            if !burn(fuel) {
                return Poll::Pending;
            }
            self.visits += 1;
            if self.stack.is_empty() {
                self.open(fuel);
                continue;
            }
            if let Err(error) = self.cut(fuel) {
                return Poll::Ready(Err(error.into()));
            }
        }
    }

    /// Starts with the next rule of the left space, unless one rule of the right space is plainly
    /// around it, which is how it mostly ends.
    fn open(&mut self, fuel: &mut u64) {
        let around = self.right.borrow().rules();
        if let Some(rule) = self.left.borrow().rules().get(self.next) {
            *fuel = fuel.saturating_sub(around.len() as u64 / COMPARISONS_PER_FUEL);
            if !around.iter().any(|around| rule.is_plainly_inside(around)) {
                self.stack.push(Piece { frames: rule.clone(), rule: 0, test: 0 });
            }
        }
        self.next += 1;
    }

    /// Cuts the topmost piece by one test, or starts the search for a frame in it.
    fn cut(&mut self, fuel: &mut u64) -> Result<(), FlowError> {
        let Some(piece) = self.stack.pop() else { return Ok(()) };
        let Some(rule) = self.right.borrow().rules().get(piece.rule) else {
            self.cases = Some(Cases::new(piece.frames));
            return Ok(());
        };
        if piece.frames.is_plainly_inside(rule) {
            return Ok(());
        }
        if piece.test == 0 && piece.frames.intersect(rule).is_none() {
            self.stack.push(Piece { rule: piece.rule + 1, test: 0, ..piece });
            return Ok(());
        }
        if piece.test == test_count(rule) {
            return Ok(());
        }
        let inside = take_test(&piece.frames, rule, piece.test, &mut self.spill);
        *fuel = fuel.saturating_sub(self.spill.len() as u64);
        // What passes waits below what fails: the stack holds one waiting piece for each rule then.
        self.stack.extend(inside.map(|frames| Piece { frames, test: piece.test + 1, ..piece }));
        let rule = piece.rule + 1;
        let outside = self.spill.drain(..).map(|frames| Piece { frames, rule, test: 0 });
        self.stack.extend(outside);
        if self.stack.len() > HELD_MAX {
            return Err(FlowError::Budget { limit: "HELD_MAX" });
        }
        Ok(())
    }
}

/// A frame of the first case there is. The values tried count as visits.
fn first_frame(
    cases: &mut Cases,
    fuel: &mut u64,
    visits: &mut u32,
) -> Poll<Result<Option<Vec<u8>>, FlowError>> {
    let before = cases.visited();
    let case = cases.step(fuel);
    *visits = visits.saturating_add(cases.visited() - before);
    case.map_ok(|case| case.map(|rule| rule.smallest()))
}

fn disproof(result: Result<Option<Vec<u8>>, FlowError>) -> Verdict {
    match result {
        Ok(None) => Ok(()),
        Ok(Some(frame)) => Err(Contradiction::Witness(frame)),
        Err(error) => Err(error.into()),
    }
}

fn burn(fuel: &mut u64) -> bool {
    let burnt = *fuel > 0;
    *fuel = fuel.saturating_sub(1);
    burnt
}
