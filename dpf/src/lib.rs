//! The engine: merges proven filters, dispatches, compiles to x86-64, checks what it emitted.
//!
//! Two products. [`load`] makes native code of one verified program. [`Engine`] merges the claims
//! of all bindings and grants into one classifier that says whose a frame is, at a cost that
//! depends on the *shapes* of the claims and not on how many there are.
//!
//! A program:   `Verified` -> [`compile`] -> [`check`] -> sealed pages -> [`NativeProgram`]
//! A binding:   `Owned` -> rules split into shape and values -> tables (and, for a new lane,
//!              dispatch code, checked and sealed) -> [`Prepared`] -> published
//! A frame:     [`Engine::classify`] -> generated code -> tables -> [`Verdict`]
//!
//! | module | is |
//! |---|---|
//! | [`x86`] | instruction forms and labels; knows nothing above |
//! | [`compile`] | eBPF to x86-64, one machine instruction for most |
//! | `plan` | shapes, lanes, graph, the keyed hash: what code, checker and interpreter agree on |
//! | `dispatch` | code for the merged classifier |
//! | [`check`] | decodes what was emitted and holds it against the program or the plan |
//! | [`dilp`] | passes over data, fused into one loop |
//! | `engine` | entries, tables, ranks, quotas |
//!
//! Nothing is callable that [`check`] has not understood to the last byte; it shares no code with
//! what emits. What the engine compiles was proven safe by `verifier`; it trusts that and adds no
//! run-time check.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod check;
pub mod compile;
mod context;
pub mod dilp;
mod dispatch;
mod engine;
mod error;
pub mod fuzzing;
pub mod limits;
mod load;
mod plan;
pub mod x86;

pub use engine::{
    Engine, Look, Outcome, Prepared, PreparedGrant, Reader, SharedError, Stats, Verdict, Why,
    Writer, keeps_program,
};
pub use error::EngineError;
pub use load::{LoadStage, Loading, NativeProgram, load, load_with};
pub use plan::HashKey;
