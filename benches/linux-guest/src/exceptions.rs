//! A null call, and the way of a fault to its handler and back.
//!
//! The fault is Sluice's own: a load from the kernel's half, which no look-up of mappings delays.
//! The handler reads the counter in its first instruction.

use core::sync::atomic::{AtomicU64, Ordering};
use std::io;

use crate::clock;
use crate::init::check;

const ROUNDS: u32 = 64;

/// `getpid`, made by a bare `syscall`.
pub(crate) fn null_call() -> u64 {
    clock::least(|| {
        let result: i64;
        // SAFETY: `getpid` takes nothing and changes nothing; the kernel changes these three.
        unsafe {
            core::arch::asm!(
                "syscall",
                inlateout("rax") libc::SYS_getpid => result,
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack),
            );
        }
        result
    })
}

/// Makes `handler` the handler of segmentation faults.
pub(crate) fn on_fault(handler: usize) -> io::Result<()> {
    // SAFETY: all zeros is a `sigaction` with an empty mask.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = handler;
    // Not masked while it runs: the cheapest kind of handler.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
    // SAFETY: the handlers of this program keep to what a handler may do.
    let result = unsafe { libc::sigaction(libc::SIGSEGV, &action, core::ptr::null_mut()) };
    check(result.into()).map(drop)
}

/// When the handler's first instruction ran.
static WITHIN: AtomicU64 = AtomicU64::new(0);

/// Instructions from a fault to its handler, and from there to behind the faulting instruction.
pub(crate) fn fault() -> io::Result<(u64, u64)> {
    on_fault(handler as *const () as usize)?;
    let (mut to_handler, mut back) = (u64::MAX, u64::MAX);
    for _ in 0..ROUNDS {
        let mut times = [0; 4];
        // SAFETY: the load faults, and the handler goes on behind it; `times` has four words.
        unsafe { provoke(times.as_mut_ptr()) };
        let [a, b, before, after] = times;
        let within = WITHIN.load(Ordering::Relaxed);
        let reading = b.wrapping_sub(a);
        to_handler = to_handler.min(within.wrapping_sub(before).saturating_sub(reading));
        back = back.min(after.wrapping_sub(within).saturating_sub(reading));
    }
    Ok((to_handler, back))
}

/// Two readings of the counter in a row, one before the fault, one after it.
///
/// # Safety
///
/// `times` has room for four words; [`handler`] is the handler.
#[unsafe(naked)]
unsafe extern "C" fn provoke(times: *mut u64) {
    core::arch::naked_asm!(
        "mov r9, 0xffffffff80000000",
        "rdtsc",
        "mov [rdi], eax",
        "mov [rdi + 4], edx",
        "rdtsc",
        "mov [rdi + 8], eax",
        "mov [rdi + 12], edx",
        "rdtsc",
        "mov [rdi + 16], eax",
        "mov [rdi + 20], edx",
        // Three bytes, like every instruction that is meant to fault here.
        "mov rax, [r9]",
        "rdtsc",
        "mov [rdi + 24], eax",
        "mov [rdi + 28], edx",
        "ret",
    )
}

/// Where a signal's saved instruction pointer is, from the stack pointer of its handler on: behind
/// the return address lies the context.
const RIP: usize = 8 + core::mem::offset_of!(libc::ucontext_t, uc_mcontext) + REGISTER_RIP;
const REGISTER_RIP: usize = 8 * libc::REG_RIP as usize;

/// # Safety
///
/// Not to be called: only the kernel comes here.
#[unsafe(naked)]
unsafe extern "C" fn handler() {
    core::arch::naked_asm!(
        "rdtsc",
        "mov [rip + {within}], eax",
        "mov [rip + {within} + 4], edx",
        "add qword ptr [rsp + {rip}], 3",
        "ret",
        within = sym WITHIN,
        rip = const RIP,
    )
}
