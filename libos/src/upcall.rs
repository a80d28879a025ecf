//! Handlers for what the kernel has to say: faults, slices, revocations, transfers, messages.
//!
//! A handler is a plain function. It runs on a stack of its own, between two instructions of
//! whatever it interrupted, and when it returns the program goes on there, without entering the
//! kernel. While it runs no further upcall of its kind arrives: a fault in a fault handler ends the
//! program.
//!
//! A handler must not rely on the heap: what it interrupted may be the allocator, and then the
//! allocation fails.

pub use crate::sys::upcall::{Handler, Upcall, register as on, unregister as off};
pub use abi::upcall::Kind;

use abi::Status;

/// The vector of a page fault.
pub const PAGE_FAULT: u64 = 14;
/// In a page fault's error code: a page is bound there, but not with that right.
pub const ERROR_BOUND: u64 = 1;
/// In a page fault's error code: it was a write.
pub const ERROR_WRITE: u64 = 2;

/// Makes `handler` run on the program's faults.
///
/// # Errors
/// What the kernel said; `NoMemory` without pages for its stack.
pub fn on_fault(handler: Handler) -> Result<(), Status> {
    on(Kind::Fault, handler)
}

/// Ends the program because of a fault that its handler cannot resolve.
pub fn unresolved(fault: &Upcall) -> ! {
    crate::println!(
        "fault {} at {:#x}, error {:#x}, address {:#x}",
        fault.detail(),
        fault.rip(),
        fault.error(),
        fault.address()
    );
    crate::sys::exit(103)
}
