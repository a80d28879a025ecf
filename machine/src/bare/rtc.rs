//! The wall clock at boot, from the CMOS clock (MC146818), taken to run on UTC.

use super::port::{read8, write8};
use crate::calendar::decode;

/// Unix time in nanoseconds; 0 without a clock that makes sense.
pub(super) fn unix_ns() -> u64 {
    // Two equal readings in a row were not taken in the middle of an update.
    let mut before = registers();
    for _ in 0..1000 {
        let now = registers();
        if now == before {
            return decode(now).unwrap_or(0);
        }
        before = now;
    }
    0
}

/// Second, minute, hour, day, month, year, and the two status registers A and B.
fn registers() -> [u8; 8] {
    [0, 2, 4, 7, 8, 9, 0x0a, 0x0b].map(|register| {
        // SAFETY: selects and reads a CMOS register. No effect on memory.
        unsafe {
            write8(0x70, register);
            read8(0x71)
        }
    })
}
