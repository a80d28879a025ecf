//! Bodies of the helpers that generated code calls with its context.
//!
//! The context ends, behind the fields that a program can load, in the address of the run's
//! [`Effects`]. The verifier has proven that the first argument is the context the program was
//! given, so a body can follow it; no body is reachable but through generated code.

use ebpf::helper::{SEND_COPY, WAKE};

use super::program::NativeContext;
use crate::effects::{Effects, copy_result};

/// The type of these bodies. Unsafe to call: the first argument must be the address of the context
/// of a run in progress.
pub(crate) type ContextBody = unsafe extern "C" fn(u64, u64, u64, u64, u64) -> u64;

/// The bodies by number, ascending.
pub(crate) const TABLE: [(u32, ContextBody); 2] =
    [(WAKE, sluice_wake), (SEND_COPY, sluice_send_copy)];

/// `sluice_wake(context, argument)`: 0.
unsafe extern "C" fn sluice_wake(context: u64, argument: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: passed on from the caller.
    let Some((effects, _)) = (unsafe { open(context) }) else { return 0 };
    effects.wake(argument);
    0
}

/// `sluice_send_copy(context)`: 0 if it was sent.
unsafe extern "C" fn sluice_send_copy(context: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: passed on from the caller.
    let Some((effects, frame)) = (unsafe { open(context) }) else { return copy_result(false) };
    copy_result(effects.send_copy(frame))
}

/// The effects and the frame of the run that a context belongs to; none for a filter's.
///
/// # Safety
/// `context` must be the address of the context of a run in progress, which then does not touch its
/// frame until the result is gone: it waits in a helper call.
unsafe fn open<'a>(context: u64) -> Option<(&'a mut dyn Effects, &'a [u8])> {
    let context = core::ptr::with_exposed_provenance::<NativeContext>(context as usize);
    // SAFETY: the caller says that it is one, and it outlives the run.
    let context = unsafe { context.read() };
    if context.effects == 0 {
        return None;
    }
    let slot =
        core::ptr::with_exposed_provenance_mut::<&'a mut dyn Effects>(context.effects as usize);
    // SAFETY: `run_packet` put the address of a live `&mut dyn Effects` there, which nobody else
    // uses during the run, and a run calls one helper at a time.
    let effects: &'a mut dyn Effects = unsafe { &mut **slot };
    let start = core::ptr::with_exposed_provenance::<u8>(context.data as usize);
    let length = (context.data_end - context.data) as usize;
    // SAFETY: the frame of the run; the program, its only user, waits for the helper.
    Some((effects, unsafe { core::slice::from_raw_parts(start, length) }))
}
