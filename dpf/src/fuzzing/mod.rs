//! Fuzz bodies: three-line targets call these; `cargo test` smoke-runs them.
//!
//! Each takes bytes, does nothing or proves a property of them, and panics where it does not hold.

mod native;

pub use native::{NativeError, native_agrees, run_native};
