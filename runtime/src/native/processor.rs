//! What generated code may use of this processor.
//!
//! Asked once by `CPUID` and kept. Everything else that is emitted runs on any x86-64.

use core::sync::atomic::{AtomicU8, Ordering};

/// Not asked yet, no, yes.
static BMI2: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 2;

/// Whether there are shifts by a register other than `cl` (Intel SDM volume 2A, CPUID leaf 7).
#[must_use]
pub fn bmi2() -> bool {
    match BMI2.load(Ordering::Relaxed) {
        UNKNOWN => {
            let has = asked();
            BMI2.store(u8::from(has), Ordering::Relaxed);
            has
        }
        known => known == 1,
    }
}

#[cfg(target_arch = "x86_64")]
fn asked() -> bool {
    use core::arch::x86_64::{__cpuid, __cpuid_count};
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).ebx >> 8 & 1 == 1
}

#[cfg(not(target_arch = "x86_64"))]
fn asked() -> bool {
    false
}
