//! For tests: programs without a proof (loops, local calls), run natively after the interpreter.

use alloc::vec::Vec;

use ebpf::helper::{self, Arg};
use ebpf::interp::{self, Trap};
use ebpf::{CallTarget, Insn, Kind, Program, Reg};
use runtime::PacketBuffer;
use runtime::helpers::Standard;
use runtime::native::{Code, Filter, HostPages, Memory, Packet};

use super::mutate::{Mutations, mutated};
use crate::context::Premises;
use crate::error::EngineError;
use crate::{check, compile};

const BUDGET: u64 = 1_000_000;

/// Why a program gave no native result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NativeError {
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
pub(crate) fn run_native(program: &Program, data: &[u8]) -> Result<(u64, Vec<u8>), NativeError> {
    // A helper follows the context that it is given, and only a proof says that it is the context.
    let with_context = |id| helper::by_id(id).is_some_and(|it| it.args.contains(&Arg::Context));
    for (pc, insn) in (0_u32..).zip(program.insns()) {
        if let Insn::Call { target: CallTarget::Helper(id) } = *insn
            && with_context(id)
        {
            return Err(NativeError::Trapped(Trap::HelperArgument { pc, reg: Reg::R1 }));
        }
    }
    let mut copy = data.to_vec();
    interp::run_packet(program, &mut copy, &mut Standard, BUDGET).map_err(NativeError::Trapped)?;
    let mut data = data.to_vec();
    let loads = Premises::guessed(program).map_err(|error| NativeError::Load(error.into()))?;
    let result = run_unproven(program, &loads, &mut data).map_err(NativeError::Load)?;
    Ok((result, data))
}

fn run_unproven(program: &Program, loads: &Premises, data: &mut [u8]) -> Result<u64, EngineError> {
    let emitted = compile::program(program, loads)?;
    let mut pages = HostPages::default();
    Ok(match program.kind() {
        Kind::Filter => {
            let checked = check::unproven(program, loads, emitted, Default::default())?;
            let code = Code::<Filter>::seal(checked, &mut pages)?;
            let result = code.run_filter(data);
            code.release(&mut pages);
            result
        }
        Kind::Ash => {
            let checked = check::unproven(program, loads, emitted, Default::default())?;
            let code = Code::<Packet>::seal(checked, &mut pages)?;
            let result = code.run_packet(&mut PacketBuffer::whole(data));
            code.release(&mut pages);
            result
        }
        Kind::Memory => {
            let checked = check::unproven(program, loads, emitted, Default::default())?;
            let code = Code::<Memory>::seal(checked, &mut pages)?;
            let result = code.run_memory(data);
            code.release(&mut pages);
            result
        }
    })
}

/// Mutates the code of a program without a proof.
pub(crate) fn mutations_of(program: &Program) -> Mutations {
    let loads = Premises::guessed(program);
    loads.map_or_else(|_| Mutations::default(), |loads| mutated(program, &loads))
}
