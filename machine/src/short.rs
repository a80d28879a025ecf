//! Short calls: answered on the spot, without ending ring 3's stay.
//!
//! Most system calls neither block nor decide who runs next. The kernel says which ones those are
//! ([`Short::calls`]); of these the `syscall` entry asks [`Short::short`] for the answer and goes
//! back to ring 3 at once. Nothing that the long way does is lost by that: time is kept by the
//! timer and the card by its interrupt, both of which come as soon as ring 3 runs again, and a
//! call after which somebody else might have to run ends the stay ([`Answer::Stop`]).

use crate::platform::{AddressSpace, UserContext};

/// A kernel that answers some calls on the spot.
pub trait Short {
    /// Which calls those are: a bit for each number below 64. A number beyond is asked about if its
    /// last six bits are those of one that is in the set.
    fn calls(&self) -> u64;

    /// The context of this number, to be entered, and its address space.
    fn place(&mut self, number: u64) -> Option<(&mut UserContext, &AddressSpace)>;

    /// The answer to a call: number and arguments, in their order, of the context of that number,
    /// which it has given up but for the answer. Neither ends a context nor moves one.
    fn short(&mut self, who: u64, call: u64, arguments: &[u64; 6]) -> Answer;
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Ring 3 goes on, with these in `rax` and `rdx`.
    Go(u64, u64),
    /// The same are its answers, but the stay ends here ([`crate::Event::Answered`]).
    Stop(u64, u64),
    /// The same are its answers, and the stay goes on in the context of this number.
    Switch(u64, u64, u64),
    /// It is not one for the short way, and nothing has happened ([`crate::Event::Syscall`]).
    Long,
}
