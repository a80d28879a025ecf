//! Native code does what the interpreter does.

use core::task::Poll;

use ebpf::interp::{self, Trap};
use ebpf::{CallTarget, Insn, Kind, Program};
use runtime::PacketBuffer;
use runtime::helpers::Standard;
use runtime::native::Code;
use runtime::pages::CodePages;
use verifier::{Fuel, SafetyProof, Verified};

use crate::error::EngineError;
use crate::{check, compile, load};

const BUDGET: u64 = 1_000_000;

/// The whole safety proof in one call; `None` if the program is refused.
#[must_use]
pub fn verified(program: Program) -> Option<Verified> {
    match SafetyProof::new(program).step(&mut Fuel(u32::MAX)) {
        Poll::Ready(Ok(verified)) => Some(verified),
        _ => None,
    }
}

/// A generated program, if the verifier accepts it, does natively what it does in the interpreter,
/// on several packets. The first byte chooses the kind. True if the program was accepted.
///
/// # Panics
/// If the results differ, the interpreter traps, or the engine refuses a verified program.
pub fn native_is_interpreter(bytes: &[u8], pages: &mut dyn CodePages) -> bool {
    let kind = match bytes.first().map_or(0, |byte| byte % 3) {
        0 => Kind::Filter,
        1 => Kind::Ash,
        _ => Kind::Memory,
    };
    let program = match bytes.first().map_or(0, |byte| byte % 8) {
        7 => super::idioms_from_bytes(bytes),
        _ => ebpf::fuzzing::program_from_bytes(kind, bytes),
    };
    let Some(verified) = program.and_then(verified) else {
        return false;
    };
    // What depends on time and chance cannot be compared.
    let by_chance = |insn: &Insn| {
        matches!(insn, Insn::Call { target: CallTarget::Helper(5 | 7) | CallTarget::Register(_) })
    };
    if verified.program().insns().iter().any(by_chance) {
        return false;
    }
    for seed in 0..4 {
        let start = bytes.len() * seed / 4;
        let packet = ebpf::fuzzing::packet_from_bytes(bytes.get(start..).unwrap_or(bytes));
        let (mut expected, mut actual) = (packet.clone(), packet);
        let result = interp::run_packet(verified.program(), &mut expected, &mut Standard, BUDGET);
        let native = run(&verified, &mut actual, pages);
        assert!(agree(result, native), "interpreter {result:?}, native {native:?}");
        assert_eq!(actual, expected, "packets differ");
    }
    true
}

fn agree(result: Result<u64, Trap>, native: Result<u64, EngineError>) -> bool {
    matches!((result, native), (Ok(result), Ok(native)) if result == native)
}

fn run(
    verified: &Verified,
    data: &mut [u8],
    pages: &mut dyn CodePages,
) -> Result<u64, EngineError> {
    if verified.kind() == Kind::Memory {
        let emitted = compile::compile(verified, &[])?;
        let code = Code::seal(check::memory(verified, emitted, &[])?, pages)?;
        let result = code.run_memory(data);
        code.release(pages);
        return Ok(result);
    }
    let program = load::load(verified, pages)?;
    let result = program.run(&mut PacketBuffer::whole(data));
    program.free(pages);
    Ok(result)
}
