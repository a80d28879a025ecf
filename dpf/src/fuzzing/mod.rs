//! Fuzz bodies: three-line targets call these; `cargo test` smoke-runs them.
//!
//! Each takes bytes, does nothing or proves a property of them, and panics where it does not hold.
//! Those that run code take the pages to run it in.

mod bare;
mod engine;
mod idioms;
mod merged;
mod mutate;
mod native;
mod sound;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod unproven;

pub use bare::Bare;
pub use engine::engine_is_registry;
pub use idioms::idioms_from_bytes;
pub use merged::{classifier_mutations, merged_is_one_by_one};
#[cfg(test)]
pub(crate) use mutate::mutate;
pub use mutate::{Mutations, mutations};
pub use native::{native_is_interpreter, verified};
pub use sound::{Trial, Violation, accesses, deep, is_deep_access, sound, trial};
