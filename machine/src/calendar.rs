//! What the CMOS clock's registers mean (MC146818 data sheet): binary or BCD, 12 or 24 hours.

/// Unix time in nanoseconds from second, minute, hour, day, month, year, status A, status B; `None`
/// when that is no time of this century.
pub(crate) fn decode(registers: [u8; 8]) -> Option<u64> {
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

#[cfg(test)]
mod tests {
    use super::decode;

    const BCD_24: u8 = 2;
    const BINARY_24: u8 = 6;
    const BCD_12: u8 = 0;

    fn seconds(registers: [u8; 8]) -> Option<u64> {
        decode(registers).map(|ns| ns / 1_000_000_000)
    }

    #[test]
    fn dates_become_unix_time() {
        let leap_day = seconds([0x59, 0x58, 0x23, 0x29, 0x02, 0x24, 0, BCD_24]);
        assert_eq!(leap_day, Some(1_709_251_139));
        assert_eq!(seconds([59, 58, 23, 29, 2, 24, 0, BINARY_24]), Some(1_709_251_139));
        assert_eq!(seconds([0, 0, 0, 1, 1, 0, 0, BCD_24]), Some(946_684_800));
        assert_eq!(seconds([0, 0, 0, 1, 3, 0x26, 0, BCD_24]), Some(1_772_323_200));
    }

    #[test]
    fn twelve_hour_clocks_know_noon_from_midnight() {
        let at = |hour| seconds([0, 0, hour, 1, 1, 0, 0, BCD_12]).map(|s| s - 946_684_800);
        assert_eq!(
            [at(0x12), at(0x92), at(0x81), at(0x11)].map(|s| s.map(|s| s / 3600)),
            [Some(0), Some(12), Some(13), Some(11)]
        );
    }

    #[test]
    fn no_clock_is_no_time() {
        assert_eq!(decode([0xff; 8]), None);
        assert_eq!(decode([0; 8]), None);
        assert_eq!(decode([0, 0, 0, 1, 13, 26, 0, BINARY_24]), None);
        assert_eq!(decode([0, 60, 0, 1, 1, 26, 0, BINARY_24]), None);
    }
}
