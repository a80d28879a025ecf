//! The engine: merges proven filters, dispatches, compiles to x86-64, checks what it emitted.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod check;
pub mod compile;
mod context;
mod dispatch;
mod engine;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod limits;
mod load;
mod plan;
pub mod x86;

pub use engine::{Engine, Prepared, PreparedGrant, Stats, Verdict};
pub use error::EngineError;
pub use load::{NativeProgram, load};
pub use plan::HashKey;
