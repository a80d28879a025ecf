//! Interrupts: the local APIC with its timer, one pin of the I/O APIC, and the old PIC silenced.
//!
//! The local APIC is used through its registers in memory (xAPIC): TCG in QEMU 7.2 has no x2APIC
//! (decision 010). Vectors: 0x20 timer, 0x21 network card, 0xff spurious.

use super::paging::map_device;
use super::port::write8;
use super::time;
use crate::event::Event;
use core::sync::atomic::{AtomicPtr, Ordering};
use x86_64::registers::model_specific::{ApicBase, ApicBaseFlags};

const TIMER: u8 = 0x20;
/// The network card's vector.
pub(super) const NIC: u8 = 0x21;
const SPURIOUS: u8 = 0xff;

const ID: usize = 0x20;
const TASK_PRIORITY: usize = 0x80;
const END_OF_INTERRUPT: usize = 0xb0;
const SPURIOUS_VECTOR: usize = 0xf0;
const TIMER_VECTOR: usize = 0x320;
const TIMER_INITIAL: usize = 0x380;
const TIMER_CURRENT: usize = 0x390;
const TIMER_DIVIDE: usize = 0x3e0;
const ENABLE: u32 = 0x100;
const DIVIDE_BY_16: u32 = 3;

const IO_APIC: u64 = 0xfec0_0000;
const IO_APIC_DATA: usize = 0x10;

static REGISTERS: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());

/// Silences the PIC and switches the local APIC on, its timer stopped.
pub(super) fn init() {
    silence_pic();
    let (frame, flags) = ApicBase::read();
    assert!(!flags.contains(ApicBaseFlags::X2APIC_ENABLE), "firmware left the x2APIC on");
    let Some(base) = map_device(frame.start_address().as_u64(), 0x1000) else {
        panic!("the local APIC cannot be mapped");
    };
    REGISTERS.store(base, Ordering::Relaxed);
    write(TASK_PRIORITY, 0);
    write(SPURIOUS_VECTOR, ENABLE | u32::from(SPURIOUS));
    write(TIMER_DIVIDE, DIVIDE_BY_16);
    write(TIMER_VECTOR, u32::from(TIMER));
    write(TIMER_INITIAL, 0);
}

/// Starts the timer: one interrupt after so many ticks.
pub(super) fn start_timer(ticks: u32) {
    write(TIMER_INITIAL, ticks);
}

/// Ticks until the timer goes off.
pub(super) fn timer_left() -> u32 {
    read(TIMER_CURRENT)
}

/// This processor's APIC number: where interrupts are sent.
pub(super) fn id() -> u8 {
    (read(ID) >> 24) as u8
}

/// The interrupt was taken; the next one may come.
#[inline(always)]
pub(super) fn acknowledge() {
    write(END_OF_INTERRUPT, 0);
}

/// What an interrupt vector means. Acknowledges it.
pub(super) fn event(vector: u8) -> Event {
    if vector != SPURIOUS {
        acknowledge();
    }
    match vector {
        TIMER => {
            time::disarmed();
            Event::Timer
        }
        NIC => Event::Nic,
        other => Event::Spurious(other),
    }
}

/// Routes a pin of the first I/O APIC to the card's vector, edge-triggered. False if there is no
/// such pin.
pub(super) fn route(pin: u8) -> bool {
    let Some(base) = map_device(IO_APIC, 0x20) else { return false };
    let select = |register: u32, value: Option<u32>| {
        // SAFETY: the I/O APIC's index and data registers, just mapped.
        unsafe {
            base.cast::<u32>().write_volatile(register);
            let data = base.add(IO_APIC_DATA).cast::<u32>();
            if let Some(value) = value {
                data.write_volatile(value);
            }
            data.read_volatile()
        }
    };
    let pins = (select(1, None) >> 16 & 0xff) as u8;
    if pin > pins {
        return false;
    }
    let entry = 0x10 + 2 * u32::from(pin);
    select(entry + 1, Some(u32::from(id()) << 24));
    select(entry, Some(u32::from(NIC)));
    true
}

/// Moves the PIC's vectors out of the way of exceptions (firmware leaves them at 8) and masks it.
fn silence_pic() {
    let script = [
        (0x20, 0x11),
        (0xa0, 0x11), // initialise
        (0x21, 0xe0),
        (0xa1, 0xe8), // vectors
        (0x21, 4),
        (0xa1, 2), // cascade
        (0x21, 1),
        (0xa1, 1), // 8086 mode
        (0x21, 0xff),
        (0xa1, 0xff), // mask everything
    ];
    for (port, value) in script {
        // SAFETY: the PIC's ports, which have no effect on memory.
        unsafe { write8(port, value) };
    }
}

fn write(register: usize, value: u32) {
    let base = REGISTERS.load(Ordering::Relaxed);
    debug_assert!(!base.is_null());
    // SAFETY: `init` mapped the register page before anything else here is called; the offsets are
    // those of aligned 32-bit registers in it.
    unsafe { base.add(register).cast::<u32>().write_volatile(value) }
}

fn read(register: usize) -> u32 {
    let base = REGISTERS.load(Ordering::Relaxed);
    debug_assert!(!base.is_null());
    // SAFETY: as in `write`.
    unsafe { base.add(register).cast::<u32>().read_volatile() }
}
