//! Fuzz bodies: three-line targets call these; `cargo test` smoke-runs them.
//!
//! Each takes bytes, does nothing or proves a property of them, and panics where it does not hold.

mod engine;
mod mutate;
mod native;

pub use engine::engine_is_registry;
#[cfg(test)]
pub(crate) use mutate::mutate;
pub use mutate::{Mutations, mutations, mutations_of};
pub use native::{NativeError, native_is_interpreter, run_native, verified};
