//! The reference interpreter: it defines what a program means.
//!
//! Slow and plain on purpose. Every access is checked against the regions the program may see,
//! reading what was never written is a [`Trap`], and a budget bounds every run; so whatever the
//! verifier accepts must run here without a trap, and whatever the compiler makes must give the
//! result that this gives. Semantics: RFC 9669; division by zero gives 0, remainder by zero
//! leaves the destination, shift counts are masked, 32-bit results are zero-extended.
//!
//! Entry registers: kinds `Filter` and `Ash` have the XDP context in `r1`; kind `Memory` has the
//! buffer in `r1` and its length in `r2`. `r10` is just above the frame's stack. Nothing else is
//! readable. Addresses are synthetic ([`CONTEXT_BASE`], [`STACK_BASE`], [`DATA_BASE`]).

pub mod arith;
mod machine;
mod memory;
mod trap;

use machine::Machine;
use memory::Data;
pub use memory::{CONTEXT_BASE, DATA_BASE, STACK_BASE, STACK_STRIDE};
pub use trap::Trap;

use crate::limits::DEFAULT_BUDGET;
use crate::program::{Kind, Program};

/// Called before each instruction with its slot and the registers; a register that nothing has
/// written is 0.
pub type Watch<'a> = &'a mut dyn FnMut(u32, &[u64; 11]);

/// The bodies of helper functions.
pub trait Helpers {
    /// Calls helper `id` with `r1` to `r5`, unwritten ones 0. `None` if there is no such helper:
    /// the program then traps.
    fn call(&mut self, id: u32, args: [u64; 5]) -> Option<u64>;

    /// The same, for helpers that look at the packet or buffer as it is now.
    fn call_on(&mut self, id: u32, args: [u64; 5], _packet: &[u8]) -> Option<u64> {
        self.call(id, args)
    }
}

/// Without any helper.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHelpers;

impl Helpers for NoHelpers {
    fn call(&mut self, _id: u32, _args: [u64; 5]) -> Option<u64> {
        None
    }
}

/// Runs a program on a packet, for at most `budget` instructions. The packet is read-only for
/// [`Kind::Filter`]. A program of kind `Memory` gets the packet as its buffer.
///
/// # Errors
/// What the program did that it must not.
pub fn run_packet(
    program: &Program,
    packet: &mut [u8],
    helpers: &mut dyn Helpers,
    budget: u64,
) -> Result<u64, Trap> {
    let data = lend(program, packet);
    Machine::new(program, data, helpers)?.run(budget, &mut |_, _| {})
}

/// A filter's verdict on a packet: whether the packet is its owner's. Without helpers, and with
/// [`DEFAULT_BUDGET`].
///
/// # Errors
/// What the program did that it must not.
pub fn accepts(program: &Program, packet: &[u8]) -> Result<bool, Trap> {
    let mut helpers = NoHelpers;
    let mut machine = Machine::new(program, Data::Shared(packet), &mut helpers)?;
    Ok(machine.run(DEFAULT_BUDGET, &mut |_, _| {})? != 0)
}

/// Runs a program on a writable buffer, for at most `budget` instructions. A filter or an ASH gets
/// the buffer as its packet, as in [`run_packet`].
///
/// # Errors
/// What the program did that it must not.
pub fn run_memory(
    program: &Program,
    memory: &mut [u8],
    helpers: &mut dyn Helpers,
    budget: u64,
) -> Result<u64, Trap> {
    Machine::new(program, lend(program, memory), helpers)?.run(budget, &mut |_, _| {})
}

/// Runs a program on a packet or buffer with [`DEFAULT_BUDGET`], calling `watch` before each
/// instruction.
///
/// # Errors
/// What the program did that it must not.
pub fn trace(
    program: &Program,
    data: &mut [u8],
    helpers: &mut dyn Helpers,
    watch: Watch<'_>,
) -> Result<u64, Trap> {
    Machine::new(program, lend(program, data), helpers)?.run(DEFAULT_BUDGET, watch)
}

/// [`trace`] without helpers.
///
/// # Errors
/// What the program did that it must not.
pub fn trace_packet(program: &Program, packet: &mut [u8], watch: Watch<'_>) -> Result<u64, Trap> {
    trace(program, packet, &mut NoHelpers, watch)
}

/// A filter only reads its packet.
fn lend<'a>(program: &Program, bytes: &'a mut [u8]) -> Data<'a> {
    match program.kind() {
        Kind::Filter => Data::Shared(bytes),
        Kind::Ash | Kind::Memory => Data::Exclusive(bytes),
    }
}
