//! A computation that lives in vector registers, to show that preemption keeps them.
//!
//! The target is compiled without vector instructions, so the registers are the assembly's alone:
//! what is in them between two instructions survives only if the kernel saves it.

/// Adds `step` to each of eight vector registers `rounds` times, beginning with `seed + i`, and
/// returns the wrapping sum of all lanes. On the host it is computed plainly.
#[cfg(target_os = "none")]
pub fn vector_sum(seed: u64, step: u64, rounds: u64) -> u64 {
    let mut lanes = [0u64; 16];
    for (i, lane) in lanes.iter_mut().enumerate() {
        *lane = seed.wrapping_add(i as u64);
    }
    let steps = [step; 2];
    // SAFETY: reads and writes `lanes` and reads `steps`, both borrowed for the block; xmm0 to
    // xmm8 belong to nobody else, since the target has no vector registers.
    unsafe {
        core::arch::asm!(
            "movdqu xmm0, [{lanes}]",
            "movdqu xmm1, [{lanes} + 16]",
            "movdqu xmm2, [{lanes} + 32]",
            "movdqu xmm3, [{lanes} + 48]",
            "movdqu xmm4, [{lanes} + 64]",
            "movdqu xmm5, [{lanes} + 80]",
            "movdqu xmm6, [{lanes} + 96]",
            "movdqu xmm7, [{lanes} + 112]",
            "movdqu xmm8, [{steps}]",
            "test {rounds}, {rounds}",
            "jz 3f",
            "2:",
            "paddq xmm0, xmm8",
            "paddq xmm1, xmm8",
            "paddq xmm2, xmm8",
            "paddq xmm3, xmm8",
            "paddq xmm4, xmm8",
            "paddq xmm5, xmm8",
            "paddq xmm6, xmm8",
            "paddq xmm7, xmm8",
            "dec {rounds}",
            "jnz 2b",
            "3:",
            "movdqu [{lanes}], xmm0",
            "movdqu [{lanes} + 16], xmm1",
            "movdqu [{lanes} + 32], xmm2",
            "movdqu [{lanes} + 48], xmm3",
            "movdqu [{lanes} + 64], xmm4",
            "movdqu [{lanes} + 80], xmm5",
            "movdqu [{lanes} + 96], xmm6",
            "movdqu [{lanes} + 112], xmm7",
            lanes = in(reg) lanes.as_mut_ptr(),
            steps = in(reg) steps.as_ptr(),
            rounds = inout(reg) rounds => _,
            options(nostack),
        );
    }
    lanes.iter().fold(0, |sum, lane| sum.wrapping_add(*lane))
}

/// As on the machine, without vector registers.
#[cfg(not(target_os = "none"))]
pub fn vector_sum(seed: u64, step: u64, rounds: u64) -> u64 {
    expected_sum(seed, step, rounds)
}

/// What [`vector_sum`] returns if no register was lost.
pub fn expected_sum(seed: u64, step: u64, rounds: u64) -> u64 {
    let begin = (0..16).fold(0u64, |sum, i| sum.wrapping_add(seed).wrapping_add(i));
    begin.wrapping_add(step.wrapping_mul(rounds).wrapping_mul(16))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_closed_form_adds_up() {
        assert_eq!(super::expected_sum(0, 0, 9), 120);
        assert_eq!(super::expected_sum(1, 2, 3), 136 + 96);
        assert_eq!(super::vector_sum(u64::MAX, 1, 1), 120);
    }
}
