//! Protected control transfer: into another environment, with the registers as the message.
//!
//! [`call`] transfers synchronously: this program waits, its slices are the callee's, the answer
//! comes back in the registers. [`send`] gives the rest of this slice and does not wait. [`serve`]
//! makes a program a callee; whom it serves is for its handler to decide, which is told the
//! sender's environment number by the kernel.

use abi::Status;
use abi::transfer::failure;

use crate::capability::Env;
use crate::sys::transfer::{self, Way};

pub use crate::sys::transfer::{Message, Served, WORDS};

/// What runs when a transfer arrives. What it leaves in the message is the answer.
pub type Service = fn(Served, &mut Message);

/// Transfers and waits for the answer, which takes the message's place.
///
/// # Errors
/// `Busy` if the callee is not parked, `WrongState` if it has no entry, has ended, or ended
/// before it answered; `BadArgument` to oneself; `BadHandle`. The message is then lost.
pub fn call(callee: Env, message: &mut Message) -> Result<u64, Status> {
    let rax = transfer::exchange(Way::Sync, callee.0, message);
    failure(rax).map_or(Ok(rax), Err)
}

/// Transfers with the rest of this slice.
///
/// # Errors
/// As [`call`].
pub fn send(receiver: Env, message: &Message) -> Result<(), Status> {
    let rax = transfer::exchange(Way::Async, receiver.0, &mut message.clone());
    failure(rax).map_or(Ok(()), Err)
}

/// Serves for ever. The handler runs on a stack of its own.
///
/// # Errors
/// What the kernel said to the registrations.
pub fn serve(service: Service) -> Result<core::convert::Infallible, Status> {
    transfer::register(service)?;
    loop {
        // A parked program wakes only for an upcall of another kind; then it parks again.
        transfer::park();
    }
}
