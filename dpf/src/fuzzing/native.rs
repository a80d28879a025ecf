//! Native code does what the interpreter does.

use alloc::vec::Vec;
use core::task::Poll;

use ebpf::interp::{self, Trap};
use ebpf::{CallTarget, Insn, Kind, Program};
use runtime::PacketBuffer;
use runtime::helpers::Standard;
use runtime::native::{Code, Filter, HostPages, Memory, Packet};
use verifier::{Fuel, SafetyProof, Verified};

use crate::context::ContextLoads;
use crate::error::EngineError;
use crate::{check, compile};

const BUDGET: u64 = 1_000_000;

/// Why a program gave no native result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NativeError {
    /// The interpreter trapped, so that the program must not run natively.
    Trapped(Trap),
    /// It could not be loaded.
    Load(EngineError),
}

/// Runs any program natively on a copy of `data`, *after* the interpreter has run it without a
/// trap; returns `r0` and the data afterwards. Programs whose result depends on addresses, on time
/// or on chance are not for this.
///
/// # Errors
/// [`NativeError`]
pub fn run_native(program: &Program, data: &[u8]) -> Result<(u64, Vec<u8>), NativeError> {
    let mut copy = data.to_vec();
    interp::run_packet(program, &mut copy, &mut Standard, BUDGET).map_err(NativeError::Trapped)?;
    let mut data = data.to_vec();
    let loads = ContextLoads::guessed(program).map_err(|error| NativeError::Load(error.into()))?;
    let result = run_unproven(program, &loads, &mut data).map_err(NativeError::Load)?;
    Ok((result, data))
}

fn run_unproven(
    program: &Program,
    loads: &ContextLoads,
    data: &mut [u8],
) -> Result<u64, EngineError> {
    let emitted = compile::program(program, loads)?;
    let mut pages = HostPages::default();
    Ok(match program.kind() {
        Kind::Filter => {
            let checked = check::unproven(program, loads, emitted)?;
            let code = Code::<Filter>::seal(checked, &mut pages)?;
            let result = code.run_filter(data);
            code.release(&mut pages);
            result
        }
        Kind::Ash => {
            let checked = check::unproven(program, loads, emitted)?;
            let code = Code::<Packet>::seal(checked, &mut pages)?;
            let result = code.run_packet(&mut PacketBuffer::whole(data));
            code.release(&mut pages);
            result
        }
        Kind::Memory => {
            let checked = check::unproven(program, loads, emitted)?;
            let code = Code::<Memory>::seal(checked, &mut pages)?;
            let result = code.run_memory(data);
            code.release(&mut pages);
            result
        }
    })
}

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
pub fn native_is_interpreter(bytes: &[u8]) -> bool {
    let kind = match bytes.first().map_or(0, |byte| byte % 3) {
        0 => Kind::Filter,
        1 => Kind::Ash,
        _ => Kind::Memory,
    };
    let Some(verified) = ebpf::fuzzing::program_from_bytes(kind, bytes).and_then(verified) else {
        return false;
    };
    let program = verified.program();
    let by_chance = |insn: &Insn| {
        matches!(insn, Insn::Call { target: CallTarget::Helper(5 | 7) | CallTarget::Register(_) })
    };
    if program.insns().iter().any(by_chance) {
        return false;
    }
    let loads = ContextLoads::of(&verified);
    // The guess also looks at code that no run reaches.
    if let Ok(guessed) = ContextLoads::guessed(program) {
        let same = (0..program.len() as u32)
            .all(|pc| loads.at(pc).is_none_or(|field| guessed.at(pc) == Some(field)));
        assert!(same, "verifier {loads:?}, guess {guessed:?}");
    }
    for seed in 0..4 {
        let start = bytes.len() * seed / 4;
        let packet = ebpf::fuzzing::packet_from_bytes(bytes.get(start..).unwrap_or(bytes));
        agrees(program, &loads, &packet);
    }
    true
}

fn agrees(program: &Program, loads: &ContextLoads, packet: &[u8]) {
    let (mut expected, mut actual) = (packet.to_vec(), packet.to_vec());
    let result = interp::run_packet(program, &mut expected, &mut Standard, BUDGET);
    let native = run_unproven(program, loads, &mut actual);
    match (result, native) {
        (Ok(result), Ok(native)) => {
            assert_eq!(native, result, "r0 differs");
            assert_eq!(actual, expected, "packets differ");
        }
        (result, native) => panic!("interpreter {result:?}, native {native:?}"),
    }
}
