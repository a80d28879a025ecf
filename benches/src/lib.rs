//! What the benches share: worlds of filters, frames to classify, and the peers.
//!
//! One bench for each claim that `README.md` may make; each runs Sluice and what one would use
//! otherwise in the same process, on the same data, and first insists that all of them give the
//! same answers. Times are processor times ([`clock`]); on a shared machine only the ratios within
//! one run mean something.
//!
//! | bench | asks |
//! |---|---|
//! | `classify` | what does it cost to find a frame's owner among N filters |
//! | `demux` | the same beside the peers, on four workloads, up to a million filters |
//! | `campaign` | how often was it tried that the checker, the merging, or native code be wrong |
//! | `ashs` | how good is the code of handlers, beside the kernel's and `rbpf`'s compilers |
//! | `admit` | what does it cost to prove, place and publish the N-th filter, or to refuse it |
//! | `verify` | what does it cost to prove a program safe |
//! | `native` | what does a handler cost in native code, interpreted, and elsewhere |
//! | `ownership` | what does it cost to prove the millionth filter apart from all others |
//!
//! `cargo bench -p sluice-benches` runs them all; results are in `docs/performance.md`.

pub mod alike;
pub mod clock;
pub mod demux;
pub mod frames;
pub mod ovs;
pub mod peers;
pub mod tenants;
pub mod world;
