//! The helper functions that exist, as signatures.
//!
//! Names and numbers are Linux's (`include/uapi/linux/bpf.h`); Sluice's own start at
//! [`SLUICE_FIRST`]. Bodies live in `runtime`; the interpreter reaches them through
//! [`crate::interp::Helpers`]. The verifier holds a call's registers against [`Helper::args`].

use crate::linux;

/// First number of Sluice's own helpers (design decision 1).
pub const SLUICE_FIRST: u32 = 0x1_0000;

/// Number of `map_lookup_elem`.
pub const MAP_LOOKUP: u32 = 1;
/// Number of `map_update_elem`.
pub const MAP_UPDATE: u32 = 2;
/// Number of `map_delete_elem`.
pub const MAP_DELETE: u32 = 3;
/// Number of `ktime_get_ns`.
pub const KTIME: u32 = 5;
/// Number of `trace_printk`.
pub const PRINT: u32 = 6;
/// Number of `get_prandom_u32`.
pub const RANDOM: u32 = 7;
/// Number of `get_smp_processor_id`.
pub const PROCESSOR: u32 = 8;
/// Number of `csum_diff`.
pub const CSUM_DIFF: u32 = 28;
/// Number of `xdp_adjust_head`.
pub const ADJUST_HEAD: u32 = 44;
/// Number of `xdp_adjust_tail`.
pub const ADJUST_TAIL: u32 = 65;
/// Number of `xdp_load_bytes`.
pub const LOAD_BYTES: u32 = 189;
/// Number of `xdp_store_bytes`.
pub const STORE_BYTES: u32 = 190;
/// Number of `sluice_wake`.
pub const WAKE: u32 = SLUICE_FIRST;
/// Number of `sluice_send_copy`.
pub const SEND_COPY: u32 = SLUICE_FIRST + 1;

/// What a helper expects in an argument register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arg {
    /// Any number.
    Scalar,
    /// A number, or nothing: where no instruction writes the register on every path from the entry
    /// and the last call to this one, the helper gets 0 ([`crate::passed`]). As
    /// with C's variable arguments, a program that prints one number sets one register.
    Optional,
    /// The context that the program was given.
    Context,
    /// One map, the same on every path: a 64-bit load of it.
    Map,
    /// Readable memory, as long as a key of the map.
    MapKey,
    /// Readable memory, as long as a value of the map.
    MapValue,
    /// Readable memory whose length is the next argument.
    Memory,
    /// The same, or null with length 0.
    MemoryOrNull,
    /// Memory to be written, whose length is the next argument; its content before does not matter.
    Buffer,
    /// The length of the argument before it, in bytes, at least 1.
    Size,
    /// The length of the argument before it, in bytes.
    SizeOrZero,
}

/// What a helper leaves in `r0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Return {
    /// A number of 64 bits.
    Scalar,
    /// A number of 32 bits, zero-extended.
    Scalar32,
    /// 0, a small count, or a negative error number: a C `int`, sign-extended to 64 bits.
    Status,
    /// The address of a value of the map that was asked, or null.
    MapValueOrNull,
}

/// A helper function's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Helper {
    /// The number in the call instruction.
    pub id: u32,
    /// Name without the `bpf_` prefix.
    pub name: &'static str,
    /// Kinds of the arguments in `r1`, `r2`, and so on; at most five.
    pub args: &'static [Arg],
    /// What `r0` holds afterwards.
    pub returns: Return,
    /// Whether the packet's bounds may have moved afterwards: every packet pointer is forgotten.
    pub moves_packet: bool,
}

const fn helper(
    id: u32,
    name: &'static str,
    args: &'static [Arg],
    returns: Return,
    moves_packet: bool,
) -> Helper {
    Helper { id, name, args, returns, moves_packet }
}

/// Every helper, ascending by number.
pub const TABLE: &[Helper] = &[
    // (map, key) -> value or null.
    helper(MAP_LOOKUP, "map_lookup_elem", &[Arg::Map, Arg::MapKey], Return::MapValueOrNull, false),
    // (map, key, value, flags) -> 0 or error.
    helper(
        MAP_UPDATE,
        "map_update_elem",
        &[Arg::Map, Arg::MapKey, Arg::MapValue, Arg::Scalar],
        Return::Status,
        false,
    ),
    // (map, key) -> 0 or error.
    helper(MAP_DELETE, "map_delete_elem", &[Arg::Map, Arg::MapKey], Return::Status, false),
    // Nanoseconds since boot, monotonic.
    helper(KTIME, "ktime_get_ns", &[], Return::Scalar, false),
    // (format, its length, up to three numbers) -> bytes printed or error.
    helper(
        PRINT,
        "trace_printk",
        &[Arg::Memory, Arg::Size, Arg::Optional, Arg::Optional, Arg::Optional],
        Return::Status,
        false,
    ),
    // 32 random bits; not for keys.
    helper(RANDOM, "get_prandom_u32", &[], Return::Scalar32, false),
    // The CPU that runs the program.
    helper(PROCESSOR, "get_smp_processor_id", &[], Return::Scalar32, false),
    // (from, length, to, length, seed) -> checksum or error.
    helper(
        CSUM_DIFF,
        "csum_diff",
        &[Arg::MemoryOrNull, Arg::SizeOrZero, Arg::MemoryOrNull, Arg::SizeOrZero, Arg::Scalar],
        Return::Scalar,
        false,
    ),
    // (context, by how much `data` moves) -> 0 or error.
    helper(ADJUST_HEAD, "xdp_adjust_head", &[Arg::Context, Arg::Scalar], Return::Status, true),
    // (context, by how much `data_end` moves) -> 0 or error.
    helper(ADJUST_TAIL, "xdp_adjust_tail", &[Arg::Context, Arg::Scalar], Return::Status, true),
    // (context, offset, buffer, length) -> 0 or error: packet to buffer.
    helper(
        LOAD_BYTES,
        "xdp_load_bytes",
        &[Arg::Context, Arg::Scalar, Arg::Buffer, Arg::Size],
        Return::Status,
        false,
    ),
    // (context, offset, memory, length) -> 0 or error: memory to packet.
    helper(
        STORE_BYTES,
        "xdp_store_bytes",
        &[Arg::Context, Arg::Scalar, Arg::Memory, Arg::Size],
        Return::Status,
        false,
    ),
    // (context, argument) -> 0: control initiation. Once the program has ended, its owner's message
    // handler is started with the argument, or the owner is woken. Once per run, however often.
    helper(WAKE, "sluice_wake", &[Arg::Context, Arg::Scalar], Return::Scalar, false),
    // (context) -> 0 if sent: message initiation. A copy of the packet as it is now, if the guard
    // of the program's grant lets it out; bounded per run.
    helper(SEND_COPY, "sluice_send_copy", &[Arg::Context], Return::Scalar, false),
];

/// The helper with this number.
#[must_use]
pub fn by_id(id: u32) -> Option<&'static Helper> {
    TABLE.binary_search_by_key(&id, |helper| helper.id).ok().and_then(|at| TABLE.get(at))
}

/// The helper with this name, without the `bpf_` prefix.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Helper> {
    TABLE.iter().find(|helper| helper.name == name)
}

/// The name that Linux has for a number, without the `bpf_` prefix, whether the helper exists here
/// or not: for refusals by name.
#[must_use]
pub fn linux_name(id: u32) -> Option<&'static str> {
    linux::name(id)
}

#[cfg(test)]
mod tests {
    use super::{Arg, Return, TABLE, by_id, by_name, linux_name};

    #[test]
    fn the_table_is_sorted_and_found_by_number_and_name() {
        assert!(TABLE.is_sorted_by_key(|helper| helper.id));
        for helper in TABLE {
            assert_eq!(by_id(helper.id), Some(helper));
            assert_eq!(by_name(helper.name), Some(helper));
            assert!(helper.args.len() <= 5);
        }
        assert_eq!(by_id(4), None);
        assert_eq!(by_name("bpf_ktime_get_ns"), None);
        assert_eq!(linux_name(12), Some("tail_call"));
    }

    #[test]
    fn arguments_stand_in_an_order_that_can_be_checked() {
        let is_memory = |arg| matches!(arg, Arg::Memory | Arg::MemoryOrNull | Arg::Buffer);
        for helper in TABLE {
            for (at, arg) in helper.args.iter().enumerate() {
                let before = at.checked_sub(1).and_then(|at| helper.args.get(at).copied());
                match arg {
                    Arg::MapKey | Arg::MapValue => assert_eq!(helper.args.first(), Some(&Arg::Map)),
                    Arg::Context | Arg::Map => assert_eq!(at, 0, "{}", helper.name),
                    Arg::Size | Arg::SizeOrZero => assert!(before.is_some_and(is_memory)),
                    _ => assert!(!before.is_some_and(is_memory), "{}", helper.name),
                }
            }
            if helper.returns == Return::MapValueOrNull || helper.moves_packet {
                assert!(matches!(helper.args.first(), Some(Arg::Map | Arg::Context)));
            }
        }
    }
}
