//! The clock that `ktime_get_ns` reads.
//!
//! The idea: generated code calls helpers by address and cannot carry a clock along, so the clock
//! is one hook that whoever boots sets once. Until then time stands at zero, which is a lie that a
//! test notices and that harms nobody.

use spin::Once;

static SOURCE: Once<fn() -> u64> = Once::new();

/// Sets the source of monotonic nanoseconds since boot. The first call wins; later ones are
/// ignored, so that no tenant of the host process can move another's clock.
pub fn set(source: fn() -> u64) {
    SOURCE.call_once(|| source);
}

/// Monotonic nanoseconds since boot; 0 until [`set`] was called.
#[must_use]
pub fn now_ns() -> u64 {
    SOURCE.get().map_or(0, |source| source())
}
