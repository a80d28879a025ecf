//! Communication between environments, as library code over shared pages, yields by name, and
//! protected control transfer.
//!
//! None of it is known to the kernel. A program that wants other semantics writes other functions.

mod lrpc;
mod pipe;
mod shared;

pub use lrpc::{Procedures, call, dispatch};
pub use pipe::{Pipe, PipeEnd};
pub use shared::Counter;
