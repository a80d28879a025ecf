//! Protected control transfer: into another environment at the entry that it registered.
//!
//! The general registers are the message. `rbx rdx rsi rdi rbp r8 r9 r10 r12 r13 r14 r15` arrive as
//! they were when the sender executed `syscall`; `rax` holds the sender's environment number (never
//! zero); `rcx` and `r11` are lost to the instruction. `rip` and `rsp` are the receiver's own. In a
//! failed transfer only `rax` changes: [`failure`] reads it.
//!
//! A receiver is *parked*: it has given its registers up with `TransferSync(0)` and is entered at
//! its entry for `TransferSync` or `TransferAsync` ([`crate::upcall::Kind`]), with the registered
//! stack. Nothing is written to the save area: a parked environment has no state to save. Anybody
//! with a capability to it may enter it; whom it serves is for it to decide.
//!
//! - **Synchronous**: the sender's current and future slices are the receiver's, until the receiver
//!   gives them back with `TransferSync(0)`, which parks it again and continues the sender behind
//!   its call, with the receiver's registers as the answer. When the receiver ends, the sender
//!   continues with [`Status::WrongState`]; when the sender ends, the receiver goes on and its next
//!   `TransferSync(0)` only parks it.
//! - **Asynchronous**: the rest of this slice is the receiver's. The sender keeps its registers and
//!   goes on, with `rax` zero, when it has time again.
//!
//! A parked environment that gets another upcall goes on behind its `TransferSync(0)` afterwards,
//! with `rax` = [`WOKEN`].

use crate::Status;

/// In `rax` when parking ended without a transfer.
pub const WOKEN: u64 = 0;

/// What `rax` holds after a transfer that was refused.
pub const fn refused(status: Status) -> u64 {
    (status as u64).wrapping_neg()
}

/// Why a transfer failed, from `rax`; `None` if it did not.
pub fn failure(rax: u64) -> Option<Status> {
    if (rax as i64) < 0 { Status::from_number(rax.wrapping_neg()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::{WOKEN, failure, refused};
    use crate::Status;

    #[test]
    fn a_failure_is_no_environment() {
        for &status in Status::ALL.iter().filter(|&&status| status != Status::Ok) {
            assert_eq!(failure(refused(status)), Some(status));
        }
        for number in [WOKEN, 1, u64::from(u32::MAX)] {
            assert_eq!(failure(number), None);
        }
    }
}
