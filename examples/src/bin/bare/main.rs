//! A library OS that links neither library: the ABI as it looks from outside.
//!
//! Reads its start block by hand, binds a filter and a handler that were assembled when it was
//! built, and sleeps: UDP port 9 is echoed by the kernel. Numbers are those of `docs/abi.md`. It is
//! the one program outside `libos/src/sys/` with unsafe code, because it has nobody to have it for
//! it.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

mod block;

use core::arch::{asm, naked_asm};

use block::Reader;

static FILTER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/port9.bpf"));
static ECHO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/echo.bpf"));

const EXIT: u64 = 1;
const WAIT: u64 = 3;
const PRINT: u64 = 4;
const BIND: u64 = 42;

/// Words of a bind request, in order.
#[repr(C)]
struct BindRequest {
    filter: (u64, u64),
    ash: (u64, u64),
    control_page: u64,
    rx_pages: (u64, u64),
    tx_pages: (u64, u64),
    refusal: (u64, u64),
    flags: u64,
}

const _: () = assert!(size_of::<BindRequest>() == 12 * 8);

/// Where the kernel enters, with the start block's address in `rdi`.
#[unsafe(no_mangle)]
#[unsafe(naked)]
extern "C" fn _start() -> ! {
    naked_asm!("xor ebp, ebp", "and rsp, -16", "call {main}", "ud2", main = sym main)
}

extern "C" fn main(block: *const u8) -> ! {
    // SAFETY: the start block is a `u32` length and as many bytes, written before this program
    // started and never again.
    let block = unsafe {
        let length = block.cast::<u32>().read_unaligned() as usize;
        core::slice::from_raw_parts(block.add(4), length)
    };
    let debug = Reader::new(block).handle("debug").unwrap_or(0);
    let Some(grant) = Reader::new(block).handle("grant:bare") else {
        print(debug, "no grant");
        call(EXIT, [1, 0, 0]);
        unreachable()
    };
    let request = BindRequest {
        filter: (FILTER.as_ptr() as u64, FILTER.len() as u64),
        ash: (ECHO.as_ptr() as u64, ECHO.len() as u64),
        control_page: 0,
        rx_pages: (0, 0),
        tx_pages: (0, 0),
        refusal: (0, 0),
        flags: 0,
    };
    let status = call(BIND, [grant, core::ptr::from_ref(&request) as u64, 0]);
    if status != 0 {
        print(debug, "the kernel refused to bind port 9");
        call(EXIT, [status, 0, 0]);
        unreachable()
    }
    print(debug, "port 9 is answered in the kernel, without a library");
    loop {
        call(WAIT, [u64::MAX, 0, 0]);
    }
}

fn print(debug: u64, text: &str) {
    call(PRINT, [debug, text.as_ptr() as u64, text.len() as u64]);
}

fn call(number: u64, [a, b, c]: [u64; 3]) -> u64 {
    let status;
    // SAFETY: the calls used here write no memory, and read only what their arguments borrow.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => status,
            in("rdi") a,
            in("rsi") b,
            inlateout("rdx") c => _,
            in("r10") 0,
            in("r8") 0,
            in("r9") 0,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    status
}

/// After a call that does not return.
fn unreachable() -> ! {
    loop {
        core::hint::spin_loop();
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    call(EXIT, [101, 0, 0]);
    unreachable()
}
