//! Numbers that nobody guesses.

/// 64 bits of the processor's generator, stirred with its clock; without a generator only the
/// clock.
#[cfg(target_os = "none")]
pub fn entropy() -> u64 {
    // CPUID leaf 1, ECX bit 30 (Intel SDM, volume 2, CPUID).
    let clock = super::cycles();
    if core::arch::x86_64::__cpuid(1).ecx & 1 << 30 == 0 {
        return clock.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    // Ten tries, as the manual advises: it may be empty for a moment.
    (0..10).find_map(|_| generator()).unwrap_or(0).wrapping_add(clock)
}

#[cfg(target_os = "none")]
fn generator() -> Option<u64> {
    let (value, valid): (u64, u8);
    // SAFETY: the caller has seen that the processor has the instruction, which changes only its
    // destination and the flags.
    unsafe {
        core::arch::asm!(
            "rdrand {value}",
            "setc {valid}",
            value = out(reg) value,
            valid = out(reg_byte) valid,
            options(nomem, nostack),
        );
    }
    (valid != 0).then_some(value)
}

/// On the host runs repeat themselves.
#[cfg(not(target_os = "none"))]
pub fn entropy() -> u64 {
    0x5eed_5eed_5eed_5eed
}
