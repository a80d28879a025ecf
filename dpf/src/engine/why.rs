//! Why a frame belongs to whom it belongs.
//!
//! The same walk as the interpreter's, told: each lane, whether the frame gets there, what it is
//! looked up by, and what is found.

use alloc::string::String;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;

use super::{Engine, Verdict};
use crate::plan::Lane;

/// The story of one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// To whom it belongs.
    pub verdict: Verdict,
    /// Every lane, in the order of the plan.
    pub looks: Vec<Look>,
}

/// What became of a frame in one lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// What the lane tests and looks up, as text.
    pub lane: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What became of a frame in one lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is too short, or a constant or range is not what it has.
    NotHere,
    /// Nobody claims its key (in hexadecimal).
    Nobody {
        /// The key.
        key: String,
    },
    /// Its key has claimants: in order, with whether each accepts it.
    Claimed {
        /// The key.
        key: String,
        /// Whom the engine asks, the deepest first. "Accepts" is by the key where that is the whole
        /// rule, else by the filter.
        claimants: Vec<(Verdict, bool)>,
    },
}

impl Engine {
    /// Why a frame belongs to whom it belongs.
    #[must_use]
    pub fn why(&self, frame: &[u8]) -> Why {
        let verdict = self.classify_interpreted(frame);
        let lanes = self.merged.plan.lanes.iter().enumerate();
        let looks = lanes
            .map(|(at, lane)| Look {
                lane: lane.to_string(),
                outcome: self.outcome(at, lane, frame),
            })
            .collect();
        Why { verdict, looks }
    }

    fn outcome(&self, at: usize, lane: &Lane, frame: &[u8]) -> Outcome {
        let looked = if super::classify::is_frame(frame) { self.look_up(at, frame) } else { None };
        let Some((key, _)) = looked else { return Outcome::NotHere };
        let hash = lane.hash(&self.merged.plan.key, &key);
        let entry = self.merged.find(at, &key, hash).ok().flatten();
        let text = key_text(lane, &key);
        let Some(entry) = entry.and_then(|entry| self.merged.entries.get(entry)) else {
            return Outcome::Nobody { key: text };
        };
        let claimants = entry.visible().filter_map(|claimant| {
            let holder = self.holders.get(claimant.holder)?;
            let accepts = claimant.exact || holder.confirms_interpreted(frame);
            Some((holder.verdict?, accepts))
        });
        Outcome::Claimed { key: text, claimants: claimants.collect() }
    }

    /// Whose entries a lane has, at most `most` of them.
    pub(super) fn holders_in(&self, number: u32, most: usize) -> Vec<Verdict> {
        let entries = self.merged.entries.iter().filter(|(_, entry)| entry.lane == number);
        let holders = entries.flat_map(|(_, entry)| entry.visible());
        let verdicts = holders.filter_map(|claimant| self.holders.get(claimant.holder)?.verdict);
        verdicts.take(most).collect()
    }
}

/// A key's bytes as the frame has them, without what is masked out.
fn key_text(lane: &Lane, key: &crate::plan::Key) -> String {
    let mut values = Vec::new();
    lane.unpack(key, &mut values);
    let keyed = values.iter().zip(&lane.roles).filter(|(_, role)| **role == crate::plan::Role::Key);
    keyed.map(|(value, _)| alloc::format!("{value:02x}")).collect()
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Look { lane, outcome } in &self.looks {
            writeln!(f, "{lane}")?;
            match outcome {
                Outcome::NotHere => writeln!(f, "    not here")?,
                Outcome::Nobody { key } => writeln!(f, "    key {key}: nobody")?,
                Outcome::Claimed { key, claimants } => {
                    writeln!(f, "    key {key}:")?;
                    for (verdict, accepts) in claimants {
                        let word = if *accepts { "accepts" } else { "does not accept" };
                        writeln!(f, "        {} {word}", name(*verdict))?;
                    }
                }
            }
        }
        writeln!(f, "so it belongs to {}", name(self.verdict))
    }
}

/// A verdict in words.
pub(super) fn name(verdict: Verdict) -> String {
    match verdict {
        Verdict::Bound(id) => alloc::format!("binding {id}"),
        Verdict::Unbound(Some(id)) => alloc::format!("no binding of grant {id}"),
        Verdict::Unbound(None) => String::from("nobody: it is no frame"),
    }
}
