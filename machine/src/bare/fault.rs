//! The end: a fault in ring 0 or a panic, reported on the serial line, then a non-zero exit.
//!
//! The report trusts nothing: the frame-pointer chain is followed only inside the kernel's stacks,
//! upwards, and for a bounded number of steps; a fault during the report ends it.

use super::cpu::{current_root, this_cpu};
use super::port::write8;
use super::serial::print;
use super::trap::TrapFrame;
use super::user::fault_address;
use super::{serial, stack, symbols};
use crate::limits::BACKTRACE_MAX;
use core::arch::asm;
use core::panic::PanicInfo;
use core::sync::atomic::Ordering;

/// What QEMU's `isa-debug-exit` is told when the kernel dies.
const DEAD: u8 = 0x7f;

const NAMES: [&str; 32] = [
    "divide error",
    "debug",
    "NMI",
    "breakpoint",
    "overflow",
    "bound range",
    "invalid opcode",
    "no x87",
    "double fault",
    "9",
    "invalid TSS",
    "segment not present",
    "stack fault",
    "general protection",
    "page fault",
    "15",
    "x87",
    "alignment check",
    "machine check",
    "SIMD",
    "virtualization",
    "control protection",
    "22",
    "23",
    "24",
    "25",
    "26",
    "27",
    "hypervisor injection",
    "VMM communication",
    "security",
    "31",
];

/// Reports a fault in ring 0.
pub(super) fn report(frame: &TrapFrame) -> ! {
    die_once();
    let name = NAMES.get(frame.vector as usize).copied().unwrap_or("unknown");
    print(format_args!(
        "\nkernel fault: {name} (vector {}, error {:#x})\n",
        frame.vector, frame.error
    ));
    print(format_args!("cr2 {:016x}  cr3 {:016x}\n", fault_address(), current_root()));
    let f = frame;
    let rows = [
        [("rip", f.rip), ("rsp", f.rsp), ("rbp", f.rbp), ("flg", f.rflags)],
        [("rax", f.rax), ("rbx", f.rbx), ("rcx", f.rcx), ("rdx", f.rdx)],
        [("rsi", f.rsi), ("rdi", f.rdi), ("r8 ", f.r8), ("r9 ", f.r9)],
        [("r10", f.r10), ("r11", f.r11), ("r12", f.r12), ("r13", f.r13)],
        [("r14", f.r14), ("r15", f.r15), ("cs ", f.cs), ("ss ", f.ss)],
    ];
    for row in rows {
        for (name, value) in row {
            print(format_args!("{name} {value:016x}  "));
        }
        print(format_args!("\n"));
    }
    backtrace(frame.rip, frame.rbp);
    exit(DEAD)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    die_once();
    print(format_args!("\nkernel panic: {}\n", info.message()));
    if let Some(at) = info.location() {
        print(format_args!("at {}:{}\n", at.file(), at.line()));
    }
    let (rip, rbp): (u64, u64);
    // SAFETY: reads two registers.
    unsafe {
        asm!("lea {}, [rip]", "mov {}, rbp", out(reg) rip, out(reg) rbp, options(nomem, nostack));
    }
    backtrace(rip, rbp);
    exit(DEAD)
}

/// A second fault or panic, in the middle of reporting the first, ends the machine at once.
fn die_once() {
    if this_cpu().dying.swap(true, Ordering::Relaxed) {
        exit(DEAD);
    }
    // SAFETY: both callers report and exit.
    unsafe { serial::seize() };
}

/// Prints return addresses, by frame pointers (`-Cforce-frame-pointers`).
fn backtrace(rip: u64, rbp: u64) {
    print(format_args!("backtrace:\n"));
    line(rip);
    let Some(range) = stack::ranges().into_iter().find(|range| range.contains(&rbp)) else {
        return;
    };
    let mut at = rbp;
    for _ in 0..BACKTRACE_MAX {
        if !at.is_multiple_of(8) || !range.contains(&at) || range.end - at < 16 {
            return;
        }
        // SAFETY: two aligned words inside a stack that is mapped.
        let (next, back) = unsafe { ((at as *const u64).read(), (at as *const u64).add(1).read()) };
        if back == 0 {
            return;
        }
        line(back);
        if next <= at {
            return;
        }
        at = next;
    }
}

fn line(address: u64) {
    match symbols::find(address) {
        Some((name, offset)) => {
            let name = rustc_demangle::demangle(name);
            print(format_args!("  {address:016x} {name:#}+{offset:#x}\n"));
        }
        None => print(format_args!("  {address:016x}\n")),
    }
}

/// Ends the machine: QEMU's `isa-debug-exit` turns `code` into the status `code * 2 + 1`. Without
/// that device the processor halts for good.
pub fn exit(code: u8) -> ! {
    // SAFETY: the debug-exit port has no effect on memory.
    unsafe { write8(0xf4, code) };
    print(format_args!("halted (code {code:#x}, no isa-debug-exit device)\n"));
    loop {
        // SAFETY: interrupts off for good.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
