//! Why bytes, or instructions put together by hand, are not a program.
//!
//! Every variant names the slot at fault (`pc`) and what was found there; the [`Display`] form is
//! one line a person can act on.
//!
//! [`Display`]: core::fmt::Display

use core::fmt;

/// A field of an encoded instruction (RFC 9669 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// Destination register.
    Dst,
    /// Source register.
    Src,
    /// Offset.
    Offset,
    /// Immediate.
    Imm,
    /// Opcode of an immediate load's second slot.
    Opcode,
}

/// A structural rule that a program breaks. No program value exists that breaks one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DecodeError {
    /// No instruction at all.
    Empty,
    /// The length in bytes is not a multiple of eight.
    Length {
        /// Length in bytes.
        bytes: usize,
    },
    /// More slots than allowed.
    TooLong {
        /// Slots in the program.
        slots: usize,
        /// Slots allowed.
        limit: usize,
    },
    /// No instruction has this opcode.
    UnknownOpcode {
        /// Slot.
        pc: u32,
        /// The opcode.
        opcode: u8,
    },
    /// `LD_ABS` or `LD_IND`: the deprecated *packet* conformance group (RFC 9669 §5.5).
    LegacyPacket {
        /// Slot.
        pc: u32,
        /// The opcode.
        opcode: u8,
    },
    /// A register field holds a number above 10.
    NoSuchRegister {
        /// Slot.
        pc: u32,
        /// Which field.
        field: Field,
        /// The number.
        number: u8,
    },
    /// The instruction would write `r10`.
    FramePointerWritten {
        /// Slot.
        pc: u32,
    },
    /// A field that this instruction does not use is not zero.
    ReservedField {
        /// Slot.
        pc: u32,
        /// Which field.
        field: Field,
        /// Its value.
        value: i32,
    },
    /// The offset field selects a variant that this arithmetic operation does not have.
    NoSuchVariant {
        /// Slot.
        pc: u32,
        /// The offset field.
        offset: i16,
    },
    /// A byte swap over something else than 16, 32 or 64 bits.
    SwapWidth {
        /// Slot.
        pc: u32,
        /// The width asked for, in bits.
        bits: i32,
    },
    /// No atomic operation has this immediate.
    UnknownAtomic {
        /// Slot.
        pc: u32,
        /// The immediate.
        imm: i32,
    },
    /// No call has this source field.
    UnknownCall {
        /// Slot.
        pc: u32,
        /// The source field.
        kind: u8,
    },
    /// No 64-bit immediate load has this source field.
    UnknownImm64 {
        /// Slot.
        pc: u32,
        /// The source field.
        kind: u8,
    },
    /// A 64-bit immediate load without its second slot.
    NoSecondSlot {
        /// Slot.
        pc: u32,
    },
    /// The second slot of a 64-bit immediate load that does not exist (instructions only: as
    /// bytes this is opcode 0).
    StraySecondSlot {
        /// Slot.
        pc: u32,
    },
    /// A jump or a local call that leaves the program.
    TargetOutside {
        /// Slot.
        pc: u32,
        /// The slot it goes to.
        target: i64,
    },
    /// A jump or a local call into the second slot of a 64-bit immediate load.
    TargetInsideImm64 {
        /// Slot.
        pc: u32,
        /// The slot it goes to.
        target: u32,
    },
    /// A branch whose distance does not fit its 16-bit field (instructions only).
    BranchTooFar {
        /// Slot.
        pc: u32,
        /// The slot it goes to.
        target: u32,
    },
    /// An operand or a size that this instruction cannot have (instructions only).
    NotEncodable {
        /// Slot.
        pc: u32,
    },
    /// The last slot is neither an exit nor an unconditional jump.
    FallsOffEnd {
        /// Slot.
        pc: u32,
    },
}

impl DecodeError {
    /// The slot at fault; `None` where the whole program is.
    #[must_use]
    pub const fn pc(&self) -> Option<u32> {
        match *self {
            Self::Empty | Self::Length { .. } | Self::TooLong { .. } => None,
            Self::UnknownOpcode { pc, .. }
            | Self::LegacyPacket { pc, .. }
            | Self::NoSuchRegister { pc, .. }
            | Self::FramePointerWritten { pc }
            | Self::ReservedField { pc, .. }
            | Self::NoSuchVariant { pc, .. }
            | Self::SwapWidth { pc, .. }
            | Self::UnknownAtomic { pc, .. }
            | Self::UnknownCall { pc, .. }
            | Self::UnknownImm64 { pc, .. }
            | Self::NoSecondSlot { pc }
            | Self::StraySecondSlot { pc }
            | Self::TargetOutside { pc, .. }
            | Self::TargetInsideImm64 { pc, .. }
            | Self::BranchTooFar { pc, .. }
            | Self::NotEncodable { pc }
            | Self::FallsOffEnd { pc } => Some(pc),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dst => "destination register",
            Self::Src => "source register",
            Self::Offset => "offset",
            Self::Imm => "immediate",
            Self::Opcode => "opcode",
        })
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(pc) = self.pc() {
            write!(f, "instruction {pc}: ")?;
        }
        match *self {
            Self::Empty => write!(f, "the program is empty"),
            Self::Length { bytes } => write!(f, "{bytes} bytes are not a multiple of 8"),
            Self::TooLong { slots, limit } => {
                write!(f, "{slots} instructions are more than the {limit} allowed")
            }
            Self::UnknownOpcode { opcode, .. } => write!(f, "no instruction is {opcode:#04x}"),
            Self::LegacyPacket { opcode, .. } => write!(
                f,
                "{opcode:#04x} is a packet load of the deprecated LD_ABS/LD_IND group; load \
                 through data and data_end instead"
            ),
            Self::NoSuchRegister { field, number, .. } => {
                write!(f, "the {field} is r{number}, which does not exist")
            }
            Self::FramePointerWritten { .. } => write!(f, "r10 is read-only"),
            Self::ReservedField { field, value, .. } => {
                write!(f, "the unused {field} is {value} and must be 0")
            }
            Self::NoSuchVariant { offset, .. } => {
                write!(f, "the operation has no variant with offset {offset}")
            }
            Self::SwapWidth { bits, .. } => write!(f, "{bits} bits cannot be swapped"),
            Self::UnknownAtomic { imm, .. } => write!(f, "no atomic operation is {imm:#x}"),
            Self::UnknownCall { kind, .. } => write!(f, "no call has source {kind}"),
            Self::UnknownImm64 { kind, .. } => write!(f, "no 64-bit load has source {kind}"),
            Self::NoSecondSlot { .. } => write!(f, "the 64-bit load has no second slot"),
            Self::StraySecondSlot { .. } => write!(f, "a second slot follows no 64-bit load"),
            Self::TargetOutside { target, .. } => {
                write!(f, "goes to slot {target}, outside the program")
            }
            Self::TargetInsideImm64 { target, .. } => {
                write!(f, "goes to slot {target}, the middle of a 64-bit load")
            }
            Self::BranchTooFar { target, .. } => {
                write!(f, "slot {target} is too far for a conditional branch")
            }
            Self::NotEncodable { .. } => write!(f, "the instruction has no encoding"),
            Self::FallsOffEnd { .. } => write!(f, "control can run off the program's end"),
        }
    }
}

impl core::error::Error for DecodeError {}
