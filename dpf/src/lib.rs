//! The engine: merges proven filters, dispatches, compiles to x86-64, checks what it emitted.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod check;
pub mod compile;
mod context;
mod engine;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod limits;
mod load;
pub mod x86;

pub use engine::{Engine, HashKey, Prepared, PreparedGrant, Stats, Verdict};
pub use error::EngineError;
pub use load::{NativeProgram, load};
