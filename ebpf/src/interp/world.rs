//! What is outside of a program: helpers and maps, behind traits.
//!
//! The interpreter checks every argument against the helper's signature first: what arrives here
//! are numbers, bytes that the program may read, and a buffer that it may write.

use crate::packet::PacketBuffer;

/// One call of a helper, its arguments resolved.
pub struct HelperCall<'c, 'p> {
    /// The helper's number.
    pub id: u32,
    /// `r1` to `r5`: numbers as they are, and addresses that mean something to the interpreter
    /// only. Registers that nothing has written, and optional arguments not passed, are 0.
    pub args: [u64; 5],
    /// The bytes behind its memory arguments, in order; empty for null.
    pub inputs: [&'c [u8]; 2],
    /// The memory that it writes, zeroes before; the program has what is left here afterwards.
    pub output: &'c mut [u8],
    /// The packet or buffer as it is now.
    pub packet: Packet<'c, 'p>,
}

/// The packet or buffer that a helper may look at.
pub enum Packet<'c, 'p> {
    /// It can only be read.
    Shared(&'c [u8]),
    /// It can be written and moved.
    Exclusive(&'c mut PacketBuffer<'p>),
}

impl Packet<'_, '_> {
    /// The bytes.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Exclusive(packet) => packet.data(),
        }
    }
}

/// The bodies of helper functions. Those of the three map helpers are [`Maps`]'.
pub trait Helpers {
    /// Calls helper `id` with `r1` to `r5`, unwritten ones 0. `None` if there is no such helper:
    /// the program then traps.
    fn call(&mut self, id: u32, args: [u64; 5]) -> Option<u64>;

    /// The same, for helpers that look at the packet or buffer as it is now.
    fn call_on(&mut self, id: u32, args: [u64; 5], _packet: &[u8]) -> Option<u64> {
        self.call(id, args)
    }

    /// The same, for helpers that work on memory or move the packet.
    fn call_with(&mut self, call: &mut HelperCall<'_, '_>) -> Option<u64> {
        self.call_on(call.id, call.args, call.packet.data())
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

/// What is in a program's maps. `map` is a position in [`crate::Program::maps`]; keys and values
/// have the sizes that it says there.
pub trait Maps {
    /// The slot of a key: a number below the map's `max_entries` that names its value.
    fn lookup(&mut self, map: u32, key: &[u8]) -> Option<u32>;
    /// Writes an entry: what `map_update_elem` leaves in `r0`.
    fn update(&mut self, map: u32, key: &[u8], value: &[u8], flags: u64) -> u64;
    /// Takes an entry out: what `map_delete_elem` leaves in `r0`.
    fn delete(&mut self, map: u32, key: &[u8]) -> u64;
    /// Copies bytes of a slot's value; false if there are none.
    fn read(&self, map: u32, slot: u32, offset: usize, into: &mut [u8]) -> bool;
    /// Writes bytes of a slot's value; false if there are none.
    fn write(&mut self, map: u32, slot: u32, offset: usize, bytes: &[u8]) -> bool;
}

/// Without any map: whoever uses one traps.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMaps;

impl Maps for NoMaps {
    fn lookup(&mut self, _map: u32, _key: &[u8]) -> Option<u32> {
        None
    }

    fn update(&mut self, _map: u32, _key: &[u8], _value: &[u8], _flags: u64) -> u64 {
        // -ENOENT
        -2_i64 as u64
    }

    fn delete(&mut self, _map: u32, _key: &[u8]) -> u64 {
        -2_i64 as u64
    }

    fn read(&self, _map: u32, _slot: u32, _offset: usize, _into: &mut [u8]) -> bool {
        false
    }

    fn write(&mut self, _map: u32, _slot: u32, _offset: usize, _bytes: &[u8]) -> bool {
        false
    }
}

/// Everything outside of a program.
pub struct World<'w> {
    /// Its helpers.
    pub helpers: &'w mut dyn Helpers,
    /// Its maps.
    pub maps: &'w mut dyn Maps,
}

/// What a run looks like before an instruction, for whoever watches.
#[derive(Clone, Copy, Debug)]
pub struct View<'v> {
    /// The instruction's slot.
    pub pc: u32,
    /// The registers; one that nothing has written is 0.
    pub registers: &'v [u64; 11],
    /// Bit n: register n has been written.
    pub written: u16,
    /// Address of the packet's first byte.
    pub data: u64,
    /// Address just past its last byte.
    pub data_end: u64,
    /// Frames on the stack, the main program's included.
    pub depth: usize,
}
