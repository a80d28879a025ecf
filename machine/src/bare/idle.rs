//! Waiting: interrupts on, processor halted, until the timer or the card.
//!
//! This is the only place where ring 0 takes interrupts, and it takes one at a time: the trap entry
//! (`interrupt_entry`) leaves the vector in `rax` and returns with interrupts off, so whatever
//! comes next stays with the interrupt controller until the next wait or the next entry into ring
//! 3. Nothing is saved there, because this function says that every register it uses may change.

use super::{apic, time};
use crate::event::Event;
use core::arch::asm;

/// Waits for the timer or the card. With a deadline, the timer is set to it first, unless it is
/// already.
///
/// The timer may be early: ask [`time::expired`]. Without a deadline, one that was armed before
/// still counts.
pub fn idle(deadline_ns: Option<u64>) -> Event {
    if let Some(deadline) = deadline_ns
        && time::armed() != deadline
    {
        time::arm(deadline);
    }
    loop {
        let vector: u64;
        // SAFETY: an interrupt's handler changes `rax` and flags only; `sti` takes effect after
        // `hlt` has begun, so none is missed. Should the processor wake without one, `rax` is 0.
        unsafe { asm!("xor eax, eax", "sti", "hlt", "cli", out("rax") vector) };
        if vector == u64::from(apic::NIC) {
            apic::acknowledge();
            return Event::Nic;
        }
        if vector != 0 {
            return apic::event(vector as u8);
        }
    }
}
