//! A clock that moves only when it is told to.

use std::cell::Cell;

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(0) };
    static ARMED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Monotonic nanoseconds since boot.
pub fn now_ns() -> u64 {
    NOW.get()
}

/// The cycle counter: one cycle per nanosecond.
pub fn cycles() -> u64 {
    NOW.get()
}

/// Cycles per second.
pub fn tsc_hz() -> u64 {
    1_000_000_000
}

/// How counts become time: the count when the clock began, and nanoseconds for each, times 2^32.
pub fn calibration() -> (u64, u64) {
    (0, 1 << 32)
}

/// Sets the timer. It may go off early on bare metal: ask [`expired`].
pub fn arm(deadline_ns: u64) {
    ARMED.set(Some(deadline_ns));
}

/// Whether this deadline has passed.
pub fn expired(deadline_ns: u64) -> bool {
    now_ns() >= deadline_ns
}

/// What [`arm`] was last told, for tests.
pub fn armed() -> Option<u64> {
    ARMED.get()
}

/// Sets this thread's clock.
pub fn set_clock(ns: u64) {
    NOW.set(ns);
}

/// Moves this thread's clock on.
pub fn advance(ns: u64) {
    NOW.set(NOW.get() + ns);
}
