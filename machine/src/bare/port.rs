//! Port input and output, for the old devices.

use x86_64::instructions::port::Port;

/// Reads a byte from a port.
///
/// # Safety
///
/// Reading it has no effect on memory.
pub(super) unsafe fn read8(port: u16) -> u8 {
    // SAFETY: as promised by the caller.
    unsafe { Port::new(port).read() }
}

/// Writes a byte to a port.
///
/// # Safety
///
/// Writing it has no effect on memory.
pub(super) unsafe fn write8(port: u16, value: u8) {
    // SAFETY: as promised by the caller.
    unsafe { Port::new(port).write(value) }
}
