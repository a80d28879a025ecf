//! Stacks, each with an unmapped page below it.
//!
//! An overflow of the kernel's stack touches its guard, cannot push the page fault's frame there
//! either, and so arrives as a double fault on a stack of its own, which says where it came from.

use crate::memory::PAGE;
use core::cell::UnsafeCell;
use core::ops::Range;

/// A guard page, then the stack itself.
#[repr(C, align(4096))]
pub(super) struct Stack<const BYTES: usize>(UnsafeCell<[u8; BYTES]>);

// SAFETY: nobody reads or writes a stack through this type; the processor does, through `rsp`.
unsafe impl<const BYTES: usize> Sync for Stack<BYTES> {}

impl<const BYTES: usize> Stack<BYTES> {
    const fn new() -> Self {
        assert!(BYTES.is_multiple_of(PAGE) && BYTES > PAGE);
        Self(UnsafeCell::new([0; BYTES]))
    }

    /// The stack's usable addresses.
    pub(super) fn range(&self) -> Range<u64> {
        let start = self.guard() + PAGE as u64;
        start..self.guard() + BYTES as u64
    }

    /// The guard page's address.
    fn guard(&self) -> u64 {
        self.0.get() as u64
    }
}

const KERNEL_STACK_BYTES: usize = PAGE + 256 * 1024;
const TRAP_STACK_BYTES: usize = PAGE + 16 * 1024;

/// Offset of the kernel stack's top from its symbol.
pub(super) const KERNEL_STACK_TOP: usize = KERNEL_STACK_BYTES;

/// The stack that the kernel runs on.
pub(super) static KERNEL_STACK: Stack<KERNEL_STACK_BYTES> = Stack::new();
/// Where traps from ring 3 push their frame; left at once.
pub(super) static TRAP_STACK: Stack<TRAP_STACK_BYTES> = Stack::new();
/// Debug exceptions.
pub(super) static DEBUG_STACK: Stack<TRAP_STACK_BYTES> = Stack::new();
/// Non-maskable interrupts.
pub(super) static NMI_STACK: Stack<TRAP_STACK_BYTES> = Stack::new();
/// Double faults.
pub(super) static DOUBLE_FAULT_STACK: Stack<TRAP_STACK_BYTES> = Stack::new();
/// Machine checks.
pub(super) static MACHINE_CHECK_STACK: Stack<TRAP_STACK_BYTES> = Stack::new();

/// Every page that must stay unmapped.
pub(super) fn guards() -> [u64; 6] {
    [
        KERNEL_STACK.guard(),
        TRAP_STACK.guard(),
        DEBUG_STACK.guard(),
        NMI_STACK.guard(),
        DOUBLE_FAULT_STACK.guard(),
        MACHINE_CHECK_STACK.guard(),
    ]
}

/// Every range that a frame pointer may point into.
pub(super) fn ranges() -> [Range<u64>; 6] {
    [
        KERNEL_STACK.range(),
        TRAP_STACK.range(),
        DEBUG_STACK.range(),
        NMI_STACK.range(),
        DOUBLE_FAULT_STACK.range(),
        MACHINE_CHECK_STACK.range(),
    ]
}
