//! Ring 3, entered by a function call that returns when it traps.
//!
//! [`enter`] saves the kernel's callee-saved registers on its stack, notes where, loads the user's
//! registers and leaves by `sysretq` or `iretq`. Each way back (`syscall_store`, `trap_entry` in
//! `trap`) stores the user's registers where they came from, takes the noted stack pointer and
//! returns to the caller of [`enter`], as if nothing had happened.
//!
//! What ring 3 may not choose: `rip` and `rsp` must be canonical, or the context faults without
//! running (`iretq` and `sysretq` would fault in ring 0); of `rflags` only the arithmetic flags and
//! the direction flag are taken over. `sysretq` is used only to return from the system call that
//! came last; after anything else `rcx` and `r11` must come back, which only `iretq` can do.

use super::apic;
use super::cpu::{CPU, Cpu, USER_CODE, USER_DATA, current_root, load_root, this_cpu};
use super::frame;
use super::space::AddressSpace;
use super::syscall::NOBODY;
use super::transfer::Link;
use super::vector::Vectors;
use super::yields::Yields;
use crate::event::{Event, Fault, FaultUpcall, Registers};
use crate::memory::FrameNumber;
use core::arch::{asm, naked_asm};
use core::mem::offset_of;
use core::sync::atomic::Ordering::Relaxed;

/// Carry, parity, adjust, zero, sign, direction, overflow.
pub(super) const FLAGS_ALLOWED: u64 = 0xcd5;
/// Interrupts on, and the bit that is always one.
pub(super) const FLAGS_FORCED: u64 = 0x202;
/// What `syscall` clears: everything but the bit that is always one.
pub(super) const SYSCALL_MASK: u64 = 0x3f_7fd5;
/// The outcome of a system call; smaller ones are vectors.
const SYSCALL: u64 = 256;

/// No `rip` that gets past [`UserContext::sanitise`].
const NEVER: u64 = u64::MAX;

const PAGE_FAULT: u8 = 14;
const GENERAL_PROTECTION: u8 = 13;
const STACK_FAULT: u8 = 12;

/// A ring-3 program's processor state.
#[repr(C)]
pub struct UserContext {
    /// Its registers while it is not running. First, so that both have one address.
    pub registers: Registers,
    pub(super) link: Link,
    pub(super) yields: Yields,
    pub(super) vectors: Vectors,
    /// Where the last system call returns to, if that was how ring 3 was left; otherwise [`NEVER`].
    returns_to: u64,
    reflection: Option<Reflection>,
}

/// A fault upcall in the form that the trap entry uses: save area in the physical map, entry,
/// stack, save area in ring 3. The frame counts as mapped, so that it cannot be given back.
struct Reflection {
    frame: FrameNumber,
    words: [u64; 4],
}

impl Reflection {
    fn new(to: &FaultUpcall<'_>) -> Self {
        assert!(to.offset.is_multiple_of(8), "misaligned save area");
        assert!(to.entry >> 47 == 0 && to.stack >> 47 == 0, "entry or stack in the kernel's half");
        let area = to.frame.at(to.offset, abi::upcall::SAVE_BYTES);
        frame::mapped(to.frame.number());
        let words = [area as u64, to.entry, to.stack, to.save];
        Self { frame: to.frame.number(), words }
    }
}

impl Drop for Reflection {
    fn drop(&mut self) {
        frame::unmapped(self.frame);
    }
}

/// Why ring 3 was left: a vector or [`SYSCALL`], and the error code.
#[repr(C)]
struct Outcome {
    vector: u64,
    error: u64,
}

impl UserContext {
    /// A context that will start at `entry`, with its stack pointer and its `rdi` set, everything
    /// else zero. Takes 512 bytes of kernel heap for its vector state.
    pub fn new(entry: u64, stack: u64, argument: u64) -> Self {
        let registers = Registers {
            rip: entry,
            rsp: stack,
            rdi: argument,
            rflags: FLAGS_FORCED,
            ..Registers::default()
        };
        let (link, yields, vectors) = (Link::new(), Yields::new(), Vectors::new());
        Self { registers, link, yields, vectors, returns_to: NEVER, reflection: None }
    }

    /// Where the trap entry takes ring 3's faults from now on; `None`: they come out as events.
    ///
    /// Panics when the save area leaves its frame or entry and stack are not ring 3's: a kernel
    /// bug.
    pub fn set_fault_upcall(&mut self, to: Option<FaultUpcall<'_>>) {
        self.reflection = to.map(|to| Reflection::new(&to));
        if self.vectors.are_loaded() {
            self.install();
        }
    }

    /// Tells the trap entry about this context's fault upcall.
    fn install(&self) {
        let words = self.reflection.as_ref().map_or([0; 4], |it| it.words);
        for (place, word) in this_cpu().upcall.iter().zip(words) {
            place.store(word, Relaxed);
        }
    }

    /// Runs ring 3 until it stops. All its calls but `Null` and transfers come out as events:
    /// [`super::stay`] is how a kernel answers some of them on the spot.
    ///
    /// The one that stops may be another one than was entered: [`Cpu::running`] says which.
    pub fn enter(&mut self, space: &AddressSpace) -> Event {
        match self.prepare(space) {
            Some(event) => event,
            // SAFETY: prepared just now; the reference is exclusive until ring 3 has stopped.
            None => unsafe { Self::run(self) },
        }
    }

    /// Makes ready to run, or says why it does not.
    pub(super) fn prepare(&mut self, space: &AddressSpace) -> Option<Event> {
        this_cpu().running.store(self.link.tag(), Relaxed);
        self.hold_back();
        if let Some(event) = self.sanitise() {
            return Some(event);
        }
        if current_root() != space.root() {
            // SAFETY: every address space shares the kernel's half.
            unsafe { load_root(space.root()) };
        }
        let without = this_cpu().upcall.first().is_some_and(|area| area.load(Relaxed) == 0);
        if self.vectors.load() || (without && self.reflection.is_some()) {
            self.install();
        }
        None
    }

    /// Runs ring 3 until it stops.
    ///
    /// # Safety
    ///
    /// The context was prepared just now, and it lives, where it is, until this returns.
    pub(super) unsafe fn run(this: *mut Self) -> Event {
        // SAFETY: as promised by the caller.
        let fast = unsafe { (*this).returns_to == (*this).registers.rip };
        // SAFETY: the registers, which come first, are nobody else's until the call returns; they
        // are sanitised; ring 3 can touch only what its tables map for it.
        let outcome = unsafe { enter(this.cast::<Registers>(), u64::from(fast)) };
        let cpu = this_cpu();
        let ran = cpu.context.load(Relaxed) as *mut UserContext;
        let system_call = outcome.vector == SYSCALL;
        let answered = cpu.answered.load(Relaxed) != 0;
        // SAFETY: the entry code left there the context that it stored the registers into: this
        // one, or one that is linked, and so alive where it was, with no reference to it.
        unsafe {
            cpu.running.store((*ran).link.tag(), Relaxed);
            (*ran).returns_to = if system_call { (*ran).registers.rip } else { NEVER };
            if answered {
                cpu.answered.store(0, Relaxed);
                (*ran).registers.rax = cpu.answer[0].load(Relaxed);
                (*ran).registers.rdx = cpu.answer[1].load(Relaxed);
                if cpu.switch.load(Relaxed) != NOBODY {
                    (*ran).has_yielded();
                }
                return Event::Answered;
            }
        }
        if system_call { Event::Syscall } else { event(outcome) }
    }

    /// The environment's number.
    pub(super) fn number(&self) -> u64 {
        self.link.tag()
    }

    /// Makes the registers fit to be loaded, or says which fault they amount to.
    fn sanitise(&mut self) -> Option<Event> {
        let Registers { rip, rsp, .. } = self.registers;
        self.registers.rflags = self.registers.rflags & FLAGS_ALLOWED | FLAGS_FORCED;
        let fault = |vector, address| {
            let fault = Fault { vector, error: 0, address };
            Some(Event::Fault(fault))
        };
        if rip >> 47 != 0 {
            return fault(GENERAL_PROTECTION, rip);
        }
        if rsp >> 47 != 0 && rsp >> 47 != 0x1_ffff {
            return fault(STACK_FAULT, rsp);
        }
        None
    }
}

/// What a trap means to the kernel.
fn event(outcome: Outcome) -> Event {
    let vector = outcome.vector as u8;
    if vector >= 32 {
        return apic::event(vector);
    }
    if vector == 2 {
        return Event::Spurious(vector);
    }
    let address = if vector == PAGE_FAULT { fault_address() } else { 0 };
    Event::Fault(Fault { vector, error: outcome.error, address })
}

/// The address that the last page fault was about.
pub(super) fn fault_address() -> u64 {
    let address: u64;
    // SAFETY: reading cr2 has no effect.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) };
    address
}

/// Offsets in the per-CPU record, for the entry code.
pub(super) const CONTEXT: usize = offset_of!(Cpu, context);
pub(super) const KERNEL_STACK: usize = offset_of!(Cpu, kernel_stack);
pub(super) const USER_STACK: usize = offset_of!(Cpu, user_stack);
pub(super) const UPCALL_AREA: usize = offset_of!(Cpu, upcall);
pub(super) const UPCALL_COUNT: usize = offset_of!(Cpu, upcall_count);

pub(super) const RETURNS_TO: usize = offset_of!(UserContext, returns_to);

/// Loads the user's registers and goes to ring 3; returns when it traps.
///
/// # Safety
///
/// `registers` is exclusive until the return; `rip` is below the canonical hole, `rflags` allowed.
#[unsafe(naked)]
unsafe extern "C" fn enter(registers: *mut Registers, fast: u64) -> Outcome {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [rip + {cpu} + {context}], rdi",
        "mov [rip + {cpu} + {kernel_stack}], rsp",
        "mov rax, [rdi + {rax}]",
        "mov rbx, [rdi + {rbx}]",
        "mov rdx, [rdi + {rdx}]",
        "mov rbp, [rdi + {rbp}]",
        "mov r8, [rdi + {r8}]",
        "mov r9, [rdi + {r9}]",
        "mov r10, [rdi + {r10}]",
        "mov r12, [rdi + {r12}]",
        "mov r13, [rdi + {r13}]",
        "mov r14, [rdi + {r14}]",
        "mov r15, [rdi + {r15}]",
        "test esi, esi",
        "mov rsi, [rdi + {rsi}]",
        "jz 2f",
        "mov rcx, [rdi + {rip}]",
        "mov r11, [rdi + {rflags}]",
        "mov rsp, [rdi + {rsp}]",
        "mov rdi, [rdi + {rdi}]",
        "sysretq",
        "2:",
        "push {user_data}",
        "push [rdi + {rsp}]",
        "push [rdi + {rflags}]",
        "push {user_code}",
        "push [rdi + {rip}]",
        "mov rcx, [rdi + {rcx}]",
        "mov r11, [rdi + {r11}]",
        "mov rdi, [rdi + {rdi}]",
        "iretq",
        cpu = sym CPU,
        context = const CONTEXT,
        kernel_stack = const KERNEL_STACK,
        user_data = const USER_DATA.0,
        user_code = const USER_CODE.0,
        rax = const offset_of!(Registers, rax),
        rbx = const offset_of!(Registers, rbx),
        rcx = const offset_of!(Registers, rcx),
        rdx = const offset_of!(Registers, rdx),
        rsi = const offset_of!(Registers, rsi),
        rdi = const offset_of!(Registers, rdi),
        rbp = const offset_of!(Registers, rbp),
        r8 = const offset_of!(Registers, r8),
        r9 = const offset_of!(Registers, r9),
        r10 = const offset_of!(Registers, r10),
        r11 = const offset_of!(Registers, r11),
        r12 = const offset_of!(Registers, r12),
        r13 = const offset_of!(Registers, r13),
        r14 = const offset_of!(Registers, r14),
        r15 = const offset_of!(Registers, r15),
        rip = const offset_of!(Registers, rip),
        rflags = const offset_of!(Registers, rflags),
        rsp = const offset_of!(Registers, rsp),
    )
}

/// A system call that is the kernel's: `rsp` is the context, the user's stack is in the per-CPU
/// record, `rcx` the return address, `r11` the flags.
///
/// # Safety
///
/// Not to be called: `syscall_entry` and `transfer_entry` jump here.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn syscall_store() {
    naked_asm!(
        "mov [rsp + {rax}], rax",
        "mov [rsp + {rbx}], rbx",
        "mov [rsp + {rdx}], rdx",
        "mov [rsp + {rsi}], rsi",
        "mov [rsp + {rdi}], rdi",
        "mov [rsp + {rbp}], rbp",
        "mov [rsp + {r8}], r8",
        "mov [rsp + {r9}], r9",
        "mov [rsp + {r10}], r10",
        "mov [rsp + {r12}], r12",
        "mov [rsp + {r13}], r13",
        "mov [rsp + {r14}], r14",
        "mov [rsp + {r15}], r15",
        "mov [rsp + {rip}], rcx",
        "mov [rsp + {rflags}], r11",
        "mov rax, [rip + {cpu} + {user_stack}]",
        "mov [rsp + {rsp}], rax",
        "mov rsp, [rip + {cpu} + {kernel_stack}]",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "mov eax, {syscall}",
        "ret",
        cpu = sym CPU,
        kernel_stack = const KERNEL_STACK,
        user_stack = const USER_STACK,
        syscall = const SYSCALL,
        rax = const offset_of!(Registers, rax),
        rbx = const offset_of!(Registers, rbx),
        rdx = const offset_of!(Registers, rdx),
        rsi = const offset_of!(Registers, rsi),
        rdi = const offset_of!(Registers, rdi),
        rbp = const offset_of!(Registers, rbp),
        r8 = const offset_of!(Registers, r8),
        r9 = const offset_of!(Registers, r9),
        r10 = const offset_of!(Registers, r10),
        r12 = const offset_of!(Registers, r12),
        r13 = const offset_of!(Registers, r13),
        r14 = const offset_of!(Registers, r14),
        r15 = const offset_of!(Registers, r15),
        rip = const offset_of!(Registers, rip),
        rflags = const offset_of!(Registers, rflags),
        rsp = const offset_of!(Registers, rsp),
    )
}
