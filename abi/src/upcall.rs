//! Upcalls: where and how the kernel enters a library OS of its own accord.
//!
//! An environment registers, for each [`Kind`], an entry address, the top of a stack, and a *save
//! area* ([`SAVE_BYTES`] long, aligned to [`SAVE_ALIGN`]) in a page of its own. The page is bound
//! when it is registered: the kernel writes through the physical frame and checks nothing again.
//!
//! An upcall writes the interrupted `rip`, `rsp`, `rflags` and `rax` and the cause into the save
//! area, sets [`ACTIVE`], and continues at the entry with `rax` = address of the save area, `rsp` =
//! the stack's top and clean flags. Every other register is untouched. The library goes on without
//! entering the kernel: it restores what it changed, clears [`ACTIVE`], and jumps.
//!
//! While a save area is active no further upcall of its kind arrives. A fault then is a *nested
//! fault* and ends the environment; what is asynchronous waits until the library has made its next
//! call, or its slice has ended, with the save area free.

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// What an upcall is about. Each kind has an entry, a stack and a save area of its own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Kind { $($(#[$doc])* $name = $number,)* }

        impl Kind {
            /// All kinds, in order of number.
            pub const ALL: &'static [Kind] = &[$(Kind::$name,)*];

            /// The kind of that number, if there is one.
            pub fn from_number(number: u64) -> Option<Kind> {
                match number { $($number => Some(Kind::$name),)* _ => None }
            }
        }
    };
}

kinds! {
    /// The program did what the processor refuses. [`DETAIL`]: the exception's vector; [`ERROR`]
    /// and [`ADDRESS`]: as the processor gave them.
    Fault = 0,
    /// A slice begins.
    SliceStart = 1,
    /// A slice is about to end.
    SliceEnd = 2,
    /// The kernel asks for resources back.
    Revoke = 3,
    /// The kernel took resources.
    Repossess = 4,
    /// A synchronous protected control transfer arrived.
    TransferSync = 5,
    /// An asynchronous one.
    TransferAsync = 6,
    /// Somebody, or a handler in the kernel, has something to say.
    Message = 7,
}

/// How many kinds there are.
pub const KINDS: usize = Kind::ALL.len();

/// Bytes of a save area.
pub const SAVE_BYTES: usize = 128;
/// Its alignment: a save area never crosses a page.
pub const SAVE_ALIGN: usize = 128;
/// Alignment of the stack's top.
pub const STACK_ALIGN: u64 = 16;

/// `u64`, not zero from the upcall until the library clears it.
pub const ACTIVE: usize = 0;
/// `u64`: the vector of an exception; what other kinds put here stands with them.
pub const DETAIL: usize = 8;
/// `u64`: the exception's error code (bit 0: the page is bound, bit 1: a write, bit 4: a fetch).
pub const ERROR: usize = 16;
/// `u64`: for a page fault the address that was touched.
pub const ADDRESS: usize = 24;
/// `u64`: depends on the kind.
pub const ARGUMENT: usize = 32;
/// `u64`: the interrupted program counter. From here on in the order in which the library needs
/// them when it goes on.
pub const RIP: usize = 40;
/// `u64`: the interrupted flags.
pub const RFLAGS: usize = 48;
/// `u64`: the interrupted stack pointer.
pub const RSP: usize = 56;
/// `u64`: the interrupted `rax`, whose place the save area's address takes.
pub const RAX: usize = 64;
/// From here to the end of the save area the kernel writes nothing: the library's own.
pub const SPARE: usize = 72;

/// The flags with which an entry begins: interrupts on, everything else off.
pub const FLAGS: u64 = 0x202;

const _: () = assert!(SPARE <= SAVE_BYTES);
const _: () = assert!(crate::limits::PAGE_BYTES.is_multiple_of(SAVE_ALIGN));
const _: () = assert!(SAVE_BYTES <= SAVE_ALIGN);

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn kinds_are_numbered_by_place() {
        for (place, &kind) in Kind::ALL.iter().enumerate() {
            assert_eq!(kind as usize, place);
            assert_eq!(Kind::from_number(place as u64), Some(kind));
        }
        assert_eq!(Kind::from_number(Kind::ALL.len() as u64), None);
    }
}
