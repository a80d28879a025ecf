//! What ring 3 looks like from the kernel: its registers, and why it stopped.

use crate::platform::Frame;

/// The general registers of a ring-3 program, as they are when it is not running.
///
/// A system call has its number in `rax`, arguments in `rdi rsi rdx r10 r8 r9`, and finds its
/// results in `rax` and `rdx`; `rcx` and `r11` do not survive one (they are `syscall`'s own).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
#[allow(missing_docs)] // Sixteen registers, a flags register and a program counter: named as ever.
pub struct Registers {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rip: u64,
    pub rflags: u64,
    pub rsp: u64,
}

impl Registers {
    /// Takes a transfer's message over: every general register but those that `syscall` uses, and
    /// in `rax` the sender.
    pub(crate) fn receive(&mut self, from: &Registers, sender: u64) {
        let Registers { rip, rsp, rflags, rcx, r11, .. } = *self;
        *self = Registers { rax: sender, rip, rsp, rflags, rcx, r11, ..*from };
    }
}

/// A context's part in protected control transfers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    /// It runs, or would.
    Free,
    /// It has given its registers up and can be entered.
    Parked,
    /// It has transferred to the environment of that number and waits for the answer.
    Awaiting(u64),
}

/// Why control came back to the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// Ring 3 executed `syscall`; number and arguments are in its registers.
    Syscall,
    /// Ring 3 made a call that was answered on the spot ([`crate::Answer::Stop`]).
    Answered,
    /// Ring 3 did something the processor refuses; `rip` is that of the culprit.
    Fault(Fault),
    /// The timer that [`crate::time::arm`] set went off, or a little before.
    Timer,
    /// The network card wants attention.
    Nic,
    /// An interrupt that nobody asked for, by vector.
    Spurious(u8),
}

/// Where the machine itself enters ring 3 when it faults: the kernel's registration, in the form
/// that the trap entry uses. `abi::upcall` has the layout of what it writes.
#[derive(Clone, Copy, Debug)]
pub struct FaultUpcall<'a> {
    /// The frame that the save area lies in; it cannot be given back while this is set.
    pub frame: &'a Frame,
    /// Where in it.
    pub offset: usize,
    /// The save area's address in ring 3.
    pub save: u64,
    /// Where ring 3 continues: an address of its half.
    pub entry: u64,
    /// With this stack pointer.
    pub stack: u64,
}

/// A processor exception in ring 3 (Intel SDM 3A, 6.15).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Exception number, 0 to 31.
    pub vector: u8,
    /// Error code, 0 where the exception has none.
    pub error: u64,
    /// For a page fault the address that was touched, otherwise 0.
    pub address: u64,
}
