//! Flow-space algebra: fields, value sets, rules, spaces, witnesses, mirrors, expressions.
//!
//! A *space* is a set of Ethernet frames of 14 to 1,522 bytes. It is a union of rules; a rule is a
//! conjunction of tests, each on one byte. That form is exact whatever the widths, the alignment
//! and the overlap of the loads were that the tests came from, so "are these filters disjoint" and
//! "is this filter inside that grant" have an answer with a proof, or with a frame that disproves.
//!
//! The caller's rules: spaces from outside pass [`Space::check`] once; whatever may take long has a
//! resumable form ([`Intersection`], [`Containment`], [`Cases`]); an answer that names a limit
//! claims nothing.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod byteset;
mod cell;
pub mod classic;
mod error;
pub mod expr;
mod field;
pub mod fuzzing;
pub mod headers;
mod length;
pub mod limits;
pub mod lower;
pub mod mirror;
mod proof;
mod rule;
mod simplify;
mod space;
mod split;
mod subtract;
pub mod witness;

pub use byteset::ByteSet;
pub use cell::{Base, Cell, HeaderBase};
pub use error::{Contradiction, FlowError};
pub use field::Field;
pub use length::LengthRange;
pub use proof::{Containment, Intersection, Verdict};
pub use rule::Rule;
pub use space::Space;
pub use split::Cases;
