//! `syscall`: the null call, transfers and short calls in here, the rest on to the kernel.
//!
//! `Null` is answered where it arrives, in 6 instructions. A short call runs
//! [`crate::Short::short`] below the frame of [`stay`], on the kernel's stack, with ring 3's
//! registers where they are or on that stack: 39 instructions there and back besides the kernel's
//! own. Whatever else comes ([`syscall_store`]) ends the stay.
//!
//! What keeps this sound: [`stay`] lends its kernel to the entry code for as long as it waits for
//! ring 3, and no longer (the set of short calls is empty outside of it); the context that ring 3
//! left must be there when the answer has been found ([`UserContext`]'s drop sees to it).

use super::cpu::{CPU, Cpu, this_cpu};
use super::transfer::transfer_entry;
use super::user::{CONTEXT, FLAGS_ALLOWED, FLAGS_FORCED, KERNEL_STACK, USER_STACK};
use super::user::{UserContext, syscall_store};
use super::yields::yield_entry;
use crate::event::Event;
use crate::short::{Answer, Short};
use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::Ordering::Relaxed;

/// The `rax` that says that a call is not a short one.
const LONG: u64 = u64::MAX;
/// No context's number.
pub(super) const NOBODY: u64 = u64::MAX;

/// Runs ring 3 in the context of this number, and in those that the kernel switches to, until it
/// stops for something that is no short call; `None` if there is no such context. Otherwise as
/// [`UserContext::enter`].
pub fn stay<K: Short>(kernel: &mut K, number: u64) -> Option<Event> {
    let calls = kernel.calls();
    let lent: *mut K = kernel;
    let cpu = this_cpu();
    cpu.short_answer.store(answer::<K> as *const () as u64, Relaxed);
    cpu.short_kernel.store(lent as u64, Relaxed);
    let mut next = number;
    let event = loop {
        // SAFETY: just made from a reference, which is not used again. This one ends before `run`.
        let Some((context, space)) = unsafe { &mut *lent }.place(next) else { break None };
        if let Some(event) = context.prepare(space) {
            break Some(event);
        }
        let context: *mut UserContext = context;
        cpu.short_calls.store(calls, Relaxed);
        // SAFETY: prepared just now, and alive: `Short` does not end contexts while they stay,
        // which their drop checks.
        let event = unsafe { UserContext::run(context) };
        next = cpu.switch.load(Relaxed);
        if event != Event::Answered || next == NOBODY {
            break Some(event);
        }
        cpu.switch.store(NOBODY, Relaxed);
    };
    cpu.short_calls.store(0, Relaxed);
    event
}

/// Status and value, in the registers that ring 3 finds them in.
#[repr(C)]
struct Pair(u64, u64);

/// Asks the kernel for the answer to a short call.
///
/// # Safety
///
/// Only the entry code calls it, with what [`stay`] lent and with ring 3's arguments.
unsafe extern "C" fn answer<K: Short>(
    kernel: *mut K,
    call: u64,
    arguments: *const [u64; 6],
) -> Pair {
    let context = this_cpu().context.load(Relaxed) as *const UserContext;
    // SAFETY: the entry code's context is the one that ran, and alive (`stay`).
    let number = unsafe { (*context).number() };
    // SAFETY: what `stay` lent; it does not touch it before ring 3 has stopped, and the entry code
    // calls nobody else with it.
    let kernel = unsafe { &mut *kernel };
    // SAFETY: six words on the stack above this frame.
    let arguments = unsafe { &*arguments };
    match kernel.short(number, call, arguments) {
        Answer::Go(status, value) => Pair(status, value),
        Answer::Stop(status, value) => stop(status, value, NOBODY),
        Answer::Switch(status, value, next) => stop(status, value, next),
        Answer::Long => Pair(LONG, 0),
    }
}

/// Takes the whole way out, with the answer in hand.
fn stop(status: u64, value: u64, next: u64) -> Pair {
    let cpu = this_cpu();
    cpu.answer[0].store(status, Relaxed);
    cpu.answer[1].store(value, Relaxed);
    cpu.answered.store(1, Relaxed);
    cpu.switch.store(next, Relaxed);
    Pair(LONG, 0)
}

unsafe extern "C" {
    /// Where `syscall` arrives: still on the user's stack, `rcx` the return address, `r11` the
    /// flags. Only the processor comes here, from ring 3.
    pub(super) fn syscall_entry();
}

global_asm!(
    r#"
    .text
    .balign 16
    .global syscall_entry, short_entry
syscall_entry:
    test rax, rax
    jz 2f
    mov [rip + {cpu} + {user_stack}], rsp
    cmp rax, {transfer_sync}
    je {transfer}
    cmp rax, {yield_}
    je {yields}
short_entry:
    mov rsp, [rip + {cpu} + {calls}]
    bt rsp, rax
    jnc 4f
    mov rsp, [rip + {cpu} + {kernel_stack}]
    mov [rip + {cpu} + {call}], rax
    push rcx
    push r11
    push rbp
    push r9                            # the six arguments, the last one first
    push r8
    push r10
    push rdx
    push rsi
    push rdi
    mov rbp, [rsp + 112]               # for backtraces: that of `run`
    mov rdi, [rip + {cpu} + {kernel}]
    mov rsi, rax
    mov rdx, rsp
    call [rip + {cpu} + {answer}]
    cmp rax, -1
    je 3f
    pop rdi
    pop rsi
    add rsp, 8                         # `rdx` is the value
    pop r10
    pop r8
    pop r9
    pop rbp
    pop r11
    pop rcx
    mov rsp, [rip + {cpu} + {user_stack}]
    and r11d, {allowed}
    or r11d, {forced}
    sysretq
2:                                     # the null call: `rax` is its status as well
    mov edx, {version}
    and r11d, {allowed}
    or r11d, {forced}
    sysretq
3:                                     # the whole way after all, as if nothing had been asked
    mov rax, [rip + {cpu} + {call}]
    pop rdi
    pop rsi
    pop rdx
    pop r10
    pop r8
    pop r9
    pop rbp
    pop r11
    pop rcx
4:
    mov rsp, [rip + {cpu} + {context}]
    jmp {store}
    "#,
    cpu = sym CPU,
    store = sym syscall_store,
    transfer = sym transfer_entry,
    yields = sym yield_entry,
    context = const CONTEXT,
    kernel_stack = const KERNEL_STACK,
    user_stack = const USER_STACK,
    calls = const offset_of!(Cpu, short_calls),
    call = const offset_of!(Cpu, short_call),
    kernel = const offset_of!(Cpu, short_kernel),
    answer = const offset_of!(Cpu, short_answer),
    yield_ = const abi::Call::Yield as u64,
    transfer_sync = const abi::Call::TransferSync as u64,
    version = const abi::VERSION,
    allowed = const FLAGS_ALLOWED,
    forced = const FLAGS_FORCED,
);

const _: () = assert!(abi::Call::Null as u64 == 0 && abi::Status::Ok as u64 == 0);
