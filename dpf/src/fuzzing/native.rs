//! Native code does what the interpreter does.

use alloc::vec::Vec;

use ebpf::interp::{self, Trap};
use ebpf::{Kind, Program};
use runtime::PacketBuffer;
use runtime::helpers::Standard;
use runtime::native::{Code, Filter, HostPages, Memory, Packet};

use crate::error::EngineError;
use crate::{check, compile};

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
    interp::run_packet(program, &mut copy, &mut Standard, 1_000_000)
        .map_err(NativeError::Trapped)?;
    let mut data = data.to_vec();
    let result = run_unproven(program, &mut data).map_err(NativeError::Load)?;
    Ok((result, data))
}

fn run_unproven(program: &Program, data: &mut [u8]) -> Result<u64, EngineError> {
    let emitted = compile::program(program)?;
    let mut pages = HostPages::default();
    Ok(match program.kind() {
        Kind::Filter => {
            let code = Code::<Filter>::seal(check::unproven(program, emitted)?, &mut pages)?;
            let result = code.run_filter(data);
            code.release(&mut pages);
            result
        }
        Kind::Ash => {
            let code = Code::<Packet>::seal(check::unproven(program, emitted)?, &mut pages)?;
            let result = code.run_packet(&mut PacketBuffer::whole(data));
            code.release(&mut pages);
            result
        }
        Kind::Memory => {
            let code = Code::<Memory>::seal(check::unproven(program, emitted)?, &mut pages)?;
            let result = code.run_memory(data);
            code.release(&mut pages);
            result
        }
    })
}

/// Native code gives the interpreter's result and leaves the interpreter's data.
///
/// # Panics
/// If it does not.
pub fn native_agrees(program: &Program, data: &[u8]) {
    let mut expected = data.to_vec();
    let Ok(result) = interp::run_packet(program, &mut expected, &mut Standard, 1_000_000) else {
        return;
    };
    match run_native(program, data) {
        Ok((native, after)) => {
            assert_eq!(native, result, "r0 differs");
            assert_eq!(after, expected, "data differ");
        }
        Err(NativeError::Load(EngineError::Compile(_))) => {}
        Err(error) => panic!("{error:?}"),
    }
}
