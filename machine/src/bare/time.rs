//! Time: the cycle counter, calibrated at boot against the PIT, and the APIC timer likewise.
//!
//! A calibration point is the PIT's count and the cycle counter read as close together as five
//! tries allow, so that being descheduled in between spoils one try and not the result. Under
//! `-icount` cycles are instructions, and everything here is the same from run to run.

use super::apic;
use super::port::{read8, write8};
use core::arch::x86_64::_rdtsc;
use core::sync::atomic::{AtomicU64, Ordering};

const PIT_HZ: u64 = 1_193_182;
/// How long one interval of the calibration takes, in PIT ticks (5 ms).
const CALIBRATION: u16 = 5_966;
/// Intervals that are compared.
const INTERVALS: usize = 4;
const NANOSECONDS: u128 = 1_000_000_000;

static BASE: AtomicU64 = AtomicU64::new(0);
static HZ: AtomicU64 = AtomicU64::new(0);
/// Nanoseconds per cycle, times 2^32.
static SCALE: AtomicU64 = AtomicU64::new(0);
/// Timer ticks per nanosecond, times 2^32.
static TIMER_SCALE: AtomicU64 = AtomicU64::new(0);
/// The deadline that the timer is set to; [`NEVER`] once it has gone off.
static ARMED: AtomicU64 = AtomicU64::new(NEVER);
/// No deadline: zero is one, which has passed.
const NEVER: u64 = u64::MAX;

/// Monotonic nanoseconds since boot.
#[inline]
pub fn now_ns() -> u64 {
    let elapsed = cycles().wrapping_sub(BASE.load(Ordering::Relaxed));
    ((u128::from(elapsed) * u128::from(SCALE.load(Ordering::Relaxed))) >> 32) as u64
}

/// The cycle counter.
#[inline]
pub fn cycles() -> u64 {
    // SAFETY: every x86-64 processor has it.
    unsafe { _rdtsc() }
}

/// Cycles per second.
pub fn tsc_hz() -> u64 {
    HZ.load(Ordering::Relaxed)
}

/// How counts become time: the count when the clock began, and nanoseconds for each, times 2^32.
pub fn calibration() -> (u64, u64) {
    (BASE.load(Ordering::Relaxed), SCALE.load(Ordering::Relaxed))
}

/// Sets the timer. It goes off once, at the deadline or, if that is more than a minute away,
/// earlier: ask [`expired`]. A deadline that has passed goes off at once.
pub fn arm(deadline_ns: u64) {
    ARMED.store(deadline_ns, Ordering::Relaxed);
    let left = u128::from(deadline_ns.saturating_sub(now_ns()));
    let ticks = (left * u128::from(TIMER_SCALE.load(Ordering::Relaxed))) >> 32;
    apic::start_timer(u32::try_from(ticks).unwrap_or(u32::MAX).max(1));
}

/// The deadline that the timer is set to; `u64::MAX`: none.
#[inline]
pub(super) fn armed() -> u64 {
    ARMED.load(Ordering::Relaxed)
}

/// The timer has gone off.
#[inline]
pub(super) fn disarmed() {
    ARMED.store(NEVER, Ordering::Relaxed);
}

/// Whether this deadline has passed.
pub fn expired(deadline_ns: u64) -> bool {
    now_ns() >= deadline_ns
}

struct Point {
    cycles: u64,
    pit: u16,
    timer: u32,
}

/// Measures the cycle counter and the APIC timer. Panics without a working PIT.
pub(super) fn init() {
    // SAFETY: the speaker's port and the PIT's: gate channel 2, speaker off, count down from the
    // top in mode 0. No effect on memory.
    unsafe {
        write8(0x61, read8(0x61) & !2 | 1);
        write8(0x43, 0xb0);
        write8(0x42, 0xff);
        write8(0x42, 0xff);
    }
    apic::start_timer(u32::MAX);
    let first = interval();
    // Who is descheduled for long misses a turn of the PIT, and takes cycles for too many: never
    // for too few.
    let best = (1..INTERVALS).map(|_| interval()).fold(first, Interval::slower);
    apic::start_timer(0);
    let Interval { nanoseconds, cycles, timer } = best;
    let store = |to: &AtomicU64, value: u128| to.store(value as u64, Ordering::Relaxed);
    store(&HZ, cycles * NANOSECONDS / nanoseconds);
    store(&SCALE, (nanoseconds << 32) / cycles);
    store(&TIMER_SCALE, (timer << 32) / nanoseconds);
    store(&BASE, u128::from(self::cycles()));
}

/// What passed between two points.
struct Interval {
    nanoseconds: u128,
    cycles: u128,
    timer: u128,
}

impl Interval {
    /// The one with fewer cycles per nanosecond.
    fn slower(self, other: Self) -> Self {
        if self.cycles * other.nanoseconds <= other.cycles * self.nanoseconds {
            self
        } else {
            other
        }
    }
}

/// Waits for [`CALIBRATION`].
fn interval() -> Interval {
    let from = point();
    let mut patience = 100_000_u32;
    let to = loop {
        let to = point();
        if from.pit.wrapping_sub(to.pit) >= CALIBRATION {
            break to;
        }
        patience -= 1;
        assert!(patience > 0, "the PIT does not count: the clock cannot be calibrated");
    };
    let ticks = u128::from(from.pit.wrapping_sub(to.pit));
    Interval {
        nanoseconds: ticks * NANOSECONDS / u128::from(PIT_HZ),
        cycles: u128::from(to.cycles - from.cycles).max(1),
        timer: u128::from(from.timer.wrapping_sub(to.timer)),
    }
}

/// The tightest of five readings.
fn point() -> Point {
    let mut best = (u64::MAX, Point { cycles: 0, pit: 0, timer: 0 });
    for _ in 0..5 {
        let before = cycles();
        // SAFETY: latches channel 2 of the PIT and reads it. No effect on memory.
        let pit = unsafe {
            write8(0x43, 0x80);
            u16::from_le_bytes([read8(0x42), read8(0x42)])
        };
        let timer = apic::timer_left();
        let after = cycles();
        if after - before < best.0 {
            best = (after - before, Point { cycles: before, pit, timer });
        }
    }
    best.1
}
