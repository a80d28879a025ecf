//! What a program may do that it must not.
//!
//! Each reason is the root cause at one instruction, and its text says what to change.

use core::fmt;

use ebpf::Reg;

/// Why a program is not safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnsafeReason {
    /// A register is read that nothing has written on some path.
    UninitialisedRegister(Reg),
    /// A register holds a pointer on one path and something else on another.
    MixedRegister(Reg),
    /// Stack bytes are read that nothing has written on some path. Offset from `r10`, bytes.
    UninitialisedStack(i32),
    /// An access leaves the stack. Offset from `r10`, bytes.
    StackOutOfBounds(i32),
    /// An access reaches bytes of the packet that no comparison with `data_end` covers.
    PacketOutOfBounds {
        /// The base register.
        reg: Reg,
        /// End of the access, in bytes from the register.
        end: i32,
    },
    /// An access before the start of the packet.
    BeforePacket(Reg),
    /// A store into the context, or into the packet by a filter.
    WriteToReadOnly(Reg),
    /// A context access that is no 32-bit load of a field. Offset, bytes.
    BadContextAccess(i32),
    /// An access through something that is no pointer to memory.
    NotAPointer(Reg),
    /// A pointer would become readable as a number: stored outside the stack or in part, loaded
    /// in part.
    PointerLeak(Reg),
    /// The program returns a pointer.
    ReturnsPointer,
    /// Arithmetic that no pointer may take part in.
    PointerArithmetic(Reg),
    /// A number that is added to a packet pointer is not bounded to 0..=65535.
    UnboundedOffset(Reg),
    /// A comparison that would reveal an address.
    PointerComparison(Reg),
    /// The instruction is part of a loop.
    BackEdge,
    /// Control never comes here.
    UnreachableCode,
    /// No such helper.
    UnknownHelper(u32),
    /// This kind of program may not call the helper.
    HelperNotAllowed(u32),
    /// The helper exists; its arguments cannot be proven yet.
    HelperNotTaken(u32),
    /// A helper's argument is not what it takes.
    HelperArgument(Reg),
    /// Local calls are not taken yet.
    LocalCall,
    /// Indirect calls are not taken yet.
    IndirectCall,
    /// Kernel functions do not exist here.
    KernelFunction(u32),
    /// A 64-bit load of a map or a variable; not taken yet.
    MapReference,
    /// An atomic operation on the packet or context.
    AtomicAccess(Reg),
    /// An atomic operation on the stack that is not aligned. Offset from `r10`, bytes.
    UnalignedAtomic(i32),
    /// An ASH returns `XDP_REDIRECT`.
    Redirect,
    /// The verifier met what decoding excludes.
    Malformed,
}

impl fmt::Display for UnsafeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.about_register() {
            Some((reg, text)) => write!(f, "r{} {text}", reg.number()),
            None => self.about_program(f),
        }
    }
}

impl UnsafeReason {
    /// Reasons that one register is the subject of.
    const fn about_register(&self) -> Option<(Reg, &'static str)> {
        Some(match *self {
            Self::UninitialisedRegister(reg) => (reg, "is read before it is written on every path"),
            Self::MixedRegister(reg) => {
                (reg, "is a pointer on one path to here and something else on another")
            }
            Self::BeforePacket(reg) => (reg, "may point before the packet in this access"),
            Self::WriteToReadOnly(reg) => (reg, "points to what this program may only read"),
            Self::NotAPointer(reg) => (reg, "does not point to memory that may be accessed"),
            Self::PointerLeak(reg) => (
                reg,
                "is or leads to a pointer that would be readable as a number; store and load \
                 pointers whole, in aligned stack slots",
            ),
            Self::PointerArithmetic(reg) => (
                reg,
                "takes part in arithmetic that pointers do not have; only 64-bit addition and \
                 subtraction of numbers, and the difference of packet pointers",
            ),
            Self::UnboundedOffset(reg) => (
                reg,
                "is added to a packet pointer and not bounded to 0..=65535; mask or compare it \
                 first",
            ),
            Self::PointerComparison(reg) => (
                reg,
                "is compared in a way that reveals an address; compare packet pointers with \
                 data_end or each other, unsigned, in 64 bits",
            ),
            Self::HelperArgument(reg) => (reg, "is not what this helper takes"),
            Self::AtomicAccess(reg) => (reg, "points to memory without atomic access"),
            _ => return None,
        })
    }

    /// All other reasons.
    fn about_program(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::UninitialisedStack(at) => {
                write!(f, "the stack at r10{at:+} is read before it is written on every path")
            }
            Self::StackOutOfBounds(at) => {
                write!(f, "r10{at:+} is not inside the stack of 512 bytes below r10")
            }
            Self::PacketOutOfBounds { reg, end } => {
                let (sign, distance) = (if end < 0 { '-' } else { '+' }, end.unsigned_abs());
                let reg = reg.number();
                write!(f, "compare r{reg} {sign} {distance} with data_end before this access")
            }
            Self::BadContextAccess(at) => write!(
                f,
                "the context has no field for this access at {at}; its fields are 32-bit loads \
                 at 0, 4, 8, 12 and 16"
            ),
            Self::ReturnsPointer => f.write_str("r0 is a pointer at exit; return a number"),
            Self::BackEdge => f.write_str("a loop ends here; loops are not taken yet"),
            Self::UnreachableCode => f.write_str("no path leads here"),
            Self::UnknownHelper(id) => write!(f, "there is no helper {id}"),
            Self::HelperNotAllowed(id) => {
                let name = ebpf::helper::by_id(id).map_or("this one", |helper| helper.name);
                write!(f, "a filter calls no helpers, not even {name} ({id})")
            }
            Self::HelperNotTaken(id) => {
                let name = ebpf::helper::by_id(id).map_or("this one", |helper| helper.name);
                write!(f, "calls of {name} ({id}) are not taken yet")
            }
            Self::LocalCall => f.write_str("local function calls are not taken yet"),
            Self::IndirectCall => f.write_str("indirect calls are not taken yet"),
            Self::KernelFunction(id) => write!(f, "there is no kernel function {id}"),
            Self::MapReference => f.write_str("maps and variables are not taken yet"),
            Self::UnalignedAtomic(at) => write!(f, "the atomic access at r10{at:+} is not aligned"),
            Self::Redirect => f.write_str("XDP_REDIRECT (4) is not an answer here; use XDP_TX"),
            Self::Malformed => f.write_str("the program is not what decoding promises"),
            // Told by `about_register`.
            Self::UninitialisedRegister(_)
            | Self::MixedRegister(_)
            | Self::BeforePacket(_)
            | Self::WriteToReadOnly(_)
            | Self::NotAPointer(_)
            | Self::PointerLeak(_)
            | Self::PointerArithmetic(_)
            | Self::UnboundedOffset(_)
            | Self::PointerComparison(_)
            | Self::HelperArgument(_)
            | Self::AtomicAccess(_) => Ok(()),
        }
    }
}
