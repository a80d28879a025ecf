//! Bodies of the fuzz targets, and the program generator that other crates' targets use.
//!
//! Each body is a plain function over arbitrary bytes that panics when a property does not hold.
//! The targets in `fuzz/` call them; a test runs each for a second.

mod generate;
#[cfg(feature = "object")]
mod object;
mod packet;
mod passing;
mod rich;
mod source;
mod statement;

use alloc::vec::Vec;

#[cfg(feature = "object")]
pub use object::object_any;

use crate::decode::decode;
use crate::disasm::disassemble;
use crate::encode::encode;
use crate::interp::{self, NoHelpers};
use crate::limits::{HOST_SLOTS, PACKET_MAX};
use crate::program::{Kind, Program};
use crate::{asm, cases};

/// Steps that a fuzzed program may take.
const BUDGET: u64 = 10_000;

/// Turns arbitrary bytes into a structurally valid, loop-free program that mostly stays within
/// what it has checked. Every byte string of at least eight bytes gives one.
#[must_use]
pub fn program_from_bytes(kind: Kind, bytes: &[u8]) -> Option<Program> {
    if bytes.len() < 8 {
        return None;
    }
    Program::from_insns(kind, generate::generate(kind, bytes, false)).ok()
}

/// Like [`program_from_bytes`], with bounded loops, maps, all helpers, local functions, pointers
/// kept on the stack and variable offsets. Filters have none of these and are as there.
#[must_use]
pub fn rich_program_from_bytes(kind: Kind, bytes: &[u8]) -> Option<Program> {
    if bytes.len() < 8 {
        return None;
    }
    let program = Program::from_insns(kind, generate::generate(kind, bytes, true)).ok()?;
    Some(if kind == Kind::Filter { program } else { program.with_maps(rich::maps()) })
}

/// Turns arbitrary bytes into a packet of 14 to 1,522 bytes that often has the headers that
/// generated programs test for.
#[must_use]
pub fn packet_from_bytes(bytes: &[u8]) -> Vec<u8> {
    packet::packet(bytes)
}

/// Decoding never panics; what decodes survives encoding and the text form, and runs to an end.
///
/// # Panics
/// If one of these does not hold.
pub fn decode_any(bytes: &[u8]) {
    for kind in [Kind::Filter, Kind::Ash, Kind::Memory] {
        if let Ok(program) = decode(bytes, kind, HOST_SLOTS) {
            survives(&program);
            runs(&program, bytes);
        }
    }
}

/// Assembling never panics; what assembles into a program survives encoding and the text form.
///
/// # Panics
/// If one of these does not hold.
pub fn assemble_any(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    if let Ok(program) = asm::program(Kind::Memory, text) {
        survives(&program);
    }
    let _ = cases::parse("fuzz", text);
}

/// Every generated program is structurally valid, loop-free, survives encoding and the text form,
/// and runs to an end.
///
/// # Panics
/// If one of these does not hold.
pub fn generate_any(bytes: &[u8]) {
    for kind in [Kind::Filter, Kind::Ash, Kind::Memory] {
        let program = program_from_bytes(kind, bytes);
        assert_eq!(program.is_some(), bytes.len() >= 8, "every long enough string is a program");
        let Some(program) = program else { continue };
        for (pc, insn) in (0..).zip(program.insns()) {
            assert!(insn.jump_target().is_none_or(|target| target > pc), "a backward jump");
        }
        survives(&program);
        runs(&program, bytes);
        let rich = rich_program_from_bytes(kind, bytes);
        assert!(rich.is_some(), "every long enough string is a rich program too");
        let Some(rich) = rich else { continue };
        survives(&rich);
        runs(&rich, bytes);
    }
}

fn survives(program: &Program) {
    let bytes = encode(program);
    let again = decode(&bytes, program.kind(), program.len());
    let again = again.map(|again| again.with_maps(program.maps().to_vec()));
    assert_eq!(again.as_ref(), Ok(program), "decode(encode(p)) is p");
    let text = disassemble(program);
    let again = asm::program(program.kind(), &text);
    let again = again.map(|again| again.with_maps(program.maps().to_vec()));
    assert_eq!(again.as_ref(), Ok(program), "{text}");
}

/// Runs the program on some of its own bytes; only its result or a trap may come of it.
fn runs(program: &Program, bytes: &[u8]) {
    let mut data: Vec<u8> = bytes.iter().copied().take(PACKET_MAX).collect();
    let _ = interp::run_packet(program, &mut data, &mut NoHelpers, BUDGET);
}
