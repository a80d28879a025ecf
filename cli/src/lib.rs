//! `sluice`, the host's side: builds the machine, boots it, talks to it, judges what it says.
//!
//! The command is a thin layer over this library, and the tests of the whole system use the same
//! library: what `cargo run` shows and what `cargo test` checks go through one code path.
//!
//! A machine never outlives its handle ([`machine::Machine`]); every wait has a limit; every
//! failure names what was being waited for and where the serial log is.

pub mod attacks;
pub mod build;
pub mod capture;
pub mod channel;
pub mod check;
pub mod clients;
pub mod command;
pub mod crowd;
pub mod demo;
pub mod evidence;
pub mod exec;
pub mod http;
pub mod interrupt;
pub mod lifecycle;
pub mod limits;
pub mod linux;
pub mod machine;
pub mod new;
pub mod newcomer;
pub mod objects;
pub mod oracles;
pub mod papers;
pub mod parts;
pub mod progress;
pub mod proving;
pub mod recorder;
pub mod refusal;
pub mod report;
pub mod roster;
pub mod roundtrip;
pub mod run;
pub mod soak;
pub mod soundness;
pub mod stages;
pub mod starvation;
pub mod view;
pub mod why;
pub mod wire;
