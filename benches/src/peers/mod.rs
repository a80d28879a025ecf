//! What one would use otherwise.
//!
//! | peer | is |
//! |---|---|
//! | [`ByHand`] | parsing by hand for this one shape, then `hashbrown`, or an array by port |
//! | [`linux::Linux`] | the host's own kernel, through `bpf(2)` as root |
//! | [`Rbpf`] | the `rbpf` crate: each program by itself, interpreted or by its compiler |
//! | [`ubpf::Ubpf`] | uBPF, each program by itself, by its compiler, in a process of its own |
//!
//! A peer may be made faster here, never slower.

mod by_hand;
#[allow(unsafe_code)]
pub mod linux;
mod rbpf;
pub mod ubpf;

pub use by_hand::ByHand;
pub use rbpf::Rbpf;
