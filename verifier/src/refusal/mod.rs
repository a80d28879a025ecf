//! Why a proof was refused: one root cause, where, and what to change.
//!
//! A [`Refusal`] is a record, not a text: its code and reasons are stable, and whoever shows it to
//! a person may render it differently. [`core::fmt::Display`] gives the short form, one or two
//! lines that can be acted on.

mod scene;
mod undecided;
mod unsafety;

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

pub use scene::{Fact, Known, Numbers, Scene};
pub use undecided::UndecidedReason;
pub use unsafety::UnsafeReason;

use crate::registry::{BindingId, GrantId};

/// A proof that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of refusal.
    pub code: RefusalCode,
    /// Which of the request's spaces is meant.
    pub part: Part,
    /// The instruction (slot) at which the proof failed.
    pub pc: Option<u32>,
    /// The limit that was met.
    pub limit: Option<Limit>,
    /// A frame that shows why.
    pub witness: Option<Vec<u8>>,
    /// Whom the claim collides with.
    pub other: Option<Party>,
    /// More for a person, where the code does not say it all.
    pub detail: Option<Cow<'static, str>>,
    /// What was known at the instruction.
    pub scene: Option<Box<Scene>>,
}

/// The kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalCode {
    /// The program may do what it must not.
    Unsafe(UnsafeReason),
    /// The verifier cannot tell which frames the program accepts.
    Undecided(UndecidedReason),
    /// The program is of a kind that this stage does not take: only filters have claims.
    NotAFilter,
    /// The claim leaves its grant; the witness is a frame that shows it.
    OutsideGrant,
    /// The claim meets another's; the witness is a frame that both accept.
    Overlap,
    /// A named limit was met.
    Limit,
    /// The grant went away, or too much came in, while the proof ran.
    Stale,
    /// `step` was called on a proof that had already answered. The caller's mistake.
    Finished,
}

/// Which of a request's spaces a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Part {
    /// The program itself, or the space it receives.
    #[default]
    Receive,
    /// The transmit space of a derivation.
    Transmit,
}

/// A limit by name (a constant of some crate's `limits`) and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    /// The constant's name.
    pub name: &'static str,
    /// Its value.
    pub value: u64,
}

/// Somebody else's right that a claim met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// A binding.
    Binding(BindingId),
    /// A derived grant.
    Grant(GrantId),
}

impl Refusal {
    /// A refusal that has nothing but its code.
    pub(crate) const fn new(code: RefusalCode) -> Refusal {
        Refusal {
            code,
            part: Part::Receive,
            pc: None,
            limit: None,
            witness: None,
            other: None,
            detail: None,
            scene: None,
        }
    }

    /// The instruction at `pc` may do what it must not.
    pub(crate) fn unsafety(pc: u32, reason: UnsafeReason) -> Refusal {
        Refusal { pc: Some(pc), ..Refusal::new(RefusalCode::Unsafe(reason)) }
    }

    /// It cannot be told what the instruction at `pc` decides.
    pub(crate) fn undecided(pc: u32, reason: UndecidedReason) -> Refusal {
        Refusal { pc: Some(pc), ..Refusal::new(RefusalCode::Undecided(reason)) }
    }

    /// A limit was met.
    pub(crate) fn limit(name: &'static str, value: u64) -> Refusal {
        Refusal { limit: Some(Limit { name, value }), ..Refusal::new(RefusalCode::Limit) }
    }

    /// The same refusal at an instruction.
    pub(crate) fn at(self, pc: u32) -> Refusal {
        Refusal { pc: Some(pc), ..self }
    }

    /// The same refusal with a witness.
    pub(crate) fn with_witness(self, frame: Vec<u8>) -> Refusal {
        Refusal { witness: Some(frame), ..self }
    }

    /// The same refusal with what was known at its instruction.
    #[must_use]
    pub fn with_scene(self, scene: Scene) -> Refusal {
        Refusal { scene: Some(Box::new(scene)), ..self }
    }

    /// What was known of the registers that the failing instruction involves; empty where the
    /// proof says nothing.
    #[must_use]
    pub fn facts(&self) -> &[Fact] {
        self.scene.as_ref().map_or(&[], |scene| &scene.facts)
    }

    /// Slots from the entry to the instruction, where the proof knows them.
    #[must_use]
    pub fn path(&self) -> &[u32] {
        self.scene.as_ref().map_or(&[], |scene| &scene.path)
    }

    /// The same refusal about another part of the request.
    pub(crate) fn about(self, part: Part) -> Refusal {
        Refusal { part, ..self }
    }

    /// The same refusal, naming whom it collides with.
    pub(crate) fn against(self, other: Party) -> Refusal {
        Refusal { other: Some(other), ..self }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(pc) = self.pc {
            write!(f, "instruction {pc}: ")?;
        }
        match self.code {
            RefusalCode::Unsafe(reason) => write!(f, "{reason}")?,
            RefusalCode::Undecided(reason) => write!(f, "{reason}")?,
            RefusalCode::NotAFilter => f.write_str("only a filter has a claim")?,
            RefusalCode::OutsideGrant => self.outside(f)?,
            RefusalCode::Overlap => self.overlap(f)?,
            RefusalCode::Limit => f.write_str("a limit was met")?,
            RefusalCode::Stale => f.write_str("the grant changed while the proof ran")?,
            RefusalCode::Finished => f.write_str("this proof has already answered")?,
        }
        if let Some(Limit { name, value }) = self.limit {
            write!(f, " ({name} = {value})")?;
        }
        match &self.detail {
            Some(detail) => write!(f, "\n{detail}"),
            None => Ok(()),
        }
    }
}

impl Refusal {
    fn outside(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            Part::Receive => f.write_str("the program accepts a frame outside its grant"),
            Part::Transmit => f.write_str("the transmit space holds a frame outside its grant"),
        }
    }

    fn overlap(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.other {
            Some(Party::Binding(id)) => write!(f, "binding {id} accepts the same frame"),
            Some(Party::Grant(id)) => write!(f, "grant {id} holds the same frame"),
            None => f.write_str("another claim holds the same frame"),
        }
    }
}

impl core::error::Error for Refusal {}

const _: () = assert!(size_of::<Refusal>() <= 128);
