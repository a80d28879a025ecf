//! Exceptions and interrupts: 256 stubs, one way on.
//!
//! A trap from ring 3 ends the call that entered it (`user`), whatever stack it came in on - unless
//! it is an exception for which the context has a [`crate::FaultUpcall`]: that one is written into
//! the save area and returned to ring 3's handler on the spot, 33 instructions for a page fault
//! and 29 or 30 for others, with no register but `rax` used (SOSP '95, Aegis, did it in 18). A trap
//! from ring 0 is either an interrupt that woke [`super::idle`] (six instructions: the vector goes
//! to `rax`, interrupts go off), or a debug exception that ring 3 smuggled in (single-step over
//! `syscall`; ignored), or the end: [`super::fault`] reports it.

use super::cpu::{self, CPU, KERNEL_CODE, KERNEL_DATA, USER_CODE, USER_DATA};
use super::user::{self, CONTEXT, KERNEL_STACK, UPCALL_AREA, UPCALL_COUNT};
use super::{fault, syscall};
use crate::event::Registers;
use abi::upcall;
use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::mem::offset_of;
use x86_64::VirtAddr;
use x86_64::registers::model_specific::{LStar, SFMask, Star};
use x86_64::registers::rflags::RFlags;
use x86_64::structures::idt::InterruptDescriptorTable;

/// Bytes from one stub to the next.
const STUB: u64 = 16;
const DEBUG: u64 = 1;
const TRAP_FLAG: u64 = 1 << 8;

/// What a ring-0 trap leaves on the stack, lowest address first.
#[repr(C)]
#[derive(Debug)]
pub(super) struct TrapFrame {
    pub(super) r15: u64,
    pub(super) r14: u64,
    pub(super) r13: u64,
    pub(super) r12: u64,
    pub(super) r11: u64,
    pub(super) r10: u64,
    pub(super) r9: u64,
    pub(super) r8: u64,
    pub(super) rbp: u64,
    pub(super) rdi: u64,
    pub(super) rsi: u64,
    pub(super) rdx: u64,
    pub(super) rcx: u64,
    pub(super) rbx: u64,
    pub(super) rax: u64,
    pub(super) vector: u64,
    pub(super) error: u64,
    pub(super) rip: u64,
    pub(super) cs: u64,
    pub(super) rflags: u64,
    pub(super) rsp: u64,
    pub(super) ss: u64,
}

unsafe extern "C" {
    static trap_stubs: u8;
}

global_asm!(
    r#"
    .text
    .balign 16
    .global trap_stubs
trap_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    .if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17
    .elseif vector == 21 || vector == 29 || vector == 30
    .else                                # no error code: push one
    pushq $0
    .endif
    pushq $vector
    .if vector < 32 && vector != 2 && vector != 8 && vector != 18
    jmp fault_entry
    .elseif vector >= 32
    jmp interrupt_entry
    .else                                # what is the machine's fault, not ring 3's
    jmp trap_entry
    .endif
    .set vector, vector + 1
    .endr

fault_entry:                             # vector, error, rip, cs, rflags, rsp, ss
    testb $3, 24(%rsp)
    jz trap_in_kernel
    pushq %rax
    movq {cpu} + {upcall_area}(%rip), %rax
    testq %rax, %rax
    jz 1f                                # nothing registered
    cmpq $0, {active}(%rax)
    jne 1f                               # a fault in the handler
    movq $1, {active}(%rax)
    popq {area_rax}(%rax)
    popq {detail}(%rax)
    popq {error}(%rax)
    popq {area_rip}(%rax)                # cs, rflags, rsp, ss
    pushq 8(%rsp)
    popq {area_rflags}(%rax)
    pushq 16(%rsp)
    popq {area_rsp}(%rax)
    pushq {cpu} + {upcall_stack}(%rip)
    popq 16(%rsp)
    movq ${flags}, 8(%rsp)
    pushq {cpu} + {upcall_entry}(%rip)
    incq {cpu} + {upcall_count}(%rip)
    movq $0, {address}(%rax)
    cmpq $14, {detail}(%rax)
    jne 2f
    pushq %rcx
    movq %cr2, %rcx
    movq %rcx, {address}(%rax)
    popq %rcx
2:  movq {cpu} + {upcall_save}(%rip), %rax
    iretq
1:  popq %rax
    jmp trap_entry

interrupt_entry:                         # vector, error, rip, cs, rflags, rsp, ss
    testb $3, 24(%rsp)
    jnz trap_entry
    popq %rax                            # for `idle`, which was interrupted: the vector
    addq $8, %rsp
    btrl $9, 16(%rsp)                    # one interrupt at a time
    iretq

trap_entry:                              # vector, error, rip, cs, rflags, rsp, ss
    testb $3, 24(%rsp)
    jz trap_in_kernel
    pushq %rax
    movq {cpu} + {context}(%rip), %rax
    movq %rbx, {rbx}(%rax)
    movq %rcx, {rcx}(%rax)
    movq %rdx, {rdx}(%rax)
    movq %rsi, {rsi}(%rax)
    movq %rdi, {rdi}(%rax)
    movq %rbp, {rbp}(%rax)
    movq %r8, {r8}(%rax)
    movq %r9, {r9}(%rax)
    movq %r10, {r10}(%rax)
    movq %r11, {r11}(%rax)
    movq %r12, {r12}(%rax)
    movq %r13, {r13}(%rax)
    movq %r14, {r14}(%rax)
    movq %r15, {r15}(%rax)
    popq {rax}(%rax)
    popq %rdi                            # vector
    popq %rdx                            # error
    popq {rip}(%rax)
    popq %rcx
    popq {rflags}(%rax)
    popq {rsp}(%rax)
    movq {cpu} + {kernel_stack}(%rip), %rsp
    pushq $2                             # alignment check and direction flag are ring 3's
    popfq
    movq %rdi, %rax
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret

trap_in_kernel:
    pushq %rax
    pushq %rbx
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %rbp
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    cld
    movq %rsp, %rdi
    call {handler}
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rbp
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rbx
    popq %rax
    addq $16, %rsp
    iretq
    "#,
    cpu = sym CPU,
    upcall_area = const UPCALL_AREA,
    upcall_entry = const UPCALL_AREA + 8,
    upcall_stack = const UPCALL_AREA + 16,
    upcall_save = const UPCALL_AREA + 24,
    upcall_count = const UPCALL_COUNT,
    active = const upcall::ACTIVE,
    detail = const upcall::DETAIL,
    error = const upcall::ERROR,
    address = const upcall::ADDRESS,
    area_rip = const upcall::RIP,
    area_rflags = const upcall::RFLAGS,
    area_rsp = const upcall::RSP,
    area_rax = const upcall::RAX,
    flags = const upcall::FLAGS,
    context = const CONTEXT,
    kernel_stack = const KERNEL_STACK,
    handler = sym in_kernel,
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
    options(att_syntax)
);

/// An exception while the kernel itself ran.
extern "C" fn in_kernel(frame: &mut TrapFrame) {
    match frame.vector {
        DEBUG => frame.rflags &= !TRAP_FLAG,
        _ => fault::report(frame),
    }
}

struct Table(UnsafeCell<InterruptDescriptorTable>);

// SAFETY: written once, at boot, by `init`; read by the processor afterwards.
unsafe impl Sync for Table {}

static TABLE: Table = Table(UnsafeCell::new(EMPTY));

/// An empty table is all zero bytes but for the descriptors' must-be-one bits, which `init` sets
/// along with the handlers; the crate's own constructor is not `const`.
// SAFETY: the table is plain integers.
const EMPTY: InterruptDescriptorTable = unsafe { core::mem::zeroed() };

/// Points every vector to its stub, and `syscall` to its entry.
pub(super) fn init() {
    let stub = |vector: u64| VirtAddr::new((&raw const trap_stubs) as u64 + vector * STUB);
    // SAFETY: called once, at boot; each stub handles its vector as described above, on stacks
    // that the task state names.
    unsafe {
        let table = &mut *TABLE.0.get();
        *table = InterruptDescriptorTable::new();
        table.divide_error.set_handler_addr(stub(0));
        table.debug.set_handler_addr(stub(1)).set_stack_index(cpu::IST_DEBUG);
        table.non_maskable_interrupt.set_handler_addr(stub(2)).set_stack_index(cpu::IST_NMI);
        table.breakpoint.set_handler_addr(stub(3));
        table.overflow.set_handler_addr(stub(4));
        table.bound_range_exceeded.set_handler_addr(stub(5));
        table.invalid_opcode.set_handler_addr(stub(6));
        table.device_not_available.set_handler_addr(stub(7));
        table.double_fault.set_handler_addr(stub(8)).set_stack_index(cpu::IST_DOUBLE_FAULT);
        table.invalid_tss.set_handler_addr(stub(10));
        table.segment_not_present.set_handler_addr(stub(11));
        table.stack_segment_fault.set_handler_addr(stub(12));
        table.general_protection_fault.set_handler_addr(stub(13));
        table.page_fault.set_handler_addr(stub(14));
        table.x87_floating_point.set_handler_addr(stub(16));
        table.alignment_check.set_handler_addr(stub(17));
        table.machine_check.set_handler_addr(stub(18)).set_stack_index(cpu::IST_MACHINE_CHECK);
        table.simd_floating_point.set_handler_addr(stub(19));
        table.virtualization.set_handler_addr(stub(20));
        table.cp_protection_exception.set_handler_addr(stub(21));
        table.hv_injection_exception.set_handler_addr(stub(28));
        table.vmm_communication_exception.set_handler_addr(stub(29));
        table.security_exception.set_handler_addr(stub(30));
        for (entry, vector) in table.slice_mut(32..).iter_mut().zip(32..) {
            entry.set_handler_addr(stub(vector));
        }
        (*TABLE.0.get()).load_unsafe();
    }
    let Ok(()) = Star::write(USER_CODE, USER_DATA, KERNEL_CODE, KERNEL_DATA) else {
        panic!("the segments are not where syscall and sysret want them");
    };
    LStar::write(VirtAddr::from_ptr(syscall::syscall_entry as *const u8));
    SFMask::write(RFlags::from_bits_retain(user::SYSCALL_MASK));
}
