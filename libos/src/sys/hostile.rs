//! Calls that a program has no business making, for programs that show what comes of it.
//!
//! Each is one raw call whose registers are fixed here. None can hurt the caller: the kernel is to
//! refuse all of them, and where it did not, it would have touched only what is not the caller's.

use abi::{Call, Handle, Status};

use super::platform;

/// What to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Kill an environment by a handle that was never given out.
    ForgedHandle,
    /// Print from the kernel's half of the address space.
    KernelPointer,
    /// Print from an address that no mapping reaches.
    UnmappedPointer,
    /// Print from an address that no x86-64 pointer may hold.
    NonCanonicalPointer,
    /// A call number out of the table.
    UnknownCall,
}

impl Attempt {
    /// Every attempt.
    pub const ALL: &'static [Attempt] = &[
        Attempt::ForgedHandle,
        Attempt::KernelPointer,
        Attempt::UnmappedPointer,
        Attempt::NonCanonicalPointer,
        Attempt::UnknownCall,
    ];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Attempt::ForgedHandle => "forged handle",
            Attempt::KernelPointer => "kernel pointer",
            Attempt::UnmappedPointer => "unmapped pointer",
            Attempt::NonCanonicalPointer => "non-canonical pointer",
            Attempt::UnknownCall => "unknown call",
        }
    }

    /// What the kernel is to answer.
    pub fn expected(self) -> Status {
        match self {
            Attempt::ForgedHandle => Status::BadHandle,
            Attempt::KernelPointer | Attempt::UnmappedPointer | Attempt::NonCanonicalPointer => {
                Status::BadAddress
            }
            Attempt::UnknownCall => Status::UnknownCall,
        }
    }
}

/// Tries it: what the kernel answered, `None` for a number that is no status.
pub fn attempt(what: Attempt) -> Option<Status> {
    let print = |address: u64| (Call::Print as u64, [super::debug().0, address, 64, 0, 0, 0]);
    let (number, args) = match what {
        Attempt::ForgedHandle => {
            (Call::EnvKill as u64, [Handle::new(4000, 0x7777_7777).0, 0, 0, 0, 0, 0])
        }
        Attempt::KernelPointer => print(0xffff_ffff_8010_0000),
        Attempt::UnmappedPointer => print(0x6000_0000_0000),
        Attempt::NonCanonicalPointer => print(0x0123_4567_89ab_cdef),
        Attempt::UnknownCall => (999_999, [0; 6]),
    };
    let (status, _) = platform::registers(number, args);
    Status::from_number(status)
}

/// A call about pages, capabilities, upcalls or maps with whatever arguments, as an attacker makes
/// it.
///
/// Panics for other calls, and where an address among the arguments could be that of an object of
/// the program's own: it is for attacks on others.
pub fn call(call: Call, args: [u64; 6]) -> (Option<Status>, u64) {
    let [_, b, c, d, ..] = args;
    let addresses: &[u64] = match call {
        Call::PageMap => &[c],
        Call::PageUnmap | Call::PageProtect => &[b],
        Call::UpcallSet => &[d],
        Call::PageBatch => &[],
        Call::PageAlloc | Call::PageFree | Call::PageName | Call::PageRenew => &[],
        Call::CapDrop | Call::CapDerive | Call::CapInspect => &[],
        // What these write goes where the third argument says; the others only read.
        Call::MapLookup | Call::MapNext if !is_user(c) => &[],
        Call::MapUpdate | Call::MapDelete => &[],
        other => panic!("{other:?} is no call for this, or not with these addresses"),
    };
    for &address in addresses {
        assert!(super::paged::is_open(address), "{address:#x} may be an object's");
    }
    let (status, value) = platform::registers(call as u64, args);
    (Status::from_number(status), value)
}

/// Whether the kernel may write there for ring 3 at all.
fn is_user(address: u64) -> bool {
    (abi::limits::USER_START..abi::limits::USER_END).contains(&address)
}
