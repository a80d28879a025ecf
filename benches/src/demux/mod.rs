//! Demultiplexing: the engine and its peers on one workload, in one run.
//!
//! `W(N)`: N filters, 64-byte frames drawn uniformly among them in random order, one in ten to
//! nobody. `udp` tells them apart by destination port, `tcp5` by the whole five-tuple, `mixed` has
//! eight kinds of filters, `nested` has one listener and N connections carved out of it.
//!
//! Two figures: throughput (frames independent of each other) and latency (which frame is next
//! depends on the verdict before). Contestants take turns; lowest is compared with lowest, middle
//! with middle.

mod foreign;
mod hand;
mod kernel;
mod measure;
mod report;
mod workload;

pub use foreign::Foreign;
pub use hand::{Bucket, Direct, Foldhash, Fx, Nested};
pub use kernel::{Kernel, Row};
pub use measure::{Contestant, Figures, cache_miss};
pub use report::Report;
pub use workload::{Frame, Variant, Workload};
