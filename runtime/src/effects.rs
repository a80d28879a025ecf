//! What a handler may do to the world besides answering: wake its owner, send a copy.
//!
//! The idea: a helper with an effect is one call of this trait, whoever runs the program. The
//! kernel hands its own implementation to each run; the interpreter's helpers take one as well
//! ([`crate::helpers::WithEffects`]); so what the helpers *do* exists once. Implementations bound
//! what one run can do: a program may call as often as it likes.

/// What the helpers `sluice_wake`, `sluice_send_copy` and `trace_printk` do.
pub trait Effects {
    /// Starts the handler that the program's owner registered, with this argument, or wakes the
    /// owner, once the program has ended.
    fn wake(&mut self, argument: u64);

    /// Sends a copy of the frame as it is now; whether it was handed to the card.
    fn send_copy(&mut self, frame: &[u8]) -> bool;

    /// A line for the owner's log, at most [`crate::print::LINE_BYTES_MAX`] bytes of ASCII. Nobody
    /// reads it unless an implementation says so.
    fn print(&mut self, _line: &[u8]) {}
}

/// Nobody to wake, nowhere to send.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEffects;

impl Effects for NoEffects {
    fn wake(&mut self, _: u64) {}

    fn send_copy(&mut self, _: &[u8]) -> bool {
        false
    }
}

/// The helper's result in `r0`: 0 if the copy is on its way.
#[must_use]
pub fn copy_result(sent: bool) -> u64 {
    u64::from(!sent)
}
