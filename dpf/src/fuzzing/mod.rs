//! Fuzz bodies: three-line targets call these; `cargo test` smoke-runs them.
//!
//! Each takes bytes, does nothing or proves a property of them, and panics where it does not hold.

mod mutate;
mod native;

pub use mutate::{Mutations, mutations};
pub use native::{NativeError, native_is_interpreter, run_native, verified};
