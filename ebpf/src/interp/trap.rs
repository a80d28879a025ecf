//! Why the interpreter stopped a program.
//!
//! Each way of being wrong has a name of its own, so that a test can ask for it, and the slot.

use core::fmt;

use crate::insn::Reg;

/// What a program did that it must not, and where. A verified program never traps, except for
/// its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trap {
    /// An access that is not wholly inside one region that the program may see.
    OutOfBounds {
        /// Slot.
        pc: u32,
        /// First byte of the access.
        address: u64,
        /// Bytes accessed.
        size: usize,
    },
    /// A write to a region that may only be read.
    ReadOnly {
        /// Slot.
        pc: u32,
        /// First byte of the access.
        address: u64,
        /// Bytes accessed.
        size: usize,
    },
    /// An access to the context that is not an unsigned 32-bit load of a field.
    Context {
        /// Slot.
        pc: u32,
        /// Offset in the context, in bytes.
        offset: u64,
        /// Bytes accessed.
        size: usize,
    },
    /// A register is read that nothing has written.
    UninitialisedRegister {
        /// Slot.
        pc: u32,
        /// The register.
        reg: Reg,
    },
    /// A byte of the stack is read that nothing has written.
    UninitialisedStack {
        /// Slot.
        pc: u32,
        /// The byte's address.
        address: u64,
    },
    /// A call of a helper that does not exist here.
    UnknownHelper {
        /// Slot.
        pc: u32,
        /// The helper's number.
        id: u64,
    },
    /// A helper's argument is not what its signature says.
    HelperArgument {
        /// Slot.
        pc: u32,
        /// The argument's register.
        reg: Reg,
    },
    /// A call of a kernel function.
    KernelFunction {
        /// Slot.
        pc: u32,
        /// Its BTF id.
        id: u32,
    },
    /// A 64-bit load of a map that the program does not have, or of a byte that no map's only value
    /// has.
    UnknownMap {
        /// Slot.
        pc: u32,
        /// The map's position.
        map: u32,
    },
    /// A 64-bit load of something that does not exist here, as a variable's address.
    Imm64Kind {
        /// Slot.
        pc: u32,
        /// Its source field.
        kind: u8,
    },
    /// Local calls nest deeper than [`crate::limits::CALL_DEPTH`] frames.
    CallDepth {
        /// Slot.
        pc: u32,
    },
    /// The packet or buffer is longer than the interpreter's addresses reach; nothing was run.
    DataTooLong {
        /// Its length in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The budget of instructions is used up before this one.
    Budget {
        /// Slot.
        pc: u32,
    },
}

impl Trap {
    /// The slot at fault; 0 if nothing was run.
    #[must_use]
    pub const fn pc(&self) -> u32 {
        match *self {
            Self::OutOfBounds { pc, .. }
            | Self::ReadOnly { pc, .. }
            | Self::Context { pc, .. }
            | Self::UninitialisedRegister { pc, .. }
            | Self::UninitialisedStack { pc, .. }
            | Self::UnknownHelper { pc, .. }
            | Self::HelperArgument { pc, .. }
            | Self::KernelFunction { pc, .. }
            | Self::UnknownMap { pc, .. }
            | Self::Imm64Kind { pc, .. }
            | Self::CallDepth { pc }
            | Self::Budget { pc } => pc,
            Self::DataTooLong { .. } => 0,
        }
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instruction {}: ", self.pc())?;
        match *self {
            Self::OutOfBounds { address, size, .. } => {
                write!(f, "{size} bytes at {address:#x} are not the program's")
            }
            Self::ReadOnly { address, size, .. } => {
                write!(f, "{size} bytes at {address:#x} are read-only")
            }
            Self::Context { offset, size, .. } => {
                write!(f, "{size} bytes at offset {offset} of the context are no field of it")
            }
            Self::UninitialisedRegister { reg, .. } => {
                write!(f, "r{} is read before anything is written to it", reg.number())
            }
            Self::UninitialisedStack { address, .. } => {
                write!(f, "the stack at {address:#x} is read before anything is written to it")
            }
            Self::UnknownHelper { id, .. } => write!(f, "there is no helper {id}"),
            Self::HelperArgument { reg, .. } => {
                write!(f, "r{} is not what the helper takes", reg.number())
            }
            Self::KernelFunction { id, .. } => write!(f, "there is no kernel function {id}"),
            Self::UnknownMap { map, .. } => {
                write!(f, "there is no map {map} with such a value")
            }
            Self::Imm64Kind { kind, .. } => write!(f, "there is no 64-bit load of kind {kind}"),
            Self::CallDepth { .. } => write!(f, "calls nest too deep"),
            Self::DataTooLong { bytes, limit } => {
                write!(f, "{bytes} bytes of data are more than the {limit} allowed")
            }
            Self::Budget { .. } => write!(f, "the budget of instructions is used up"),
        }
    }
}

impl core::error::Error for Trap {}
