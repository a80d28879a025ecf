//! Why an object, or one program of it, cannot be read.
//!
//! Each variant says where in the file the fault is (section, offset, symbol) and what stands
//! there. A fault of the file as a whole refuses the object; a fault of one program, or of a map
//! that it uses, refuses that program and leaves the others.

use alloc::string::String;
use core::fmt;

use crate::error::DecodeError;
use crate::map::MapError;

/// Why an object or a program of it is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectError {
    /// The file is not what `clang -target bpf` makes.
    NotBpf {
        /// What it is instead.
        found: &'static str,
    },
    /// A table of the file is not inside the file, or does not have its format.
    Elf {
        /// Which.
        part: &'static str,
    },
    /// The type information (`.BTF`, `.BTF.ext`) does not have its format.
    Btf {
        /// The section.
        section: &'static str,
        /// Offset in it, in bytes.
        offset: usize,
        /// What was expected there.
        expected: &'static str,
    },
    /// More than a limit allows.
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How much.
        found: u64,
        /// The limit.
        limit: usize,
        /// The limit's name in [`crate::limits`].
        name: &'static str,
    },
    /// A section for programs of a type that does not run here.
    ProgramType {
        /// The section.
        section: String,
    },
    /// A function that does not begin and end with instructions of its section.
    Function {
        /// The section.
        section: String,
        /// The function.
        name: String,
    },
    /// A call goes to a place where no function begins.
    CallTarget {
        /// Section of the call.
        section: String,
        /// Offset of the call in it, in bytes.
        offset: u64,
    },
    /// An instruction refers to something that cannot be given to it.
    Relocation {
        /// Section of the instruction.
        section: String,
        /// Offset of the instruction in it, in bytes.
        offset: u64,
        /// What it refers to.
        symbol: String,
        /// Why not.
        fault: RelocationFault,
    },
    /// An instruction asks for the layout of the running kernel's types (CO-RE).
    CoreRelocation {
        /// Section of the instruction.
        section: String,
        /// Offset of the instruction in it, in bytes.
        offset: u64,
        /// The type whose layout it asks for.
        of: String,
        /// The members on the way, as positions: `0:1:2`.
        access: String,
    },
    /// The program uses a map that cannot exist.
    Map {
        /// The map.
        name: String,
        /// Why not.
        fault: MapFault,
    },
    /// The program's instructions are not a program.
    Program {
        /// Its name.
        name: String,
        /// The rule that it breaks; instructions are counted in the linked program.
        error: DecodeError,
    },
}

/// Why a reference from an instruction cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelocationFault {
    /// A relocation type that has no meaning for instructions (`R_BPF_*`).
    Type(u32),
    /// There is no such symbol in the symbol table.
    NoSymbol,
    /// The symbol is defined elsewhere: a kernel variable, a kernel function, `CONFIG_*`.
    Extern,
    /// The instruction is neither a 64-bit load nor a call.
    Instruction,
    /// A 64-bit load of a function's address: callbacks are not supported.
    Callback,
    /// The symbol's section is neither code, nor maps, nor data.
    Section,
    /// No map begins at the symbol.
    NoMap,
    /// A byte beyond the section's end.
    Outside,
}

/// Why a map of the object cannot exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapFault {
    /// A kind that does not exist here (`BPF_MAP_TYPE_*`).
    Kind(u32),
    /// Flags that mean something that does not exist here (`BPF_F_*`), as bits.
    Flags(u32),
    /// A map of maps, or a map whose values are programs or maps fixed by the object.
    Nested,
    /// The definition is not one.
    Definition {
        /// What is wrong with it.
        what: &'static str,
    },
    /// Global data that contains addresses.
    Pointers,
    /// A size that no map has.
    Limit(MapError),
    /// More maps than a program may use.
    TooMany {
        /// `MAPS_MAX`.
        limit: usize,
    },
}

/// Linux's names of map kinds, by number (`enum bpf_map_type` in `include/uapi/linux/bpf.h`).
const KINDS: [&str; 34] = [
    "unspec",
    "hash",
    "array",
    "prog_array",
    "perf_event_array",
    "percpu_hash",
    "percpu_array",
    "stack_trace",
    "cgroup_array",
    "lru_hash",
    "lru_percpu_hash",
    "lpm_trie",
    "array_of_maps",
    "hash_of_maps",
    "devmap",
    "sockmap",
    "cpumap",
    "xskmap",
    "sockhash",
    "cgroup_storage",
    "reuseport_sockarray",
    "percpu_cgroup_storage",
    "queue",
    "stack",
    "sk_storage",
    "devmap_hash",
    "struct_ops",
    "ringbuf",
    "inode_storage",
    "task_storage",
    "bloom_filter",
    "user_ringbuf",
    "cgrp_storage",
    "arena",
];

impl fmt::Display for ObjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBpf { found } => write!(f, "not an object for BPF: {found}"),
            Self::Elf { part } => write!(f, "malformed: {part}"),
            Self::Btf { section, offset, expected } => {
                write!(f, "malformed: {section} at {offset:#x}: expected {expected}")
            }
            Self::TooLarge { what, found, limit, name } => {
                write!(f, "{found} {what} are more than {limit} ({name})")
            }
            Self::ProgramType { section } => {
                write!(f, "section `{section}` is for a type of program that does not run here")
            }
            Self::Function { section, name } => {
                write!(f, "function `{name}` is not wholly inside section `{section}`")
            }
            Self::CallTarget { section, offset } => {
                write!(f, "{section}+{offset:#x}: the call goes to no function's beginning")
            }
            Self::Relocation { section, offset, symbol, fault } => {
                write!(f, "{section}+{offset:#x}: `{symbol}`: {fault}")
            }
            Self::CoreRelocation { section, offset, of, access } => {
                write!(f, "{section}+{offset:#x}: ")?;
                write!(f, "CO-RE relocation (`{of}`, {access}): there is no kernel BTF here")
            }
            Self::Map { name, fault } => write!(f, "map `{name}`: {fault}"),
            Self::Program { name, error } => write!(f, "program `{name}`: {error}"),
        }
    }
}

impl core::error::Error for ObjectError {}

impl fmt::Display for RelocationFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(kind) => write!(f, "relocation type {kind} is not for instructions"),
            Self::NoSymbol => write!(f, "there is no such symbol"),
            Self::Extern => write!(f, "defined outside the object (ksym, kconfig, kfunc)"),
            Self::Instruction => write!(f, "the instruction is no 64-bit load and no call"),
            Self::Callback => write!(f, "the address of a function: callbacks are not supported"),
            Self::Section => write!(f, "its section holds neither code nor maps nor data"),
            Self::NoMap => write!(f, "no map begins there"),
            Self::Outside => write!(f, "beyond the end of its section"),
        }
    }
}

impl fmt::Display for MapFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(number) => match KINDS.get(*number as usize) {
                Some(name) => write!(f, "maps of kind {name} ({number}) do not exist here"),
                None => write!(f, "there is no kind {number} of maps"),
            },
            Self::Flags(bits) => write!(f, "flags {bits:#x} are not supported"),
            Self::Nested => write!(f, "maps of maps, and maps filled by the object, do not exist"),
            Self::Definition { what } => write!(f, "{what}"),
            Self::Pointers => write!(f, "the data contains addresses"),
            Self::Limit(error) => write!(f, "{error}"),
            Self::TooMany { limit } => write!(f, "more than {limit} maps (MAPS_MAX)"),
        }
    }
}
