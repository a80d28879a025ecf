//! Lines of text on the serial console.
//!
//! A line goes out as one `Print` under the program's name; longer lines are cut into pieces at
//! character boundaries. Nothing allocates, so that the panic handler may print when memory is
//! gone.

use core::fmt::Write;

use abi::Call;
use abi::limits::PRINT_BYTES_MAX;

use crate::sys::{self, Request, perform};

/// Prints a line: `println!("bound {n} filters")`.
#[macro_export]
macro_rules! println {
    ($($word:tt)*) => { $crate::print::line(core::format_args!($($word)*)) };
}

/// Prints a line.
pub fn line(text: core::fmt::Arguments<'_>) {
    let mut buffer = Buffer { bytes: [0; PRINT_BYTES_MAX], used: 0 };
    // Writing to the buffer never fails; a `Display` that does has had its say.
    let _ = buffer.write_fmt(text);
    buffer.flush();
}

struct Buffer {
    bytes: [u8; PRINT_BYTES_MAX],
    used: usize,
}

impl Buffer {
    fn flush(&mut self) {
        if self.used > 0 {
            let bytes = &self.bytes[..self.used];
            // Without a debug channel there is nobody to tell.
            let _ = perform(Request::Text { call: Call::Print, first: sys::debug().0, bytes });
        }
        self.used = 0;
    }
}

impl Write for Buffer {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let mut rest = text;
        while !rest.is_empty() {
            let mut room = (PRINT_BYTES_MAX - self.used).min(rest.len());
            while !rest.is_char_boundary(room) {
                room -= 1;
            }
            if room == 0 {
                self.flush();
                continue;
            }
            let (now, later) = rest.split_at(room);
            self.bytes[self.used..self.used + room].copy_from_slice(now.as_bytes());
            self.used += room;
            rest = later;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::sys::{Request, host};
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::string::String;
    use std::vec::Vec;

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let pieces = Rc::new(RefCell::new(Vec::new()));
        let seen = pieces.clone();
        let _guard = host::script(move |request| {
            if let Request::Text { bytes, .. } = request {
                seen.borrow_mut().push(String::from_utf8(bytes.to_vec()).unwrap());
            }
            (0, 0)
        });
        let long = "ä".repeat(700);
        println!("x{long}");
        println!("");
        assert_eq!(pieces.borrow().len(), 3);
        assert_eq!(pieces.borrow().concat(), std::format!("x{long}"));
    }
}
