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
    /// A number that is added to a pointer is not bounded: to 0..=65535 in the packet, to nearby
    /// elsewhere.
    UnboundedOffset(Reg),
    /// A comparison that would reveal an address.
    PointerComparison(Reg),
    /// A filter has a loop.
    BackEdge,
    /// Nothing shows that the loop ends, or how soon.
    UnboundedLoop,
    /// Control never comes here.
    UnreachableCode,
    /// No such helper.
    UnknownHelper(u32),
    /// This kind of program may not call the helper.
    HelperNotAllowed(u32),
    /// A helper's argument is not what it takes.
    HelperArgument(Reg),
    /// The size of a helper's memory is not bounded, or may be nothing.
    HelperSize(Reg),
    /// A filter calls no functions.
    LocalCall,
    /// A function calls itself, through others or not.
    Recursion,
    /// Functions are nested deeper than `ebpf::limits::CALL_DEPTH`.
    CallDepth,
    /// A jump leads from one function into another.
    SharedCode,
    /// The number of the helper is not the same in every run, or a filter calls one.
    IndirectCall,
    /// Kernel functions do not exist here.
    KernelFunction(u32),
    /// A 64-bit load of a map in a filter, or of something that does not exist here.
    MapReference,
    /// The program has no such map.
    UnknownMap(u32),
    /// The values of this map have no place that is fixed.
    NoDirectValue(u32),
    /// An access leaves a map's value.
    MapValueOutOfBounds {
        /// The base register.
        reg: Reg,
        /// How far the access reaches from the value's first byte, in bytes.
        end: i32,
        /// The value's size, in bytes.
        size: u32,
    },
    /// The result of a look-up is used before it is compared with 0.
    NullNotChecked(Reg),
    /// A pointer into what is gone: the packet before it was moved, or a function's frame.
    StalePointer(Reg),
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
            None => match self.about_flow() {
                Some(text) => f.write_str(text),
                None => self.about_program(f),
            },
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
                "is added to a pointer and not bounded, to 0..=65535 in the packet; \
                 mask or compare it first",
            ),
            Self::PointerComparison(reg) => (
                reg,
                "is compared in a way that reveals an address; compare packet pointers with \
                 data_end or each other, unsigned, in 64 bits",
            ),
            Self::HelperArgument(reg) => (reg, "is not what this helper takes"),
            Self::HelperSize(reg) => (
                reg,
                "is the size of memory for a helper and not bounded to what memory there is; \
                 compare it first, also with 0 where that is not allowed",
            ),
            Self::NullNotChecked(reg) => {
                (reg, "may be null; compare the result of the look-up with 0 first")
            }
            Self::StalePointer(reg) => (
                reg,
                "points to what is gone; load packet pointers again after the packet's bounds \
                 moved, and keep none to a function's frame",
            ),
            Self::AtomicAccess(reg) => (reg, "points to memory without atomic access"),
            _ => return None,
        })
    }

    /// Reasons that the program's calls and loops are the subject of, and nothing more is said of.
    const fn about_flow(&self) -> Option<&'static str> {
        Some(match *self {
            Self::ReturnsPointer => "r0 is a pointer at exit; return a number",
            Self::BackEdge => "a loop ends here; a filter has none",
            Self::UnboundedLoop => {
                "nothing shows that this loop ends; count something up or down to a bound that is \
                 compared in every round"
            }
            Self::UnreachableCode => "no path leads here",
            Self::LocalCall => "a filter calls no functions",
            Self::Recursion => "a function calls itself here",
            Self::SharedCode => {
                "a jump leads from one function into another; functions share no code"
            }
            Self::IndirectCall => {
                "the number of the helper must be known here, the same in every run"
            }
            Self::MapReference => "there is nothing of this kind to load here",
            Self::Redirect => "XDP_REDIRECT (4) is not an answer here; use XDP_TX",
            Self::Malformed => "the program is not what decoding promises",
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
            Self::UnknownHelper(id) => match ebpf::helper::linux_name(id) {
                Some(name) => write!(f, "there is no helper {name} ({id})"),
                None => write!(f, "there is no helper {id}"),
            },
            Self::HelperNotAllowed(id) => {
                let name = ebpf::helper::by_id(id).map_or("this one", |helper| helper.name);
                write!(f, "a filter calls no helpers, not even {name} ({id})")
            }
            Self::CallDepth => {
                write!(f, "functions are nested deeper here than {}", ebpf::limits::CALL_DEPTH)
            }
            Self::KernelFunction(id) => write!(f, "there is no kernel function {id}"),
            Self::UnknownMap(map) => write!(f, "the program has no map {map}"),
            Self::NoDirectValue(map) => write!(
                f,
                "only an array of one entry has a value at a fixed place; look up in map {map}"
            ),
            Self::MapValueOutOfBounds { reg, end, size } => {
                let reg = reg.number();
                write!(f, "r{reg} may reach byte {end} of a map's value of {size} bytes here")
            }
            Self::UnalignedAtomic(at) => write!(f, "the atomic access at r10{at:+} is not aligned"),
            // Told by `about_register` and `about_flow`.
            _ => Ok(()),
        }
    }
}
