//! What one would use otherwise.
//!
//! | peer | is |
//! |---|---|
//! | [`ByHand`] | parsing by hand for exactly this one shape, then a table: `hashbrown`'s, or an array with a place for every port |
//! | [`Rbpf`] | the `rbpf` crate: each program by itself, interpreted or by its compiler |
//!
//! A peer may be made faster here, never slower.

mod by_hand;
mod rbpf;

pub use by_hand::ByHand;
pub use rbpf::Rbpf;
