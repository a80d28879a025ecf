//! Names of values, so that copies of a value are known to be equal.
//!
//! In a loop-free program each instruction runs at most once in a run, so the value that it makes
//! can be named after it, on every path. Where paths meet and a register holds differently named
//! values, the value that it has *there* is named after the place and the register.

/// A value's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Name(u32);

/// Where in a state a value is: a register (0 to 10) or a stack slot (11 and up).
pub(super) type Seat = u8;

impl Name {
    /// No name: equal to nothing. As a base: the first byte of the packet.
    pub(super) const NONE: Name = Name(0);
    /// The first byte of the packet, or of the buffer.
    pub(super) const DATA: Name = Name(0);

    /// The value that the instruction at `pc` makes.
    pub(super) const fn made_at(pc: u32) -> Name {
        // Programs have at most 2^16 slots (`ebpf::limits::HOST_SLOTS`).
        Name((pc & 0x00ff_ffff) + 1)
    }

    /// The value in `seat` where paths meet before `pc`.
    pub(super) const fn met_at(pc: u32, seat: Seat) -> Name {
        Name(1 << 31 | (pc & 0x00ff_ffff) << 7 | (seat & 0x7f) as u32)
    }
}

const _: () = assert!(ebpf::limits::HOST_SLOTS < 1 << 24);
const _: () = assert!(11 + ebpf::limits::STACK_BYTES / 8 < 1 << 7);
