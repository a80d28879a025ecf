//! Ways to end by a fault, for programs that show that a fault takes nothing with it.
//!
//! Neither function can return: the access is one that ring 3 never may make, so that no memory of
//! the program's own is touched. On the host both panic instead.

/// Reads the kernel's first byte: a page fault.
pub fn read_kernel() -> ! {
    #[cfg(target_os = "none")]
    // SAFETY: the address lies in the kernel's half, which no mapping of ring 3 reaches; the load
    // faults before it yields anything.
    unsafe {
        core::arch::asm!(
            "mov rax, [{address}]",
            "2: jmp 2b",
            address = in(reg) 0xffff_ffff_8000_0000u64,
            options(nostack, noreturn),
        )
    }
    #[cfg(not(target_os = "none"))]
    panic!("reads a kernel address")
}

/// Stops the processor, if it were allowed to: a general-protection fault.
pub fn halt() -> ! {
    #[cfg(target_os = "none")]
    // SAFETY: `hlt` is privileged; in ring 3 it faults and changes nothing.
    unsafe {
        core::arch::asm!("hlt", "2: jmp 2b", options(nostack, noreturn))
    }
    #[cfg(not(target_os = "none"))]
    panic!("executes a privileged instruction")
}
