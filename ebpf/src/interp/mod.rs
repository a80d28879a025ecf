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
//! readable. Addresses are synthetic ([`Layout`]). Maps and helpers are outside, in a [`World`].

pub mod arith;
mod helper;
mod layout;
mod machine;
mod memory;
mod trap;
mod world;

pub use layout::{
    CONTEXT_BASE, DATA_BASE, Layout, MAP_BASE, MAP_STRIDE, STACK_BASE, STACK_STRIDE, VALUE_BASE,
    VALUE_STRIDE, VALUES_STRIDE,
};
use machine::Machine;
use memory::Data;
pub use trap::Trap;
pub use world::{HelperCall, Helpers, Maps, NoHelpers, NoMaps, Packet, View, World};

use crate::limits::DEFAULT_BUDGET;
use crate::packet::PacketBuffer;
use crate::program::Program;

/// Called before each instruction with its slot and the registers; a register that nothing has
/// written is 0.
pub type Watch<'a> = &'a mut dyn FnMut(u32, &[u64; 11]);

/// Runs a program in a world, for at most `budget` instructions, and calls `watch` before each. The
/// packet is read-only for [`crate::Kind::Filter`]; a program of kind `Memory` has it as its
/// buffer.
///
/// # Errors
/// What the program did that it must not.
pub fn run<'w>(
    program: &'w Program,
    packet: &'w mut PacketBuffer<'_>,
    world: World<'w>,
    budget: u64,
    watch: &mut dyn FnMut(&View<'_>),
) -> Result<u64, Trap> {
    run_at(program, packet, world, (Layout::USUAL, budget), watch)
}

/// [`run`] with the regions elsewhere.
///
/// # Errors
/// What the program did that it must not.
pub fn run_at<'w>(
    program: &'w Program,
    packet: &'w mut PacketBuffer<'_>,
    world: World<'w>,
    (layout, budget): (Layout, u64),
    watch: &mut dyn FnMut(&View<'_>),
) -> Result<u64, Trap> {
    Machine::new(program, Data::Exclusive(packet), world, layout)?.run(budget, watch)
}

/// Runs a program without maps on a packet, for at most `budget` instructions. The packet is
/// read-only for [`crate::Kind::Filter`]. A program of kind `Memory` gets the packet as its buffer.
///
/// # Errors
/// What the program did that it must not.
pub fn run_packet(
    program: &Program,
    packet: &mut [u8],
    helpers: &mut dyn Helpers,
    budget: u64,
) -> Result<u64, Trap> {
    let world = World { helpers, maps: &mut NoMaps };
    run(program, &mut PacketBuffer::whole(packet), world, budget, &mut |_| {})
}

/// A filter's verdict on a packet: whether the packet is its owner's. Without helpers, and with
/// [`DEFAULT_BUDGET`].
///
/// # Errors
/// What the program did that it must not.
pub fn accepts(program: &Program, packet: &[u8]) -> Result<bool, Trap> {
    let world = World { helpers: &mut NoHelpers, maps: &mut NoMaps };
    let mut machine = Machine::new(program, Data::Shared(packet), world, Layout::USUAL)?;
    Ok(machine.run(DEFAULT_BUDGET, &mut |_| {})? != 0)
}

/// [`run_packet`], by the name that programs of kind `Memory` have for it.
///
/// # Errors
/// What the program did that it must not.
pub fn run_memory(
    program: &Program,
    memory: &mut [u8],
    helpers: &mut dyn Helpers,
    budget: u64,
) -> Result<u64, Trap> {
    run_packet(program, memory, helpers, budget)
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
    let world = World { helpers, maps: &mut NoMaps };
    let mut packet = PacketBuffer::whole(data);
    let watch = &mut |view: &View<'_>| watch(view.pc, view.registers);
    run(program, &mut packet, world, DEFAULT_BUDGET, watch)
}

/// [`trace`] without helpers.
///
/// # Errors
/// What the program did that it must not.
pub fn trace_packet(program: &Program, packet: &mut [u8], watch: Watch<'_>) -> Result<u64, Trap> {
    trace(program, packet, &mut NoHelpers, watch)
}
