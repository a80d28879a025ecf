//! The time-stamp counter around a piece of work.

/// How often what is short is timed; the least counts.
const ROUNDS: u32 = 64;

/// The counter.
#[inline(always)]
pub(crate) fn cycles() -> u64 {
    // SAFETY: every x86-64 has it, and Linux lets user programs read it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// One timing.
pub(crate) fn once<R>(work: impl FnOnce() -> R) -> u64 {
    let before = cycles();
    std::hint::black_box(work());
    cycles().wrapping_sub(before)
}

/// The least of many timings.
pub(crate) fn least<R>(mut work: impl FnMut() -> R) -> u64 {
    (0..ROUNDS).map(|_| once(&mut work)).min().unwrap_or_default()
}

/// The least of many timings, with something undone, or got ready, before each.
pub(crate) fn least_after<R>(mut ready: impl FnMut(), mut work: impl FnMut() -> R) -> u64 {
    let timing = |_| {
        ready();
        once(&mut work)
    };
    (0..ROUNDS).map(timing).min().unwrap_or_default()
}
