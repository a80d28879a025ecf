//! `sluice exec`: one program on one buffer, as the plugins of public conformance suites do it.
//!
//! The program comes on standard input as bytes in hexadecimal, with or without blanks; the buffer
//! is an argument of the same form; `r0` goes to standard output in hexadecimal. `r1` is the
//! buffer's address and `r2` its length. Whatever goes wrong is a message and a failing exit.
//!
//! Both engines run the same instructions. Those of `--jit` were proven safe first, like any native
//! code here: because the length is known only at run time, three instructions go before the
//! program that compare it with what was given, so that the proof may use it.

use ebpf::interp::{self, Helpers};
use ebpf::limits::HOST_SLOTS;
use ebpf::{Insn, Kind, Program};
use runtime::PacketBuffer;
use runtime::native::HostPages;
use verifier::{Fuel, SafetyProof};

/// Most instructions that the interpreter runs: more than any case of a suite.
const BUDGET: u64 = 100_000_000;
/// Bytes of machine code.
const CODE_BYTES: usize = 16 << 20;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The text is no bytes.
    #[error("{what}: not bytes in hexadecimal")]
    Hexadecimal {
        /// Whose text.
        what: &'static str,
    },
    /// The bytes are no program.
    #[error("no program: {0}")]
    Malformed(#[from] ebpf::DecodeError),
    /// The interpreter stopped it.
    #[error("{0}")]
    Trap(#[from] interp::Trap),
    /// It could not be proven safe, so there is no native code of it.
    #[error("refused: {0}")]
    Refused(verifier::Refusal),
    /// It could not be compiled.
    #[error("not compiled: {0}")]
    Compile(dpf::EngineError),
}

/// The helpers that suites call. Number 5 is theirs for unwinding, which a program goes on after
/// unless it returns 0; here it is the clock, which never does.
struct Suite;

impl Helpers for Suite {
    fn call(&mut self, id: u32, args: [u64; 5]) -> Option<u64> {
        runtime::helpers::Standard.call(id, args)
    }
}

/// Runs a program on a buffer: `r0`.
///
/// # Errors
/// [`ExecError`].
pub fn exec(program: &str, memory: &str, native: bool) -> Result<u64, ExecError> {
    let bytes = hex("the program", program)?;
    let mut memory = hex("the memory", memory)?;
    let program = ebpf::decode(&bytes, Kind::Memory, HOST_SLOTS)?;
    if native {
        compiled(&program, &mut memory)
    } else {
        Ok(interp::run_memory(&program, &mut memory, &mut Suite, BUDGET)?)
    }
}

fn compiled(program: &Program, memory: &mut [u8]) -> Result<u64, ExecError> {
    let mut proof = SafetyProof::new(measured(program, memory.len())?);
    let verified = loop {
        if let std::task::Poll::Ready(answer) = proof.step(&mut Fuel::UNLIMITED.clone()) {
            break answer.map_err(ExecError::Refused)?;
        }
    };
    let mut pages = HostPages::new(CODE_BYTES);
    let code = dpf::load(&verified, &mut pages).map_err(ExecError::Compile)?;
    let result = code.run(&mut PacketBuffer::whole(memory));
    code.free(&mut pages);
    Ok(result)
}

/// The program behind a test of its buffer's length.
fn measured(program: &Program, length: usize) -> Result<Program, ExecError> {
    let test = format!("jeq %r2, {length}, run\nmov %r0, 0\nexit\nrun:\nmov %r0, 0\nexit");
    let test = ebpf::asm::assemble(&test).unwrap_or_default();
    let head = test.get(..3).unwrap_or_default();
    let by = head.len() as u32;
    let moved = program.insns().iter().map(|insn| match *insn {
        Insn::Jump { target } => Insn::Jump { target: target + by },
        Insn::Branch { width, cond, dst, src, target } => {
            Insn::Branch { width, cond, dst, src, target: target + by }
        }
        Insn::Call { target: ebpf::CallTarget::Local(slot) } => {
            Insn::Call { target: ebpf::CallTarget::Local(slot + by) }
        }
        other => other,
    });
    let insns = head.iter().copied().chain(moved).collect();
    Ok(Program::from_insns(Kind::Memory, insns)?)
}

/// Bytes in hexadecimal; blanks may stand between them.
fn hex(what: &'static str, text: &str) -> Result<Vec<u8>, ExecError> {
    let wrong = || ExecError::Hexadecimal { what };
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |two: &[u8]| {
        let [high, low] = two else { return Err(wrong()) };
        let digit = |byte: u8| char::from(byte).to_digit(16).ok_or_else(wrong);
        Ok((digit(*high)? << 4 | digit(*low)?) as u8)
    };
    digits.chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::{ExecError, exec};

    /// `r0 = r2; exit`.
    const LENGTH: &str = "bf 20 00 00 00 00 00 00  95 00 00 00 00 00 00 00  \n";

    #[test]
    fn both_engines_get_the_buffer_s_length() {
        for native in [false, true] {
            assert_eq!(exec(LENGTH, "00 01 02", native).unwrap(), 3);
            assert_eq!(exec(LENGTH, "", native).unwrap(), 0);
        }
    }

    #[test]
    fn both_engines_read_the_buffer_and_nothing_else() {
        let load = "71 10 01 00 00 00 00 00 95 00 00 00 00 00 00 00";
        assert_eq!(exec(load, "aa bb", false).unwrap(), 0xbb);
        assert_eq!(exec(load, "aabb", true).unwrap(), 0xbb);
        assert!(matches!(exec(load, "aa", false), Err(ExecError::Trap(_))));
        assert!(matches!(exec(load, "aa", true), Err(ExecError::Refused(_))));
    }

    #[test]
    fn what_is_no_program_is_said() {
        for text in ["9", "9g", "95 00 00 00 00 00 00 é"] {
            assert!(matches!(exec(text, "", false), Err(ExecError::Hexadecimal { .. })), "{text}");
        }
        assert!(matches!(exec("", "", true), Err(ExecError::Malformed(_))));
        assert!(matches!(exec(LENGTH, "0", true), Err(ExecError::Hexadecimal { .. })));
    }
}
