//! The line that `trace_printk` makes.
//!
//! The idea: C's conversions of numbers, as many as `bpf_trace_printk` has, and nothing that would
//! show an address (`%p`, `%s`): those are refused. A line has a fixed most; what goes beyond is
//! refused too, so that no line is cut unnoticed.

use crate::map::Errno;

/// Bytes of a format and of a line at most.
pub const LINE_BYTES_MAX: usize = 256;

/// Numbers that one call prints at most.
pub const NUMBERS: usize = 3;

/// A line that is being made.
#[derive(Debug)]
pub struct Line {
    bytes: [u8; LINE_BYTES_MAX],
    len: usize,
}

/// One conversion, as it stands in a format.
struct Conversion {
    /// Least width, in characters.
    width: usize,
    fill: u8,
    /// Whether the number has 64 bits.
    wide: bool,
    letter: u8,
}

impl Line {
    /// The line of a format and its numbers.
    ///
    /// # Errors
    /// [`Errno::Invalid`]: a format that does not end in a zero byte, has characters that cannot be
    /// printed, conversions that do not exist here or more than [`NUMBERS`], or is too long.
    pub fn new(format: &[u8], numbers: [u64; NUMBERS]) -> Result<Self, Errno> {
        let (last, text) = format.split_last().ok_or(Errno::Invalid)?;
        if *last != 0 || format.len() > LINE_BYTES_MAX {
            return Err(Errno::Invalid);
        }
        let mut line = Self { bytes: [0; LINE_BYTES_MAX], len: 0 };
        let mut numbers = numbers.into_iter();
        let mut rest = text.iter().copied().take_while(|byte| *byte != 0).peekable();
        while let Some(byte) = rest.next() {
            if byte != b'%' {
                line.push(byte)?;
            } else if rest.next_if_eq(&b'%').is_some() {
                line.push(b'%')?;
            } else {
                let conversion = Conversion::read(&mut rest).ok_or(Errno::Invalid)?;
                let number = numbers.next().ok_or(Errno::Invalid)?;
                line.convert(&conversion, number)?;
            }
        }
        Ok(line)
    }

    /// The line.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn push(&mut self, byte: u8) -> Result<(), Errno> {
        let printable = byte.is_ascii_graphic() || byte == b' ' || (9..=13).contains(&byte);
        let place = self.bytes.get_mut(self.len).filter(|_| printable).ok_or(Errno::Invalid)?;
        *place = byte;
        self.len += 1;
        Ok(())
    }

    fn convert(&mut self, conversion: &Conversion, number: u64) -> Result<(), Errno> {
        let (base, upper) = match conversion.letter {
            b'c' => return self.push(number as u8),
            b'x' => (16, false),
            b'X' => (16, true),
            _ => (10, false),
        };
        let signed = matches!(conversion.letter, b'd' | b'i');
        let (negative, size) = match (signed, conversion.wide) {
            (true, true) => (number.cast_signed() < 0, number.cast_signed().unsigned_abs()),
            (true, false) => {
                let number = number as u32 as i32;
                (number < 0, u64::from(number.unsigned_abs()))
            }
            (false, true) => (false, number),
            (false, false) => (false, u64::from(number as u32)),
        };
        self.digits(conversion, (negative, size), (base, upper))
    }

    fn digits(
        &mut self,
        conversion: &Conversion,
        (negative, size): (bool, u64),
        (base, upper): (u64, bool),
    ) -> Result<(), Errno> {
        let mut digits = [0_u8; 20];
        let (mut rest, mut count) = (size, 0);
        for place in &mut digits {
            let digit = (rest % base) as u8;
            let letter = if upper { b'A' } else { b'a' };
            *place = if digit < 10 { b'0' + digit } else { letter + digit - 10 };
            (rest, count) = (rest / base, count + 1);
            if rest == 0 {
                break;
            }
        }
        let padding = conversion.width.saturating_sub(count + usize::from(negative));
        if negative && conversion.fill == b'0' {
            self.push(b'-')?;
        }
        for _ in 0..padding {
            self.push(conversion.fill)?;
        }
        if negative && conversion.fill != b'0' {
            self.push(b'-')?;
        }
        digits.iter().take(count).rev().try_for_each(|digit| self.push(*digit))
    }
}

impl Conversion {
    /// What stands behind a percent sign; `None` if it is no conversion of a number.
    fn read(rest: &mut core::iter::Peekable<impl Iterator<Item = u8>>) -> Option<Self> {
        let fill = if rest.next_if_eq(&b'0').is_some() { b'0' } else { b' ' };
        let mut width = 0;
        while let Some(digit) = rest.next_if(u8::is_ascii_digit) {
            width = width * 10 + usize::from(digit - b'0');
            if width > LINE_BYTES_MAX {
                return None;
            }
        }
        let mut longs = 0;
        while rest.next_if_eq(&b'l').is_some() {
            longs += 1;
        }
        let letter = rest.next()?;
        let is_number = matches!(letter, b'd' | b'i' | b'u' | b'x' | b'X');
        let known = is_number && longs <= 2 || letter == b'c' && longs == 0;
        known.then_some(Self { width, fill, wide: longs != 0, letter })
    }
}

#[cfg(test)]
mod tests {
    use super::{LINE_BYTES_MAX, Line};
    use crate::map::Errno;
    use alloc::string::{String, ToString};
    use alloc::{format, vec};

    fn line(format: &str, numbers: [u64; 3]) -> Result<String, Errno> {
        let format = format!("{format}\0");
        let line = Line::new(format.as_bytes(), numbers)?;
        Ok(core::str::from_utf8(line.bytes()).unwrap().to_string())
    }

    #[test]
    fn numbers_are_converted_as_in_c() {
        let minus = -5_i64 as u64;
        assert_eq!(
            line("a %d b %u c %x%%", [minus, minus, minus]).unwrap(),
            "a -5 b 4294967291 c fffffffb%"
        );
        assert_eq!(line("%ld %lu %llx", [minus, 7, 255]).unwrap(), "-5 7 ff");
        assert_eq!(line("[%5d|%05d|%X]", [42, minus, 0xbeef]).unwrap(), "[   42|-0005|BEEF]");
        assert_eq!(line("%c%c\n", [b'o'.into(), b'k'.into(), 0]).unwrap(), "ok\n");
        assert_eq!(line("%llu", [u64::MAX, 0, 0]).unwrap(), u64::MAX.to_string());
        assert_eq!(line("%lld", [i64::MIN as u64, 0, 0]).unwrap(), i64::MIN.to_string());
        assert_eq!(line("%i", [0, 0, 0]).unwrap(), "0");
        assert_eq!(line("", [0; 3]).unwrap(), "");
    }

    #[test]
    fn what_would_show_an_address_or_cannot_be_printed_is_refused() {
        for wrong in ["%p", "%s", "%", "%5", "%l", "%llld", "%lc", "%n", "\u{7f}", "é", "%999d"] {
            assert_eq!(line(wrong, [0; 3]), Err(Errno::Invalid), "{wrong}");
        }
        assert_eq!(line("%d%d%d%d", [0; 3]), Err(Errno::Invalid));
        assert_eq!(Line::new(b"no zero", [0; 3]).unwrap_err(), Errno::Invalid);
        assert_eq!(Line::new(b"", [0; 3]).unwrap_err(), Errno::Invalid);
        let mut long = vec![b'x'; LINE_BYTES_MAX];
        long.push(0);
        assert_eq!(Line::new(&long, [0; 3]).unwrap_err(), Errno::Invalid);
        assert_eq!(line("%200d%200d", [0; 3]), Err(Errno::Invalid));
        assert_eq!(line("%c", [0; 3]), Err(Errno::Invalid));
    }
}
