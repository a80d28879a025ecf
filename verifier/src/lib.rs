//! Every proof: safety, claim, inside the grant, disjoint from all others.
//!
//! A chain of stages, each of which can only be entered with what the stage before it made:
//!
//! ```text
//! ebpf::Program --SafetyProof--> Verified --ClaimProof--> Claim --Placement--> Placed
//!                                                           |                     |
//!                                                      Derivation           Registry::own
//!                                                           v                     v
//!                                                      PlacedGrant          Owned -> BindingId
//! ```
//!
//! No later type has a public constructor, so that a skipped proof does not compile. Every stage
//! is a state machine: `step` works until its [`Fuel`] is spent or it has an answer, never
//! recurses, and never holds more memory than [`arena_bytes`] says. What cannot be proven is a
//! [`Refusal`] with a stable code, the instruction, and where there is one a witness frame.
//!
//! The crate never runs a filter to find out what it accepts; it runs the original programs only
//! to confirm a witness before it accuses two filters of overlapping.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod arena;
pub mod certificate;
mod chunked;
pub mod claim;
mod fuel;
pub mod fuzzing;
mod graph;
mod hash;
mod index;
pub mod limits;
pub mod placement;
pub mod refusal;
mod registers;
pub mod registry;
pub mod safety;

pub use arena::{arena_bytes, certificate_bytes, safety_bytes};
pub use certificate::Certificate;
pub use claim::{Claim, ClaimProof, Doubt};
pub use fuel::{Fuel, Step};
pub use hash::HashKey;
pub use index::Work;
pub use limits::Limits;
pub use placement::{Derivation, HandedOver, Handover, Placed, PlacedGrant, Placement, Transmit};
pub use refusal::{Limit, Part, Party, Refusal, RefusalCode, UndecidedReason, UnsafeReason};
pub use registry::{
    Binding, BindingId, Exchange, Grant, GrantId, Owned, Ownership, Registry, Revoked,
};
pub use safety::{SafetyProof, Verified};
