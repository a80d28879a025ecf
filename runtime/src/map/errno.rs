//! Error numbers, as helpers return them.
//!
//! Names and numbers are Linux's (`include/uapi/asm-generic/errno-base.h`): a program that tests
//! for one finds the one it expects.

/// Why an operation on a map or a packet did not happen. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Errno {
    /// `EPERM`: the map is read-only.
    NotPermitted = 1,
    /// `ENOENT`: no such key.
    NoEntry = 2,
    /// `E2BIG`: the map is full, or the index too large.
    TooBig = 7,
    /// `EFAULT`: bytes behind the packet's end.
    Fault = 14,
    /// `EEXIST`: the key exists and must not.
    Exists = 17,
    /// `EINVAL`: an argument that means nothing here.
    Invalid = 22,
    /// `ENOSPC`: the trie is full.
    NoSpace = 28,
}

impl Errno {
    /// What a helper leaves in `r0`: the negative number, sign-extended.
    #[must_use]
    pub const fn status(self) -> u64 {
        -(self as i64) as u64
    }
}

/// What a helper leaves in `r0` for a result without a value.
#[must_use]
pub const fn status(result: Result<(), Errno>) -> u64 {
    match result {
        Ok(()) => 0,
        Err(errno) => errno.status(),
    }
}
