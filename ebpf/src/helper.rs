//! The helper functions that exist, as signatures.
//!
//! Names and numbers are Linux's (`include/uapi/linux/bpf.h`); Sluice's own start at
//! [`SLUICE_FIRST`]. Bodies live in `runtime`; the interpreter reaches them through
//! [`crate::interp::Helpers`]. The verifier holds a call's registers against [`Helper::args`].

/// First number of Sluice's own helpers (design decision 1).
pub const SLUICE_FIRST: u32 = 0x1_0000;

/// Number of `sluice_wake`.
pub const WAKE: u32 = SLUICE_FIRST;
/// Number of `sluice_send_copy`.
pub const SEND_COPY: u32 = SLUICE_FIRST + 1;

/// What a helper expects in an argument register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arg {
    /// Any number.
    Scalar,
    /// The context that the program was given.
    Context,
}

/// What a helper leaves in `r0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Return {
    /// A number of 64 bits.
    Scalar,
    /// A number of 32 bits, zero-extended.
    Scalar32,
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
}

/// Every helper, ascending by number.
pub const TABLE: &[Helper] = &[
    // Nanoseconds since boot, monotonic.
    Helper { id: 5, name: "ktime_get_ns", args: &[], returns: Return::Scalar },
    // 32 random bits; not for keys.
    Helper { id: 7, name: "get_prandom_u32", args: &[], returns: Return::Scalar32 },
    // The CPU that runs the program.
    Helper { id: 8, name: "get_smp_processor_id", args: &[], returns: Return::Scalar32 },
    // (context, argument) -> 0: control initiation. Once the program has ended, its owner's message
    // handler is started with the argument, or the owner is woken. Once per run, however often.
    Helper {
        id: WAKE,
        name: "sluice_wake",
        args: &[Arg::Context, Arg::Scalar],
        returns: Return::Scalar,
    },
    // (context) -> 0 if sent: message initiation. A copy of the packet as it is now, if the guard
    // of the program's grant lets it out; bounded per run.
    Helper {
        id: SEND_COPY,
        name: "sluice_send_copy",
        args: &[Arg::Context],
        returns: Return::Scalar,
    },
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

#[cfg(test)]
mod tests {
    use super::{TABLE, by_id, by_name};

    #[test]
    fn the_table_is_sorted_and_found_by_number_and_name() {
        assert!(TABLE.is_sorted_by_key(|helper| helper.id));
        for helper in TABLE {
            assert_eq!(by_id(helper.id), Some(helper));
            assert_eq!(by_name(helper.name), Some(helper));
            assert!(helper.args.len() <= 5);
        }
        assert_eq!(by_id(6), None);
        assert_eq!(by_name("bpf_ktime_get_ns"), None);
    }
}
