//! Where things are: the kernel's half of the address space.
//!
//! | from | what |
//! |---|---|
//! | `PHYS_BASE` | all memory, never executable; writable but for the exceptions below |
//! | `MMIO_BASE` | device registers, uncached, mapped while booting |
//! | `KERNEL_BASE` | the kernel image, by section |
//! | `CODE_BASE` | the code window |
//!
//! The physical map leaves the code window's frames out and shows the kernel's text and constants
//! read-only, so that no page can be both written and executed, at any address.
//!
//! The last two are within 2 GiB, so that generated code reaches the kernel with 32-bit offsets.

use core::ops::Range;

/// Start of the physical map.
pub(super) const PHYS_BASE: u64 = 0xffff_8000_0000_0000;
/// Bytes of the physical map: one entry of the root table. Memory beyond it is left alone.
pub(super) const PHYS_SIZE: u64 = 512 << 30;
/// Start of the device window: one entry of the root table.
pub(super) const MMIO_BASE: u64 = 0xffff_9000_0000_0000;
/// Where physical address 0 would be, for the kernel image (the same number in `kernel.ld`).
pub(super) const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;
/// Start of the code window.
pub(super) const CODE_BASE: u64 = 0xffff_ffff_c000_0000;

unsafe extern "C" {
    static image_start: u8;
    static image_end: u8;
    static text_start: u8;
    static text_end: u8;
    static rodata_start: u8;
    static rodata_end: u8;
    static data_start: u8;
}

/// The kernel image's parts, as virtual addresses, page aligned.
pub(super) struct Image {
    /// Readable and executable.
    pub(super) text: Range<u64>,
    /// Readable.
    pub(super) rodata: Range<u64>,
    /// Readable and writable, zero-initialised memory included.
    pub(super) data: Range<u64>,
}

/// Asks the linker where the image's parts are.
pub(super) fn image() -> Image {
    let at = |symbol: *const u8| symbol as u64;
    Image {
        text: at(&raw const text_start)..at(&raw const text_end),
        rodata: at(&raw const rodata_start)..at(&raw const rodata_end),
        data: at(&raw const data_start)..at(&raw const image_end),
    }
}

/// The physical memory that the image takes.
pub(super) fn image_frames() -> Range<u64> {
    (&raw const image_start) as u64 - KERNEL_BASE..(&raw const image_end) as u64 - KERNEL_BASE
}

/// Where the physical map shows this physical address.
#[inline(always)]
pub(super) fn phys_to_virt(phys: u64) -> *mut u8 {
    debug_assert!(phys < PHYS_SIZE);
    (PHYS_BASE + phys) as *mut u8
}

/// The physical address of something in the physical map. Anything else is a kernel bug.
#[inline(always)]
pub(super) fn virt_to_phys(virt: *const u8) -> u64 {
    let phys = (virt as u64).wrapping_sub(PHYS_BASE);
    assert!(phys < PHYS_SIZE, "{virt:p} is not in the physical map");
    phys
}
