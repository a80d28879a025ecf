//! What a running program touches: executable pages, the call into generated code, helper bodies.
//!
//! The idea: everything that a *running* program needs lives here, so that the engine that makes
//! code (`dpf`) and the kernel that owns the pages (`machine`) need not know each other.
//!
//! - [`pages`]: reserve, write, seal, call, free. Never writable and executable at once.
//! - [`native`]: the only unsafe code of the pure crates. Safe calls into code that was checked.
//! - [`map`]: the maps of programs, one layout for interpreter, generated code and system calls.
//! - [`helpers`]: helper bodies, one for the interpreter and generated code; what they do is in
//!   [`packet`], [`checksum`], [`print`], [`clock`], [`random`], [`effects`].
//!
//! The rule for callers: code becomes callable only as `bytes -> Checked -> Code`. The middle step,
//! [`native::Checked::vouch`], is the trust line and has one caller: the checker in `dpf`.
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod checksum;
pub mod clock;
pub mod effects;
pub mod helpers;
pub mod map;
// The one exception to the workspace's `unsafe_code = "deny"`: design.md, "Style".
#[allow(unsafe_code)]
pub mod native;
pub mod packet;
pub mod print;
pub mod random;

pub use native::pages;
pub use packet::PacketBuffer;
