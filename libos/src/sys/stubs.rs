//! Machine code of programs that only attack: one page, position-independent, each entry a few
//! instructions.
//!
//! The bytes are copied into a page of a child environment and run there, so that nothing they do
//! can touch an object of the program that uses this module. Two entries are general: `Script`
//! makes the calls that its argument's page lists and writes the answers beside them ([`script`]);
//! `Flip` changes a word for ever. The others do one thing that ring 3 must not get away with.
//! A stub that survives ends with exit code 0, one that saw something it should not with 1.

use core::arch::global_asm;

/// Layout of the page that `Script` reads, offsets in bytes.
pub mod script {
    /// `u64`: how many calls.
    pub const COUNT: usize = 0;
    /// `u64`: where to go after the last one; zero: exit with code 0.
    pub const TAIL: usize = 8;
    /// `u64`: how many calls have returned.
    pub const DONE: usize = 16;
    /// The first entry: number, six arguments, then status and value as the kernel gave them.
    pub const ENTRIES: usize = 64;
    /// Bytes of an entry.
    pub const ENTRY: usize = 80;
    /// In an entry: where status and value go.
    pub const STATUS: usize = 56;
    /// See [`STATUS`].
    pub const VALUE: usize = 64;
}

macro_rules! stubs {
    ($($(#[$doc:meta])* $name:ident [$($line:literal)*])*) => {
        /// An entry of the page.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Stub { $($(#[$doc])* $name,)* }

        global_asm!(
            ".pushsection .rodata.sluice_stubs, \"a\"",
            ".balign 16",
            ".global sluice_stubs, sluice_stubs_end",
            "sluice_stubs:",
            $(
                concat!(".global sluice_stub_", stringify!($name)),
                concat!("sluice_stub_", stringify!($name), ":"),
                $($line,)*
            )*
            "sluice_stub_leave:",
            "xor edi, edi",
            "mov eax, 1",
            "syscall",
            "ud2",
            "sluice_stub_saw:",
            "mov edi, 1",
            "mov eax, 1",
            "syscall",
            "ud2",
            "sluice_stubs_end:",
            "ud2",
            ".popsection",
        );

        impl Stub {
            /// Where it begins, in bytes from the page's start.
            pub fn offset(self) -> u64 {
                let at = match self {
                    $(Stub::$name => {
                        unsafe extern "C" {
                            #[link_name = concat!("sluice_stub_", stringify!($name))]
                            static ENTRY: u8;
                        }
                        (&raw const ENTRY) as u64
                    })*
                };
                at - (&raw const sluice_stubs) as u64
            }
        }
    };
}

unsafe extern "C" {
    static sluice_stubs: u8;
    static sluice_stubs_end: u8;
}

/// The page's bytes.
pub fn code() -> &'static [u8] {
    let start = &raw const sluice_stubs;
    let bytes = (&raw const sluice_stubs_end) as usize - start as usize;
    // SAFETY: both symbols bound one run of read-only bytes in this image.
    unsafe { core::slice::from_raw_parts(start, bytes) }
}

stubs! {
    /// Makes the calls that the page at its argument lists.
    Script [
        "mov rbx, rdi" "mov r12, [rbx]" "lea r13, [rbx + 64]"
        "2: test r12, r12" "jz 3f"
        "mov rax, [r13]" "mov rdi, [r13 + 8]" "mov rsi, [r13 + 16]" "mov rdx, [r13 + 24]"
        "mov r10, [r13 + 32]" "mov r8, [r13 + 40]" "mov r9, [r13 + 48]"
        "syscall"
        "mov [r13 + 56], rax" "mov [r13 + 64], rdx"
        "add qword ptr [rbx + 16], 1"
        "add r13, 80" "sub r12, 1" "jmp 2b"
        "3: mov rax, [rbx + 8]" "test rax, rax" "jz sluice_stub_leave" "jmp rax"
    ]
    /// Changes the word at its argument for ever.
    Flip ["2: not qword ptr [rdi]" "jmp 2b"]
    /// Does nothing, for ever.
    Spin ["2: jmp 2b"]
    /// Calls `Null` for ever.
    SpinCalls ["2: xor eax, eax" "syscall" "jmp 2b"]
    /// Yields for ever.
    SpinYield ["2: mov eax, 2" "xor edi, edi" "syscall" "jmp 2b"]
    /// Ends at once.
    Leave ["jmp sluice_stub_leave"]
    /// Port input.
    In ["mov dx, 0x64" "in al, dx"]
    /// The port that stops the emulator.
    OutExit ["mov dx, 0xf4" "mov al, 1" "out dx, al" "jmp sluice_stub_saw"]
    /// The interrupt controller's mask.
    OutMask ["mov al, 0xff" "out 0x21, al" "jmp sluice_stub_saw"]
    /// String input.
    Ins ["mov dx, 0x60" "lea rdi, [rsp - 64]" "insb" "jmp sluice_stub_saw"]
    /// String output.
    Outs ["mov dx, 0x60" "mov rsi, rsp" "sub rsi, 64" "outsb" "jmp sluice_stub_saw"]
    /// Stops the processor.
    Hlt ["hlt" "jmp sluice_stub_saw"]
    /// Interrupts off.
    Cli ["cli" "jmp sluice_stub_saw"]
    /// Interrupts on.
    Sti ["sti" "jmp sluice_stub_saw"]
    /// Reads the system-call entry's address.
    Rdmsr ["mov ecx, 0xc0000082" "rdmsr" "jmp sluice_stub_saw"]
    /// Moves the system-call entry.
    Wrmsr ["mov ecx, 0xc0000082" "xor eax, eax" "xor edx, edx" "wrmsr" "jmp sluice_stub_saw"]
    /// Performance counters.
    Rdpmc ["xor ecx, ecx" "rdpmc" "jmp sluice_stub_saw"]
    /// Reads CR0.
    ReadCr0 ["mov rax, cr0" "jmp sluice_stub_saw"]
    /// Write protection off.
    WriteCr0 ["mov eax, 0x80000001" "mov cr0, rax" "jmp sluice_stub_saw"]
    /// Reads the faulting address register.
    ReadCr2 ["mov rax, cr2" "jmp sluice_stub_saw"]
    /// Reads the root table's address.
    ReadCr3 ["mov rax, cr3" "jmp sluice_stub_saw"]
    /// Another root table.
    WriteCr3 ["xor eax, eax" "mov cr3, rax" "jmp sluice_stub_saw"]
    /// SMEP and SMAP off.
    WriteCr4 ["mov eax, 0x620" "mov cr4, rax" "jmp sluice_stub_saw"]
    /// Task priority.
    WriteCr8 ["mov eax, 15" "mov cr8, rax" "jmp sluice_stub_saw"]
    /// A breakpoint register.
    WriteDr0 ["mov rax, rsp" "mov dr0, rax" "jmp sluice_stub_saw"]
    /// Breakpoint control.
    WriteDr7 ["mov eax, 0x401" "mov dr7, rax" "jmp sluice_stub_saw"]
    /// Another segment table.
    Lgdt ["lgdt [rsp - 64]" "jmp sluice_stub_saw"]
    /// Another interrupt table.
    Lidt ["lidt [rsp - 64]" "jmp sluice_stub_saw"]
    /// A local segment table.
    Lldt ["xor eax, eax" "lldt ax" "jmp sluice_stub_saw"]
    /// Another task.
    Ltr ["mov ax, 0x28" "ltr ax" "jmp sluice_stub_saw"]
    /// CR0 by its old name.
    Lmsw ["mov ax, 1" "lmsw ax" "jmp sluice_stub_saw"]
    /// The task-switched flag.
    Clts ["clts" "jmp sluice_stub_saw"]
    /// Throws away a translation.
    Invlpg ["invlpg [rsp]" "jmp sluice_stub_saw"]
    /// Throws away the caches.
    Invd ["invd" "jmp sluice_stub_saw"]
    /// Writes the caches back.
    Wbinvd ["wbinvd" "jmp sluice_stub_saw"]
    /// The kernel's GS.
    Swapgs ["swapgs" "jmp sluice_stub_saw"]
    /// Returns from a call that was not made.
    Sysret ["lea rcx, [rip + sluice_stub_saw]" "pushfq" "pop r11" ".byte 0x48, 0x0f, 0x07"]
    /// The other entry into a kernel.
    Sysenter ["sysenter" "jmp sluice_stub_saw"]
    /// The way back from it.
    Sysexit ["sysexit" "jmp sluice_stub_saw"]
    /// Returns to ring 0 with `iretq`.
    IretKernel [
        "mov rax, rsp" "push 0x10" "push rax" "push 0x202" "push 8"
        "lea rax, [rip + sluice_stub_saw]" "push rax" "iretq"
    ]
    /// Returns to a non-canonical address.
    IretWild [
        "mov rax, rsp" "push 0x1b" "push rax" "push 0x202" "push 0x23"
        "movabs rax, 0x123456789abcdef" "push rax" "iretq"
    ]
    /// Returns to itself with NT set.
    IretNested [
        "pushfq" "or qword ptr [rsp], 0x4000" "popfq"
        "mov rax, rsp" "push 0x1b" "push rax" "push 0x202" "push 0x23"
        "lea rax, [rip + sluice_stub_leave]" "push rax" "iretq"
    ]
    /// Returns to itself with IOPL 3 and tries a port.
    IretIopl [
        "mov rax, rsp" "push 0x1b" "push rax" "push 0x3202" "push 0x23"
        "lea rax, [rip + sluice_stub_In]" "push rax" "iretq"
    ]
    /// Far return to the selector in its argument.
    FarReturn [
        "push rdi" "lea rax, [rip + 2f]" "push rax" ".byte 0x48, 0xcb"
        "2: mov edi, 0" "mov eax, 1" "syscall" "ud2"
    ]
    /// Loads the selector in its argument into DS, ES, FS and GS.
    LoadData ["mov ds, di" "mov es, di" "mov fs, di" "mov gs, di" "jmp sluice_stub_leave"]
    /// Loads the selector in its argument into SS.
    LoadStack ["mov ss, di" "jmp sluice_stub_leave"]
    /// GS base without a call.
    Wrgsbase ["xor eax, eax" ".byte 0xf3, 0x48, 0x0f, 0xae, 0xd8" "jmp sluice_stub_saw"]
    /// Extended state switched on.
    Xsetbv ["xor ecx, ecx" "mov eax, 7" "xor edx, edx" "xsetbv" "jmp sluice_stub_saw"]
    /// An AVX register that nobody would save.
    Avx [".byte 0xc5, 0xf4, 0x57, 0xc0" "jmp sluice_stub_saw"]
    /// Calls a hypervisor.
    Vmcall ["vmcall" "jmp sluice_stub_saw"]
    /// Starts a guest.
    Vmrun ["xor eax, eax" "vmrun" "jmp sluice_stub_saw"]
    /// Sleeps in the processor.
    Mwait ["xor eax, eax" "xor ecx, ecx" "mwait" "jmp sluice_stub_saw"]
    /// Address of the interrupt table.
    Sidt ["sidt [rsp - 64]" "jmp sluice_stub_leave"]
    /// Software interrupt 0x80.
    Int80 ["int 0x80" "jmp sluice_stub_saw"]
    /// A page fault that did not happen.
    Int14 ["int 14" "jmp sluice_stub_saw"]
    /// A double fault that did not happen.
    Int8 ["int 8" "jmp sluice_stub_saw"]
    /// A non-maskable interrupt that did not happen.
    Int2 ["int 2" "jmp sluice_stub_saw"]
    /// A machine check that did not happen.
    Int18 ["int 18" "jmp sluice_stub_saw"]
    /// A timer interrupt that did not happen.
    Int32 ["int 32" "jmp sluice_stub_saw"]
    /// The last vector.
    Int255 ["int 255" "jmp sluice_stub_saw"]
    /// A breakpoint.
    Int3 ["int3" "jmp sluice_stub_saw"]
    /// The undocumented debug exception.
    Icebp [".byte 0xf1" "jmp sluice_stub_saw"]
    /// No instruction.
    Ud2 ["ud2"]
    /// Division by zero.
    Divide ["xor ecx, ecx" "xor edx, edx" "mov eax, 1" "div ecx" "jmp sluice_stub_saw"]
    /// A lock prefix where none may be.
    BadLock [".byte 0xf0, 0x90" "jmp sluice_stub_saw"]
    /// An instruction of sixteen bytes.
    TooLong [
        ".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90"
        "jmp sluice_stub_saw"
    ]
    /// Jumps to the address in its argument.
    Jump ["jmp rdi"]
    /// Reads the address in its argument.
    Load ["mov rax, [rdi]" "jmp sluice_stub_saw"]
    /// Writes to the address in its argument.
    Store ["mov qword ptr [rdi], 0" "jmp sluice_stub_saw"]
    /// Flushes the address in its argument.
    Flush ["clflush [rdi]" "jmp sluice_stub_saw"]
    /// Pushes onto the stack in its argument.
    Push ["mov rsp, rdi" "push rax" "jmp sluice_stub_saw"]
    /// Sixteen bytes across the address in its argument.
    Straddle ["mov rsi, [rdi - 4]" "jmp sluice_stub_saw"]
    /// Calls itself until the stack is used up.
    Recurse ["2: call 2b"]
    /// Runs its own stack.
    RunStack ["mov byte ptr [rsp - 8], 0xc3" "lea rax, [rsp - 8]" "call rax"
              "jmp sluice_stub_saw"]
    /// Calls with the stack pointer of its argument, and waits for a few interrupts with it.
    WildStack [
        "mov rsp, rdi" "xor eax, eax" "syscall" "mov ecx, 3000000" "2: sub ecx, 1" "jnz 2b"
        "mov eax, 2" "xor edi, edi" "syscall" "jmp sluice_stub_leave"
    ]
    /// Calls and runs with the flags of its argument set.
    Flags [
        "pushfq" "or [rsp], rdi" "popfq" "xor eax, eax" "syscall" "test eax, eax"
        "jnz sluice_stub_saw" "mov eax, 50" "mov rdi, rsp" "mov esi, 0" "syscall"
        "mov eax, 2" "xor edi, edi" "syscall" "mov ecx, 3000000" "2: sub ecx, 1" "jnz 2b"
        "jmp sluice_stub_leave"
    ]
    /// Sets the flags of its argument and sees whether they stay.
    KeepsFlags [
        "pushfq" "or [rsp], rdi" "popfq" "pushfq" "pop rax" "test rax, rdi"
        "jnz sluice_stub_saw" "jmp sluice_stub_leave"
    ]
    /// Interrupts off by `popf`, then a loop: it must be preempted all the same.
    PopfCli [
        "pushfq" "and qword ptr [rsp], -513" "popfq" "pushfq" "pop rax" "test eax, 512"
        "jz sluice_stub_saw" "2: jmp 2b"
    ]
    /// Single-steps from `mov ss` over a call.
    StepOverCall [
        "mov cx, ss" "pushfq" "or qword ptr [rsp], 256" "xor eax, eax" "popfq" "mov ss, cx"
        "syscall" "jmp sluice_stub_leave"
    ]
    /// Memory operand of an unaligned access with alignment checks on.
    Unaligned [
        "pushfq" "or qword ptr [rsp], 0x40000" "popfq" "mov rax, [rsp - 63]"
        "jmp sluice_stub_leave"
    ]
    /// What the vector and x87 state was when it began: all as after a reset.
    LookVectors [
        "sub rsp, 512" "fxsave64 [rsp]"
        "cmp word ptr [rsp], 0x37f" "jne sluice_stub_saw"
        "cmp word ptr [rsp + 2], 0" "jne sluice_stub_saw"
        "cmp byte ptr [rsp + 4], 0" "jne sluice_stub_saw"
        "cmp dword ptr [rsp + 24], 0x1f80" "jne sluice_stub_saw"
        "mov ecx, 32"
        "2: cmp qword ptr [rsp + rcx], 0" "jne sluice_stub_saw"
        "add ecx, 8" "cmp ecx, 416" "jne 2b"
        "cmp qword ptr [rsp + 8], 0" "jne sluice_stub_saw"
        "cmp qword ptr [rsp + 16], 0" "jne sluice_stub_saw"
        "jmp sluice_stub_leave"
    ]
    /// Fills vector and x87 registers with a secret, and keeps looking at them.
    FillVectors [
        "movabs rax, 0x5ec2e7da7a110ca7" "movq xmm0, rax" "movq xmm7, rax" "movq xmm15, rax"
        "fld1" "fldpi"
        "2: movq rcx, xmm15" "cmp rcx, rax" "jne sluice_stub_saw" "jmp 2b"
    ]
    /// What the general registers were when it began: nothing but argument and stack.
    LookRegisters [
        "mov rdi, rax" "or rdi, rbx" "or rdi, rcx" "or rdi, rdx" "or rdi, rsi" "or rdi, rbp"
        "or rdi, r8" "or rdi, r9" "or rdi, r10" "or rdi, r11" "or rdi, r12" "or rdi, r13"
        "or rdi, r14" "or rdi, r15" "jz sluice_stub_leave" "jmp sluice_stub_saw"
    ]
    /// What a call leaves in the registers: what was there, and nothing of the kernel's.
    AfterCall [
        "mov rbx, 0x1111" "mov rbp, 0x2222" "mov r8, 0x3333" "mov r9, 0x4444" "mov r10, 0x5555"
        "mov r12, 0x6666" "mov r13, 0x7777" "mov r14, 0x8888" "mov r15, 0x9999" "mov rsi, 0xaaaa"
        "mov edi, 0" "mov eax, 51" "syscall"
        "test rcx, rcx" "js sluice_stub_saw" "test r11, r11" "js sluice_stub_saw"
        "cmp rbx, 0x1111" "jne sluice_stub_saw" "cmp rbp, 0x2222" "jne sluice_stub_saw"
        "cmp r8, 0x3333" "jne sluice_stub_saw" "cmp r9, 0x4444" "jne sluice_stub_saw"
        "cmp r10, 0x5555" "jne sluice_stub_saw" "cmp r12, 0x6666" "jne sluice_stub_saw"
        "cmp r13, 0x7777" "jne sluice_stub_saw" "cmp r14, 0x8888" "jne sluice_stub_saw"
        "cmp r15, 0x9999" "jne sluice_stub_saw" "cmp rsi, 0xaaaa" "jne sluice_stub_saw"
        "jmp sluice_stub_leave"
    ]
    /// An x87 exception left pending over calls and interrupts.
    PendingX87 [
        "fninit" "push 0x37b" "fldcw [rsp]" "fldz" "fld1" "fdiv st(0), st(1)"
        "mov eax, 2" "xor edi, edi" "syscall" "mov ecx, 3000000" "2: sub ecx, 1" "jnz 2b"
        "mov eax, 50" "xor edi, edi" "xor esi, esi" "syscall" "fwait" "jmp sluice_stub_saw"
    ]
    /// A vector exception.
    VectorDivide [
        "push 0x1d80" "ldmxcsr [rsp]" "pxor xmm0, xmm0" "pcmpeqd xmm1, xmm1" "cvtsi2sd xmm1, rsp"
        "divsd xmm1, xmm0" "jmp sluice_stub_saw"
    ]
    /// Reserved bits of MXCSR.
    BadMxcsr ["push -1" "ldmxcsr [rsp]" "jmp sluice_stub_saw"]
    /// Restores vector state with reserved bits set.
    BadFxrstor [
        "sub rsp, 512" "fxsave64 [rsp]" "mov dword ptr [rsp + 24], -1" "fxrstor64 [rsp]"
        "jmp sluice_stub_saw"
    ]
    /// Direction flag down over calls, vector exceptions unmasked.
    UnmaskedCalls [
        "push 0x0000" "ldmxcsr [rsp]" "std" "mov eax, 51" "syscall" "mov eax, 2" "xor edi, edi"
        "syscall" "cld" "jmp sluice_stub_leave"
    ]
}

#[cfg(test)]
mod tests {
    use super::{Stub, code};

    #[test]
    fn the_stubs_fit_a_page_and_begin_where_they_say() {
        let code = code();
        assert!(code.len() <= abi::limits::PAGE_BYTES, "{}", code.len());
        assert_eq!(Stub::Script.offset(), 0);
        let at = |stub: Stub| stub.offset() as usize;
        assert_eq!(code[at(Stub::Hlt)], 0xf4);
        assert_eq!(code[at(Stub::Ud2)..][..2], [0x0f, 0x0b]);
        assert_eq!(code[at(Stub::Cli)], 0xfa);
    }
}
