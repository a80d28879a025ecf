//! The unsafe shell: from checked bytes to a safe call.
//!
//! The idea: generated code is data until somebody vouches for it. `dpf`'s checker decodes what was
//! emitted and, if it implements a verified program and nothing else, says so with
//! [`Checked::vouch`]. [`Code::seal`] then moves exactly those bytes into executable pages. A
//! `Code` is therefore always: checked, sealed, and mapped until it is released.
//!
//! What is trusted, and by whom:
//! - `Checked::vouch` is a safe function whose *promise* is checked by nobody but its caller. It
//!   has one caller, `dpf::check`; the repository's tidy test looks for others.
//! - An implementation of [`pages::CodePages`] promises that sealed pages hold what was written and
//!   stay mapped until freed (`unsafe trait`).
//! - From those two promises each `run` below argues its own safety.
//!
//! One file per convention: [`program`] (filters, handlers, memory programs), [`dispatch`] (the
//! engine's merged classifier and its tables) and [`pipe`] (passes over data, fused).

pub mod code;
pub mod dispatch;
pub(crate) mod effects;
#[cfg(feature = "std")]
pub mod host;
pub(crate) mod maps;
pub mod pages;
pub mod pipe;
pub mod processor;
pub mod program;
#[cfg(test)]
#[cfg(feature = "std")]
mod tests;
pub mod zeroed;

pub use code::{Checked, Code, Convention};
pub use dispatch::{Dispatch, Dispatcher, Mismatch, Table};
pub use effects::WITH_RUN;
#[cfg(feature = "std")]
pub use host::HostPages;
pub use pipe::Pipe;
pub use processor::bmi2;
pub use program::{Filter, Memory, NativeContext, Packet};
pub use zeroed::{Zeroed, Zeroing};
