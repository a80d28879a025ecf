//! A slice given to somebody by name: from one ring-3 context straight on with another one.
//!
//! As with transfers (`transfer`), the first time is the kernel's: it checks, and opens a *gate*
//! for the handle. From then on the entry code itself goes on with the heir, in 86 instructions, if
//! the heir's own last act was to give a slice away, so that it waits for nothing but time. Whoever
//! was stopped otherwise, or has been given something else to do meanwhile, is the kernel's to
//! enter.
//!
//! The kernel finds out at its next entry who has the slice ([`Cpu::heir`]). The gates are closed
//! with those of transfers; what is said there about pointers holds here.

use super::cpu::{CPU, Cpu, this_cpu};
use super::user::UserContext;
use super::user::{CONTEXT, FLAGS_ALLOWED, FLAGS_FORCED, RETURNS_TO, UPCALL_AREA, USER_STACK};
use crate::event::Registers;
use core::arch::global_asm;
use core::mem::offset_of;
use core::ptr;
use core::sync::atomic::Ordering::Relaxed;

/// A context's part in yielding by name. The entry code uses it by its offsets.
#[repr(C)]
pub(super) struct Yields {
    /// 1 if it gave its slice away, and nothing has happened to it since.
    ready: u64,
    /// The handle that the gate stands for, the gate, and when it was opened.
    handle: u64,
    gate: *mut UserContext,
    epoch: u64,
    /// How often it was the heir of a slice through a gate.
    inherited: u64,
}

impl Yields {
    pub(super) const fn new() -> Yields {
        Yields { ready: 0, handle: 0, gate: ptr::null_mut(), epoch: 0, inherited: 0 }
    }
}

impl UserContext {
    /// Opens a gate for the handle: slices given away by it go on in the other context, without
    /// the kernel.
    pub fn open_yield(&mut self, to: &mut UserContext, handle: u64) {
        self.check_home();
        to.check_home();
        self.yields.handle = handle;
        self.yields.gate = to;
        self.yields.epoch = this_cpu().epoch.load(Relaxed);
    }

    /// It has something else to do than to go on behind the call with which it gave its slice away:
    /// only the kernel enters it.
    pub fn hold_back(&mut self) {
        self.yields.ready = 0;
    }

    /// How often it was given a slice through a gate.
    pub fn inherited(&self) -> u64 {
        self.yields.inherited
    }

    /// It gives its slice away, and has been answered.
    pub(super) fn has_yielded(&mut self) {
        self.yields.ready = 1;
    }
}

impl Cpu {
    /// Number of the environment that the current slice was given to through a gate, if it was
    /// since this was asked last.
    #[inline]
    pub fn heir(&self) -> Option<u64> {
        match self.heir.load(Relaxed) {
            0 => None,
            heir => {
                self.heir.store(0, Relaxed);
                Some(heir)
            }
        }
    }
}

const YIELDS: usize = offset_of!(UserContext, yields);
const REGISTERS: usize = offset_of!(UserContext, registers);

unsafe extern "C" {
    /// A slice given away: ring 3's stack pointer is in the per-CPU record, `rcx` the return
    /// address, `r11` the flags. Only the `syscall` entry comes here.
    pub(super) fn yield_entry();
    /// A short call, in the same state.
    fn short_entry();
}

global_asm!(
    r#"
    .text
    .balign 16
    .global yield_entry
yield_entry:
    mov rsp, [rip + {cpu} + {context}]
    cmp rdi, [rsp + {handle}]         # the gate is this handle's,
    jne {short}
    mov rax, [rip + {cpu} + {now}]
    cmp rax, [rsp + {epoch}]          # and still open,
    jne 2f
    mov rax, [rsp + {gate}]
    cmp qword ptr [rax + {ready}], 0  # to somebody who waits for time alone
    je 2f
    mov [rsp + {rbx}], rbx
    mov [rsp + {rsi}], rsi
    mov [rsp + {rdi}], rdi
    mov [rsp + {rbp}], rbp
    mov [rsp + {r8}], r8
    mov [rsp + {r9}], r9
    mov [rsp + {r10}], r10
    mov [rsp + {r12}], r12
    mov [rsp + {r13}], r13
    mov [rsp + {r14}], r14
    mov [rsp + {r15}], r15
    mov qword ptr [rsp + {rax_}], 0   # answered: Ok, 0
    mov qword ptr [rsp + {rdx}], 0
    mov [rsp + {rip}], rcx
    mov [rsp + {returns_to}], rcx
    mov [rsp + {rflags}], r11
    mov rcx, [rip + {cpu} + {user_stack}]
    mov [rsp + {rsp_}], rcx
    mov qword ptr [rsp + {ready}], 1
    mov qword ptr [rax + {ready}], 0
    mov qword ptr [rip + {cpu} + {upcall}], 0
    mov rcx, [rsp + {vectors}]
    fxsave64 [rcx]
    mov rcx, [rax + {vectors}]
    mov [rip + {cpu} + {vector_owner}], rcx
    fxrstor64 [rcx]
    xor ecx, ecx
    mov ds, ecx
    mov es, ecx
    mov fs, ecx
    mov gs, ecx
    mov rcx, [rax + {root}]
    mov cr3, rcx
    mov [rip + {cpu} + {cpu_root}], rcx
    mov [rip + {cpu} + {context}], rax
    inc qword ptr [rax + {inherited}]
    mov rcx, [rax + {tag}]
    mov [rip + {cpu} + {heir}], rcx
    mov rbx, [rax + {rbx}]
    mov rdx, [rax + {rdx}]
    mov rsi, [rax + {rsi}]
    mov rdi, [rax + {rdi}]
    mov rbp, [rax + {rbp}]
    mov r8, [rax + {r8}]
    mov r9, [rax + {r9}]
    mov r10, [rax + {r10}]
    mov r12, [rax + {r12}]
    mov r13, [rax + {r13}]
    mov r14, [rax + {r14}]
    mov r15, [rax + {r15}]
    mov r11, [rax + {rflags}]
    and r11d, {allowed}
    or r11d, {forced}
    mov rcx, [rax + {rip}]
    mov rsp, [rax + {rsp_}]
    mov rax, [rax + {rax_}]
    sysretq
2:
    mov eax, {yield_}
    jmp {short}
    "#,
    cpu = sym CPU,
    short = sym short_entry,
    yield_ = const abi::Call::Yield as u64,
    context = const CONTEXT,
    user_stack = const USER_STACK,
    upcall = const UPCALL_AREA,
    now = const offset_of!(Cpu, epoch),
    heir = const offset_of!(Cpu, heir),
    cpu_root = const offset_of!(Cpu, root),
    vector_owner = const offset_of!(Cpu, vector_owner),
    allowed = const FLAGS_ALLOWED,
    forced = const FLAGS_FORCED,
    returns_to = const RETURNS_TO,
    handle = const YIELDS + offset_of!(Yields, handle),
    epoch = const YIELDS + offset_of!(Yields, epoch),
    gate = const YIELDS + offset_of!(Yields, gate),
    ready = const YIELDS + offset_of!(Yields, ready),
    inherited = const YIELDS + offset_of!(Yields, inherited),
    vectors = const super::transfer::VECTORS,
    root = const super::transfer::ROOT,
    tag = const super::transfer::TAG,
    rax_ = const REGISTERS + offset_of!(Registers, rax),
    rbx = const REGISTERS + offset_of!(Registers, rbx),
    rdx = const REGISTERS + offset_of!(Registers, rdx),
    rsi = const REGISTERS + offset_of!(Registers, rsi),
    rdi = const REGISTERS + offset_of!(Registers, rdi),
    rbp = const REGISTERS + offset_of!(Registers, rbp),
    r8 = const REGISTERS + offset_of!(Registers, r8),
    r9 = const REGISTERS + offset_of!(Registers, r9),
    r10 = const REGISTERS + offset_of!(Registers, r10),
    r12 = const REGISTERS + offset_of!(Registers, r12),
    r13 = const REGISTERS + offset_of!(Registers, r13),
    r14 = const REGISTERS + offset_of!(Registers, r14),
    r15 = const REGISTERS + offset_of!(Registers, r15),
    rip = const REGISTERS + offset_of!(Registers, rip),
    rflags = const REGISTERS + offset_of!(Registers, rflags),
    rsp_ = const REGISTERS + offset_of!(Registers, rsp),
);
