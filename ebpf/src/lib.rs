//! The program language: RFC 9669 instructions, decoder, encoder, text, reference interpreter.
//!
//! A [`Program`] is a list of instructions that have passed every structural check; there is no
//! other way to get one. What it *means* is what the reference interpreter ([`interp`]) does with
//! it, every access checked; verifier and compiler are held against that. Nothing here judges
//! whether a program is safe or wanted: that is the verifier's.
//!
//! Instructions are counted in slots of 64 bits everywhere, so that an index is the same in bytes,
//! in text, in refusals and in machine code.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod asm;
pub mod cases;
mod check;
pub mod context;
pub mod cost;
mod decode;
pub mod disasm;
mod encode;
mod error;
pub mod fuzzing;
pub mod helper;
pub mod insn;
pub mod interp;
pub mod limits;
mod linux;
pub mod map;
mod names;
#[cfg(feature = "object")]
pub mod object;
mod opcode;
pub mod packet;
mod passed;
mod program;

pub use decode::{Decoder, decode};
pub use encode::encode;
pub use error::{DecodeError, Field};
pub use insn::Width;
pub use insn::{AluOp, AtomicOp, ByteOrder, CallTarget, Cond, Imm64, Insn, Operand, Reg, Size};
pub use map::{MapError, MapKind, MapName, MapSpec};
pub use packet::PacketBuffer;
pub use passed::{Passed, Passing, passed};
pub use program::{Kind, Program};
