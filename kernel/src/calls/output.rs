//! Calls that say something: print, report, books, halt.

use core::fmt::{self, Write};

use abi::limits::{PRINT_BYTES_MAX, REPORT_BYTES_MAX};
use abi::record::Record;
use abi::{Rights, Status};

use super::{Answer, Arguments, Done, bounded};
use crate::Kernel;
use crate::reserve::Need;

/// Bytes of encoded books at most: every number takes at most ten.
const BOOKS_BYTES_MAX: usize = 512;

impl Kernel {
    /// `(debug, text, length)`: a line on the serial console, under the caller's name.
    pub(super) fn print(&mut self, a: &Arguments) -> Answer {
        let [_, text, length, ..] = a.words;
        self.debug_of(a, Rights::WRITE)?;
        let length = bounded(length, PRINT_BYTES_MAX)?;
        let mut buffer = [0; PRINT_BYTES_MAX];
        let bytes = buffer.get_mut(..length).ok_or(Status::BadArgument)?;
        self.copy_into(a.caller, text, bytes)?;
        let name = self.environments.get(a.caller).map_or("?", |it| it.name.as_str());
        machine::serial::print(format_args!("[{name}] {}\n", Printable(bytes)));
        Ok(Done::Value(0))
    }

    /// `(debug, bytes, length)`: bytes of the caller's own on the framed channel.
    pub(super) fn report(&mut self, a: &Arguments) -> Answer {
        let [_, bytes, length, ..] = a.words;
        self.debug_of(a, Rights::WRITE)?;
        let length = bounded(length, REPORT_BYTES_MAX)?;
        self.reserve(a.caller, Need { heap: length, ..Need::default() })?;
        let bytes = self.copy_in(a.caller, bytes, length)?;
        self.channel.emit(length, || Record::User { environment: a.caller.0, bytes });
        Ok(Done::Value(0))
    }

    /// `(buffer, length)` → bytes written. The books go out on the framed channel as well.
    pub(super) fn books_call(&mut self, a: &Arguments) -> Answer {
        let [buffer, length, ..] = a.words;
        let books = self.books();
        let mut space = [0; BOOKS_BYTES_MAX];
        let encoded = postcard::to_slice(&books, &mut space).map_err(|_| Status::BadArgument)?;
        if length < encoded.len() as u64 {
            return Err(Status::BadArgument);
        }
        self.copy_out(a.caller, buffer, encoded)?;
        let written = encoded.len() as u64;
        self.channel.emit(BOOKS_BYTES_MAX, || Record::Books(books));
        Ok(Done::Value(written))
    }

    /// `(debug)` → 0, or the number of the first check of the books that fails.
    pub(super) fn audit_call(&mut self, a: &Arguments) -> Answer {
        self.debug_of(a, Rights::WRITE)?;
        Ok(Done::Value(self.audit().map_or(0, |check| check as u64)))
    }

    /// `(debug, code)`: stops the machine.
    pub(super) fn halt(&mut self, a: &Arguments) -> Answer {
        let [_, code, ..] = a.words;
        self.debug_of(a, Rights::CONTROL)?;
        let code = u8::try_from(code).map_err(|_| Status::BadArgument)?;
        log::info!("halt with code {code}");
        let books = self.books();
        self.channel.emit(BOOKS_BYTES_MAX, || Record::Books(books));
        self.channel.emit(8, || Record::Halt { code });
        machine::exit(code)
    }
}

/// Text from ring 3 as one line: what is not UTF-8 or would move the cursor becomes a dot.
struct Printable<'a>(&'a [u8]);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                f.write_char(if c.is_control() { '.' } else { c })?;
            }
            if !chunk.invalid().is_empty() {
                f.write_char('.')?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Printable;
    use alloc::string::ToString;

    #[test]
    fn text_cannot_leave_its_line() {
        assert_eq!(Printable(b"a\x1b[2J\r\nb\xff\xfec").to_string(), "a.[2J..b..c");
        assert_eq!(Printable("größe".as_bytes()).to_string(), "größe");
    }
}
