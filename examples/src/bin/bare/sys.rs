//! Start-up and the call instruction, since there is no library to have them.
//!
//! The one file outside `libos/src/sys/` with unsafe code in ring 3. A call's pointers come from
//! borrowed slices, as everywhere: [`Call`] says which of them the kernel reads.
#![allow(unsafe_code)]

use core::arch::{asm, naked_asm};

use crate::{BindRequest, main};

const EXIT: u64 = 1;
const WAIT: u64 = 3;
const PRINT: u64 = 4;
const BIND: u64 = 42;

/// The calls that this program makes.
pub(crate) enum Call<'a> {
    /// Ends the program with this code.
    Exit(u64),
    /// Sleeps until something happens.
    Wait,
    /// A line of text on this debug channel.
    Print(u64, &'a str),
    /// A binding under this grant.
    Bind(u64, &'a BindRequest<'a>),
}

/// Where the kernel enters, with the start block's address in `rdi`.
#[unsafe(no_mangle)]
#[unsafe(naked)]
extern "C" fn _start() -> ! {
    naked_asm!("xor ebp, ebp", "and rsp, -16", "call {start}", "ud2", start = sym start)
}

extern "C" fn start(block: *const u8) -> ! {
    // SAFETY: the start block is a `u32` length and as many bytes, written before this program
    // started and never again.
    let block = unsafe {
        let length = block.cast::<u32>().read_unaligned() as usize;
        core::slice::from_raw_parts(block.add(4), length)
    };
    exit(main(block))
}

fn exit(code: u64) -> ! {
    loop {
        call(&Call::Exit(code));
    }
}

/// Makes the call: its status.
pub(crate) fn call(what: &Call<'_>) -> u64 {
    match what {
        Call::Exit(code) => registers(EXIT, [*code, 0, 0]),
        Call::Wait => registers(WAIT, [u64::MAX, 0, 0]),
        Call::Print(debug, text) => {
            registers(PRINT, [*debug, text.as_ptr() as u64, text.len() as u64])
        }
        Call::Bind(grant, request) => {
            let [filter, ash] = [request.filter, request.ash];
            // Filter, handler, control page, receive pages, transmit pages, refusal, flags.
            let block: [u64; 12] = [
                filter.as_ptr() as u64,
                filter.len() as u64,
                ash.as_ptr() as u64,
                ash.len() as u64,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
            ];
            registers(BIND, [*grant, core::ptr::from_ref(&block) as u64, 0])
        }
    }
}

fn registers(number: u64, [a, b, c]: [u64; 3]) -> u64 {
    let status;
    // SAFETY: the calls above write no memory, and read only what their arguments borrow.
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

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(101)
}
