//! Why a frame belongs to whom it belongs to.
//!
//! The walk that [`Registry::owner_of`] makes, with what was asked on the way: the grants that hold
//! the frame from the root down, the rule by which each does, and every test of that rule with the
//! byte it looked at. Where nobody owns the frame, the binding that came closest, and the tests
//! that it failed. For people: it asks the original programs one after the other.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use flow::{ByteSet, Cell, LengthRange, Rule, Space};

use super::{GrantId, Ownership, Registry};
use crate::claim::Claim;
use crate::refusal::{Party, Refusal, RefusalCode};

/// Whose a frame is, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// Whose.
    pub ownership: Ownership,
    /// The derived grants that hold the frame, from the one under the root down to the deepest.
    pub grants: Vec<Asked>,
    /// The owner; where there is none, the binding of the deepest grant that came closest.
    pub binding: Option<Asked>,
}

/// What a claim says of the frame: its rule that passes, or the one with most tests passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Whose claim.
    pub party: Party,
    /// What the program itself says.
    pub accepted: bool,
    /// The rule's number in the claim's space.
    pub rule: usize,
    /// The rule, as an expression.
    pub expression: String,
    /// The lengths that the rule allows, and whether the frame's is one.
    pub length: (LengthRange, bool),
    /// The rule's tests, in order of cells.
    pub tests: Vec<Tested>,
}

/// One byte, asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tested {
    /// Which byte.
    pub cell: Cell,
    /// What it may be.
    pub allowed: ByteSet,
    /// Where it lies in the frame and what is there; `None` if the frame does not have it.
    pub found: Option<(usize, u8)>,
    /// Whether it is as it may be.
    pub passed: bool,
}

impl Registry {
    /// Whose a frame is, with the grants, rules and tests that made it so.
    #[must_use]
    pub fn why(&self, frame: &[u8]) -> Why {
        let ownership = self.owner_of(frame);
        let deepest = match ownership {
            Ownership::Bound(id) => self.binding(id).map_or(GrantId::ROOT, |it| it.grant()),
            Ownership::Unbound(grant) => grant,
        };
        let mut grants = Vec::new();
        let mut next = Some(deepest);
        while let Some((id, grant)) = next.and_then(|id| Some((id, self.grant(id)?))) {
            grants.extend(grant.claim().and_then(|it| asked(Party::Grant(id), it, frame)));
            next = grant.parent();
        }
        grants.reverse();
        let binding = match ownership {
            Ownership::Bound(id) => {
                self.binding(id).and_then(|it| asked(Party::Binding(id), it.claim(), frame))
            }
            Ownership::Unbound(grant) => self
                .bindings_under(grant)
                .filter_map(|id| asked(Party::Binding(id), self.binding(id)?.claim(), frame))
                // The oldest of those that are equally close.
                .min_by_key(Asked::failures),
        };
        Why { ownership, grants, binding }
    }
}

/// A refusal for people: both claims in words, and the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accusation {
    /// The refused claim, as an expression.
    pub ours: String,
    /// The claim that it meets, or the space of the grant that it leaves; `None` if the refusal
    /// names nobody who is still there.
    pub theirs: Option<String>,
    /// The witness, decoded, and what both original programs say of it: ours, then theirs.
    pub frame: Option<(String, bool, Option<bool>)>,
}

impl Registry {
    /// What a refusal of `claim` under `grant` says, in words. Only for whoever may see the other
    /// party's claim: the holder of a grant that covers it.
    #[must_use]
    pub fn accusation(&self, grant: GrantId, claim: &Claim, refusal: &Refusal) -> Accusation {
        let theirs = match (refusal.other, refusal.code) {
            (Some(Party::Binding(id)), _) => self.binding(id).map(|it| it.claim()),
            (Some(Party::Grant(id)), _) => self.grant(id).and_then(|it| it.claim()),
            (None, RefusalCode::OutsideGrant) => self.grant(grant).and_then(|it| it.claim()),
            (None, _) => None,
        };
        let frame = refusal.witness.as_ref().map(|frame| {
            let other = theirs.map(|theirs| theirs.program_accepts(frame));
            (flow::witness::render(frame), claim.program_accepts(frame), other)
        });
        let describe = |claim: &Claim| flow::expr::describe(claim.space());
        Accusation { ours: describe(claim), theirs: theirs.map(describe), frame }
    }
}

impl fmt::Display for Accusation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "claimed: {}", self.ours)?;
        if let Some(theirs) = &self.theirs {
            writeln!(f, "held:    {theirs}")?;
        }
        match &self.frame {
            Some((frame, ours, theirs)) => {
                let says = |accepts: bool| if accepts { "accepts" } else { "rejects" };
                write!(f, "frame:   {frame}; this program {} it", says(*ours))?;
                match theirs {
                    Some(theirs) => write!(f, ", the other {} it", says(*theirs)),
                    None => Ok(()),
                }
            }
            None => f.write_str("no frame"),
        }
    }
}

/// The best rule of a claim; `None` if it has none.
fn asked(party: Party, claim: &Claim, frame: &[u8]) -> Option<Asked> {
    let judged = |(number, rule): (usize, &Rule)| {
        let tests: Vec<Tested> = rule.cells().map(|test| tested(test, frame)).collect();
        Asked {
            party,
            accepted: false,
            rule: number,
            expression: String::new(),
            length: (rule.length(), rule.length().contains(frame.len())),
            tests,
        }
    };
    let best = claim.space().rules().iter().enumerate().map(judged).min_by_key(Asked::failures)?;
    let rule = claim.space().rules().get(best.rule)?;
    Some(Asked {
        accepted: claim.program_accepts(frame),
        expression: flow::expr::describe(&Space::from(rule.clone())),
        ..best
    })
}

fn tested((cell, allowed): (Cell, ByteSet), frame: &[u8]) -> Tested {
    let found = cell.address(frame).and_then(|at| Some((at, *frame.get(at)?)));
    let passed = found.is_some_and(|(_, value)| allowed.contains(value));
    Tested { cell, allowed, found, passed }
}

impl Asked {
    /// How many of its tests the frame fails, the length's among them.
    #[must_use]
    pub fn failures(&self) -> usize {
        usize::from(!self.length.1) + self.tests.iter().filter(|test| !test.passed).count()
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ownership {
            Ownership::Bound(id) => writeln!(f, "owner: binding {id}")?,
            Ownership::Unbound(id) => writeln!(f, "unbound under grant {id}")?,
        }
        for grant in &self.grants {
            writeln!(f, "{grant}")?;
        }
        match (&self.binding, self.ownership) {
            (Some(binding), Ownership::Bound(_)) => write!(f, "{binding}"),
            (Some(binding), Ownership::Unbound(_)) => write!(f, "closest: {binding}"),
            (None, _) => f.write_str("no binding there"),
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.party {
            Party::Binding(id) => write!(f, "binding {id}")?,
            Party::Grant(id) => write!(f, "grant {id}")?,
        }
        let passed = self.tests.len() + 1 - self.failures();
        write!(f, ", rule {} ({}): {passed} tests passed", self.rule, self.expression)?;
        if !self.length.1 {
            let LengthRange { min, max } = self.length.0;
            write!(f, "; the length is not {min} to {max}")?;
        }
        for test in self.tests.iter().filter(|test| !test.passed) {
            match test.found {
                Some((at, value)) => {
                    write!(f, "; byte {at} is {value:02x}, not in {:?}", test.allowed)?;
                }
                None => f.write_str("; the frame ends before a byte that is tested")?,
            }
        }
        match (self.failures() == 0, self.accepted) {
            (true, false) => f.write_str("; the program itself says no"),
            _ => Ok(()),
        }
    }
}
