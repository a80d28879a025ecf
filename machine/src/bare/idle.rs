//! Waiting: interrupts on, processor halted, until the timer or the card.
//!
//! This is the only place where ring 0 takes interrupts. Several may come before `cli`; each is
//! remembered in the per-CPU record, and reported one at a time, by here or by the next entry into
//! ring 3.

use super::cpu::this_cpu;
use super::{apic, time};
use crate::event::Event;
use core::arch::asm;
use core::sync::atomic::Ordering;

const TIMER: u64 = 1;
const NIC: u64 = 2;
/// A spurious vector is kept above the flags; the latest wins.
const SPURIOUS_SHIFT: u32 = 8;

/// Waits for the timer or the card. With a deadline, the timer is set to it first.
///
/// The timer may be early: ask [`time::expired`]. Without a deadline, one that was armed before
/// still counts.
pub fn idle(deadline_ns: Option<u64>) -> Event {
    if let Some(event) = pending() {
        return event;
    }
    if let Some(deadline) = deadline_ns {
        time::arm(deadline);
    }
    loop {
        // SAFETY: an interrupt's handler (`interrupted`) touches only the per-CPU record and the
        // interrupt controller; `sti` takes effect after `hlt` has begun, so none is missed.
        unsafe { asm!("sti", "hlt", "cli") };
        if let Some(event) = pending() {
            return event;
        }
    }
}

/// An interrupt that came while idle and was not reported yet.
pub(super) fn pending() -> Option<Event> {
    let cpu = this_cpu();
    let pending = cpu.pending.load(Ordering::Relaxed);
    if pending == 0 {
        return None;
    }
    let (event, rest) = if pending & NIC != 0 {
        (Event::Nic, pending & !NIC)
    } else if pending & TIMER != 0 {
        (Event::Timer, pending & !TIMER)
    } else {
        (Event::Spurious((pending >> SPURIOUS_SHIFT) as u8), 0)
    };
    cpu.pending.store(rest, Ordering::Relaxed);
    Some(event)
}

/// Remembers an interrupt that came in ring 0.
pub(super) fn interrupted(vector: u8) {
    let cpu = this_cpu();
    let bits = match apic::event(vector) {
        Event::Timer => TIMER,
        Event::Nic => NIC,
        _ => u64::from(vector) << SPURIOUS_SHIFT,
    };
    let flags = cpu.pending.load(Ordering::Relaxed);
    let keep = if bits < 1 << SPURIOUS_SHIFT { u64::MAX } else { TIMER | NIC };
    cpu.pending.store(flags & keep | bits, Ordering::Relaxed);
}
