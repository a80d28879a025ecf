//! Local remote procedure calls: a procedure's number and arguments in the registers.
//!
//! The client trusts the server with nothing but the answer: its registers are saved on its own
//! side. The server checks the number of the procedure; whom it serves it decides by the sender's
//! number, which the kernel vouches for.

use abi::Status;

use crate::capability::Env;
use crate::transfer::{self, Message, Served};

/// What a server offers: number of the sender and arguments to results.
pub type Procedures = &'static [fn(u64, [u64; 4]) -> [u64; 4]];

/// Calls a procedure.
///
/// # Errors
/// As [`transfer::call`]; `UnknownCall` if the server has no such procedure.
pub fn call(server: Env, procedure: u64, arguments: [u64; 4]) -> Result<[u64; 4], Status> {
    let [a, b, c, d] = arguments;
    let mut message = Message([procedure, a, b, 0, c, d, 0, 0, 0, 0, 0]);
    transfer::call(server, &mut message)?;
    let [status, a, b, _, c, d, ..] = message.0;
    if status == 0 { Ok([a, b, c, d]) } else { Err(Status::UnknownCall) }
}

/// The server's side, to be called by its [`transfer::Service`].
pub fn dispatch(procedures: Procedures, served: Served, message: &mut Message) {
    let [procedure, a, b, _, c, d, ..] = message.0;
    let found = usize::try_from(procedure).ok().and_then(|number| procedures.get(number));
    message.0 = match found {
        Some(procedure) => {
            let [a, b, c, d] = procedure(served.sender, [a, b, c, d]);
            [0, a, b, 0, c, d, 0, 0, 0, 0, 0]
        }
        None => [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    };
}

#[cfg(test)]
mod tests {
    use super::{Procedures, dispatch};
    use crate::transfer::{Message, Served};

    const PROCEDURES: Procedures = &[|sender, [a, b, ..]| [sender, a + b, 0, 0]];

    #[test]
    fn a_procedure_is_found_by_number_and_no_other_is() {
        let served = Served { sender: 7, synchronous: true };
        let mut message = Message([0, 40, 2, 9, 9, 9, 9, 9, 9, 9, 9]);
        dispatch(PROCEDURES, served, &mut message);
        assert_eq!(message.0, [0, 7, 42, 0, 0, 0, 0, 0, 0, 0, 0]);
        for number in [1, u64::MAX] {
            let mut message = Message([number; 11]);
            dispatch(PROCEDURES, served, &mut message);
            assert_eq!(message.0, [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        }
    }
}
