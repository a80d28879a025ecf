//! The wall clock at boot, from the CMOS clock (MC146818), taken to run on UTC.

use super::port::{read8, write8};

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

fn decode(registers: [u8; 8]) -> Option<u64> {
    let [second, minute, hour, day, month, year, _, status] = registers;
    let binary = status & 4 != 0;
    let number = |raw: u8| {
        let value = if binary { raw } else { (raw >> 4) * 10 + (raw & 15) };
        u64::from(value)
    };
    let afternoon = status & 2 == 0 && hour & 0x80 != 0;
    let mut hour = number(hour & 0x7f);
    if status & 2 == 0 {
        hour = hour % 12 + if afternoon { 12 } else { 0 };
    }
    let (second, minute) = (number(second), number(minute));
    let (day, month, year) = (number(day), number(month), 2000 + number(year));
    let sane = second < 61 && minute < 60 && hour < 24;
    if !sane || !(1..=31).contains(&day) || !(1..=12).contains(&month) {
        return None;
    }
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(seconds * 1_000_000_000)
}

/// Days from 1970-01-01 to a date from 2000 on: years are counted from March, so that the leap day
/// is the last of its year.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month < 3 { year - 1 } else { year };
    let month = (month + 9) % 12;
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468
}
