//! What one would use otherwise.
//!
//! | peer | is |
//! |---|---|
//! | [`ByHand`] | parsing by hand for this one shape, then `hashbrown`, or an array by port |
//! | [`Rbpf`] | the `rbpf` crate: each program by itself, interpreted or by its compiler |
//!
//! A peer may be made faster here, never slower.

mod by_hand;
mod rbpf;

pub use by_hand::ByHand;
pub use rbpf::Rbpf;
