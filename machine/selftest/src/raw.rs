//! What no safe program does: ring-3 programs in assembly, and ways to die.
//!
//! The programs are one page, position-independent, each at a multiple of 256 bytes.

use core::arch::global_asm;

/// Makes system call 1 with six arguments, then system call 2 with what came back; for ever.
pub(crate) const CALLS: u64 = 0;
/// Fills vector registers with its argument and spins, making system call 99 if they change.
pub(crate) const VECTORS: u64 = 0x100;
/// Does the forbidden thing that its argument says.
pub(crate) const FAULTS: u64 = 0x200;
/// Sets flags it should not have, and spins or makes a system call.
pub(crate) const FLAGS: u64 = 0x300;
/// Makes system calls with a stack pointer that is none.
pub(crate) const NO_STACK: u64 = 0x400;
/// Nothing but system calls that are the kernel's.
pub(crate) const NULL_CALLS: u64 = 0x500;

global_asm!(
    r#"
    .section .rodata.programs, "a"
    .balign 4096
    .global selftest_programs
selftest_programs:
    mov r12, 0x1212
    mov rbx, 0xbb
    mov rbp, 0xbeef
2:  mov rax, 1
    mov rsi, 2
    mov rdx, 3
    mov r10, 4
    mov r8, 5
    mov r9, 6
    syscall
    mov rcx, rax
    mov rax, 2
    mov rdi, rdx
    syscall
    jmp 2b

    .balign 256
    movq xmm0, rdi
    movq xmm15, rdi
    mov r15, rdi
3:  mov rcx, 1000
4:  dec rcx
    jnz 4b
    movq rax, xmm0
    cmp rax, r15
    jne 5f
    movq rax, xmm15
    cmp rax, r15
    jne 5f
    inc r14
    jmp 3b
5:  mov rax, 99
    syscall
    ud2

    .balign 256
    lea rax, [rip + 6f]
    movsxd rdi, dword ptr [rax + 4 * rdi]
    add rax, rdi
    jmp rax
6:  .long 10f - 6b, 11f - 6b, 12f - 6b, 13f - 6b, 14f - 6b, 15f - 6b, 16f - 6b, 17f - 6b
10: mov rax, [0x123000]
11: mov rax, [0xffffffff80100000]
12: hlt
13: int 0x20
14: movabs rax, 0xffff800000100000
    mov [rax], rax
15: xor eax, eax
    div eax
16: mov [rip + 16b], al
17: vmovaps ymm0, ymm1

    .balign 256
    cmp rdi, 0
    jne 20f
    pushfq
    or qword ptr [rsp], 0x44400     # alignment check, nested task, direction
    popfq
21: jmp 21b
20: mov eax, 99
    push 0x40101                    # single step, alignment check
    popfq
    syscall
    ud2

    .balign 256
    movabs rsp, 0x8000000000000000
    mov rax, 77
    syscall
    ud2

    .balign 256
22: mov eax, 99
    syscall
    jmp 22b

    .balign 4096
    "#
);

unsafe extern "C" {
    static selftest_programs: [u8; 4096];
}

/// The page of programs.
pub(crate) fn programs() -> &'static [u8; 4096] {
    // SAFETY: a constant of this image.
    unsafe { &selftest_programs }
}

/// Calls a function without arguments at an address.
pub(crate) fn call(address: usize) -> u32 {
    // SAFETY: the checks give the address of code that they sealed, or mean to crash.
    let function: extern "C" fn() -> u32 = unsafe { core::mem::transmute(address) };
    function()
}

/// Reads a byte at an address.
pub(crate) fn read(address: usize) -> u8 {
    // SAFETY: only for crashes that are meant.
    unsafe { (address as *const u8).read_volatile() }
}

/// Writes a byte at an address.
pub(crate) fn write(address: usize) {
    // SAFETY: only for crashes that are meant.
    unsafe { (address as *mut u8).write_volatile(0) }
}
