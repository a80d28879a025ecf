//! Bodies of the helpers that generated code calls with its context, or that belong to the run.
//!
//! The context ends, behind the fields that a program can load, in the address of its [`Run`]. The
//! verifier has proven that the first argument is the context the program was given, so a body can
//! follow it; `trace_printk`, which takes none, gets it from the compiler as a sixth argument. No
//! body is reachable but through generated code.

use ebpf::PacketBuffer;
use ebpf::helper::{ADJUST_HEAD, ADJUST_TAIL, LOAD_BYTES, PRINT, SEND_COPY, STORE_BYTES, WAKE};

use super::maps::slice;
use super::program::NativeContext;
use crate::effects::{Effects, copy_result};
use crate::map::{Errno, status};
use crate::packet;
use crate::print::Line;

/// The type of these bodies. Unsafe to call: the arguments must be what the verifier proves of
/// them, in a run in progress.
pub(crate) type ContextBody = unsafe extern "C" fn(u64, u64, u64, u64, u64) -> u64;

/// A helper's number and its body.
pub(crate) type Entry = (u32, ContextBody);

/// What belongs to one run of a program.
pub(super) struct Run<'r, 'p> {
    pub(super) effects: &'r mut dyn Effects,
    /// The frame, if the program has one that it may change.
    pub(super) packet: Option<&'r mut PacketBuffer<'p>>,
}

/// The bodies by number, ascending.
pub(crate) const TABLE: [Entry; 6] = [
    (ADJUST_HEAD, adjust_head as ContextBody),
    (ADJUST_TAIL, adjust_tail as ContextBody),
    (LOAD_BYTES, load_bytes as ContextBody),
    (STORE_BYTES, store_bytes as ContextBody),
    (WAKE, sluice_wake as ContextBody),
    (SEND_COPY, sluice_send_copy as ContextBody),
];

/// Address of the body of `trace_printk`, which takes six arguments.
pub(crate) fn print_address() -> u64 {
    let body: unsafe extern "C" fn(u64, u64, u64, u64, u64, u64) -> u64 = trace_printk;
    body as usize as u64
}

/// The number of the helper that gets the run's context as a sixth argument.
pub const WITH_RUN: u32 = PRINT;

/// `xdp_adjust_head(context, by)`: 0 or a negative error number.
unsafe extern "C" fn adjust_head(context: u64, by: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: passed on from the caller.
    unsafe { moved(context, |packet| packet::adjust_head(packet, by)) }
}

/// `xdp_adjust_tail(context, by)`: 0 or a negative error number.
unsafe extern "C" fn adjust_tail(context: u64, by: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: passed on from the caller.
    unsafe { moved(context, |packet| packet::adjust_tail(packet, by)) }
}

/// `xdp_load_bytes(context, offset, buffer, length)`: 0 or a negative error number.
unsafe extern "C" fn load_bytes(context: u64, at: u64, into: u64, bytes: u64, _: u64) -> u64 {
    // SAFETY: passed on from the caller.
    let Some(run) = (unsafe { open(context) }) else { return Errno::Invalid.status() };
    let frame = run.packet.as_deref().map_or(&[][..], PacketBuffer::data);
    let into = core::ptr::with_exposed_provenance_mut::<u8>(into as usize);
    let span = packet::span(frame.len(), at, bytes);
    let from = span.and_then(|span| frame.get(span).ok_or(Errno::Invalid));
    match from {
        // SAFETY: the verifier has proven that the program may write so many bytes there; they may
        // be the frame's own, which `copy` allows.
        Ok(from) => unsafe { core::ptr::copy(from.as_ptr(), into, from.len()) },
        // SAFETY: as above. The buffer is always written, so that it always may be read.
        Err(_) => unsafe { core::ptr::write_bytes(into, 0, bytes as usize) },
    }
    status(from.map(|_| ()))
}

/// `xdp_store_bytes(context, offset, memory, length)`: 0 or a negative error number.
unsafe extern "C" fn store_bytes(context: u64, at: u64, from: u64, bytes: u64, _: u64) -> u64 {
    // SAFETY: passed on from the caller.
    let Some(run) = (unsafe { open(context) }) else { return Errno::Invalid.status() };
    let Some(packet) = run.packet.as_deref_mut() else { return Errno::Invalid.status() };
    let frame = packet.data_mut();
    let from = core::ptr::with_exposed_provenance::<u8>(from as usize);
    let span = packet::span(frame.len(), at, bytes);
    let into = span.and_then(|span| frame.get_mut(span).ok_or(Errno::Invalid));
    match into {
        Ok(into) => {
            let (into, bytes) = (into.as_mut_ptr(), into.len());
            // SAFETY: the verifier has proven that so many bytes may be read there; they may be
            // the frame's own, which `copy` allows.
            unsafe { core::ptr::copy(from, into, bytes) };
            0
        }
        Err(errno) => errno.status(),
    }
}

/// `trace_printk(format, length, a, b, c)`, and the run's context: bytes printed, or a negative
/// error number.
unsafe extern "C" fn trace_printk(
    format: u64,
    bytes: u64,
    a: u64,
    b: u64,
    c: u64,
    context: u64,
) -> u64 {
    // SAFETY: the verifier has proven that so many bytes may be read there; nothing is written
    // while the slice lives.
    let line = Line::new(unsafe { slice(format, bytes) }, [a, b, c]);
    let line = match line {
        Ok(line) => line,
        Err(errno) => return errno.status(),
    };
    // SAFETY: the compiler passes the context of the run in progress.
    if let Some(run) = unsafe { open(context) } {
        run.effects.print(line.bytes());
    }
    line.bytes().len() as u64
}

/// `sluice_wake(context, argument)`: 0.
unsafe extern "C" fn sluice_wake(context: u64, argument: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: passed on from the caller.
    if let Some(run) = unsafe { open(context) } {
        run.effects.wake(argument);
    }
    0
}

/// `sluice_send_copy(context)`: 0 if it was sent.
unsafe extern "C" fn sluice_send_copy(context: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: passed on from the caller.
    let Some(run) = (unsafe { open(context) }) else { return copy_result(false) };
    let frame = run.packet.as_deref().map_or(&[][..], PacketBuffer::data);
    copy_result(run.effects.send_copy(frame))
}

/// Moves the frame's ends and tells the context where they are.
///
/// # Safety
/// As for [`open`].
unsafe fn moved(context: u64, how: impl FnOnce(&mut PacketBuffer<'_>) -> Result<(), Errno>) -> u64 {
    // SAFETY: passed on.
    let Some(run) = (unsafe { open(context) }) else { return Errno::Invalid.status() };
    let Some(packet) = run.packet.as_deref_mut() else { return Errno::Invalid.status() };
    let result = how(packet);
    let frame = packet.data_mut();
    let start = frame.as_mut_ptr().expose_provenance() as u64;
    let end = start + frame.len() as u64;
    let context = core::ptr::with_exposed_provenance_mut::<NativeContext>(context as usize);
    // SAFETY: `open` found it to be the context of the run; the program waits in this call.
    unsafe {
        (*context).data = start;
        (*context).data_meta = start;
        (*context).data_end = end;
    }
    status(result)
}

/// What belongs to the run that a context is of; none for a filter's.
///
/// # Safety
/// `context` must be the address of the context of a run in progress, which then does not touch its
/// frame until the result is gone: it waits in a helper call.
unsafe fn open<'a>(context: u64) -> Option<&'a mut Run<'a, 'a>> {
    let context = core::ptr::with_exposed_provenance::<NativeContext>(context as usize);
    // SAFETY: the caller says that it is one, and it outlives the run.
    let run = unsafe { (*context).run };
    if run == 0 {
        return None;
    }
    let run = core::ptr::with_exposed_provenance_mut::<Run<'a, 'a>>(run as usize);
    // SAFETY: whoever entered the program put the address of a live `Run` there, which nobody else
    // uses meanwhile, and a run calls one helper at a time.
    Some(unsafe { &mut *run })
}
