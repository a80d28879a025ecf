//! COM1: text for people, through `log` and from fault reports.
//!
//! [`print`] may be called from anywhere, a fault in the middle of another `print` included: then
//! the nested text is dropped rather than the machine hung.

use super::cell::OneCpu;
use core::fmt::{Arguments, Write};
use log::{Log, Metadata, Record};
use uart_16550::backend::PioBackend;
use uart_16550::{Config, Uart16550Tty};

static COM1: OneCpu<Option<Uart16550Tty<PioBackend>>> = OneCpu::new(None);

/// Prints text. Without a working COM1 it goes nowhere.
pub fn print(text: Arguments<'_>) {
    COM1.try_with(|port| {
        if let Some(port) = port {
            let _ = port.write_fmt(text);
        }
    });
}

/// Makes sure that the next [`print`] is heard, whoever was printing.
///
/// # Safety
///
/// What runs now never returns to what it interrupted.
pub(super) unsafe fn seize() {
    // SAFETY: as promised by the caller.
    unsafe { COM1.seize() };
}

/// Sets the port up and makes it the destination of `log`; the level stays off until it is set.
pub(super) fn init() {
    // SAFETY: 0x3f8 is COM1 on every PC, and only this module touches it.
    let port = unsafe { Uart16550Tty::new_port(0x3f8, Config::default()) };
    COM1.with(|slot| *slot = port.ok());
    let _ = log::set_logger(&SerialLog);
}

struct SerialLog;

impl Log for SerialLog {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        print(format_args!("{:5} {}: {}\n", record.level(), record.target(), record.args()));
    }

    fn flush(&self) {}
}
