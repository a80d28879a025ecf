//! The first instructions: from the PVH entry (32-bit, no paging) to Rust in the higher half.
//!
//! A PVH loader (Xen's ABI, `docs/misc/pvh.pandoc`) finds the physical entry in an ELF note and
//! jumps there in flat 32-bit mode with `ebx` pointing to a start-info structure. The code maps the
//! first 4 GiB with 2 MiB pages three times: at 0 to survive the switch, at the physical map's base
//! for the early kernel, and (1 GiB of it) at the image's base. `paging` replaces all of it.

use super::layout::KERNEL_BASE;
use super::stack::{KERNEL_STACK, KERNEL_STACK_TOP};
use core::arch::global_asm;

unsafe extern "C" {
    /// Physical address of the start-info structure, left there by the first instructions.
    pub(super) static START_INFO: u64;
}

global_asm!(
    r#"
    .section .note.pvh, "a", @note
    .balign 4
    .long 4                          # bytes of the name
    .long 8                          # bytes of the description
    .long 18                         # XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad pvh_start - {base}

    .section .bss.boot, "aw", @nobits
    .balign 4096
boot_root:      .skip 4096
boot_low:       .skip 4096
boot_high:      .skip 4096
boot_tables:    .skip 4 * 4096
    .global START_INFO
START_INFO:     .skip 8

    .section .rodata.boot, "a"
    .balign 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff         # ring-0 code, long mode
    .quad 0x00cf93000000ffff         # ring-0 data
boot_gdt_end:
boot_gdt_pointer:
    .word boot_gdt_end - boot_gdt - 1
    .long boot_gdt - {base}

    .section .text.boot, "ax"
    .code32
    .global pvh_start
pvh_start:
    cli
    cld
    movl %ebx, START_INFO - {base}

    movl $(boot_tables - {base}), %edi   # 4 GiB in 2 MiB pages: present, writable, large
    movl $0x83, %eax
    movl $2048, %ecx
1:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    decl %ecx
    jnz 1b

    movl $(boot_tables - {base} + 3), %eax
    movl $(boot_low - {base}), %edi
    movl $4, %ecx
2:  movl %eax, (%edi)
    addl $4096, %eax
    addl $8, %edi
    decl %ecx
    jnz 2b
    movl $(boot_tables - {base} + 3), boot_high - {base} + 510 * 8
    movl $(boot_low - {base} + 3), boot_root - {base}
    movl $(boot_low - {base} + 3), boot_root - {base} + 256 * 8
    movl $(boot_high - {base} + 3), boot_root - {base} + 511 * 8

    movl %cr4, %eax
    orl $0x20, %eax                  # physical address extension
    movl %eax, %cr4
    movl $(boot_root - {base}), %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx           # extended features: long mode
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl $0x80010013, %eax           # paging, write protect, x87 on chip, monitor, protection
    movl %eax, %cr0
    lgdt boot_gdt_pointer - {base}
    ljmpl $8, $(boot_long - {base})

    .code64
boot_long:
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movl %eax, %ss
    movabsq $({stack} + {stack_top}), %rsp
    xorl %ebp, %ebp
    movabsq $sluice_entry, %rax      # what `machine::entry!` defines
    pushq $0                         # nowhere to return to
    jmp *%rax
    .section .text
    "#,
    base = const KERNEL_BASE,
    stack = sym KERNEL_STACK,
    stack_top = const KERNEL_STACK_TOP,
    options(att_syntax)
);
