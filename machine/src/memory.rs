//! Plain facts about memory that bare metal and host share: numbers, rights, errors, checks.
//!
//! User addresses are `USER_START .. USER_END`: page 0 stays unmapped so that null faults, and the
//! last page of the lower half stays unmapped so that a `syscall` at its end cannot return to a
//! non-canonical address (AMD APM 2, 4.6; Intel SDM 2B, SYSRET).

use core::fmt;

/// Bytes of one page and of one frame.
pub const PAGE: usize = 4096;

/// The lowest address that ring 3 can have mapped.
pub const USER_START: u64 = 0x1000;

/// The first address after the highest one that ring 3 can have mapped.
pub const USER_END: u64 = 0x0000_7fff_ffff_f000;

/// Start of what the kernel shows in every address space ([`crate::Exposed`]): one GiB.
pub const EXPOSED_START: u64 = abi::exposed::SYSTEM;

/// One past it.
pub const EXPOSED_END: u64 = abi::exposed::END;

/// Where a space's own page tables can be read: one entry of the root table.
pub(crate) const TABLES: core::ops::Range<u64> = abi::exposed::TABLES..abi::exposed::TABLES_END;

/// The number of a 4 KiB physical page: its address divided by [`PAGE`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FrameNumber(pub u64);

/// What ring 3 may do with a page besides reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rights {
    /// It may write.
    pub write: bool,
    /// It may execute. Never together with `write`.
    pub execute: bool,
}

/// Why a page was not mapped. All but `NoFrames` are the caller's fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// The address is outside [`USER_START`]`..`[`USER_END`].
    NotUser,
    /// The address is not a multiple of [`PAGE`].
    Misaligned,
    /// Something is mapped there already, or the kernel shows something there.
    Occupied,
    /// Both rights were asked for (W^X).
    WriteAndExecute,
    /// The pool has no frame left for a page table.
    NoFrames,
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotUser => "the address is not in the user half",
            Self::Misaligned => "the address is not page aligned",
            Self::Occupied => "a page is mapped there already",
            Self::WriteAndExecute => "a page cannot be both writable and executable",
            Self::NoFrames => "no free frame for a page table",
        })
    }
}

/// Why a page's rights were not changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProtectError {
    /// The address is not a multiple of [`PAGE`].
    Misaligned,
    /// Both rights were asked for (W^X).
    WriteAndExecute,
    /// Nothing is mapped at this address.
    NotMapped(u64),
    /// What is mapped at this address was not mapped with so much authority.
    NotAllowed(u64),
}

/// The first user address of a copy that is not mapped with the right it needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserFault {
    /// Where the copy stopped; everything before it was copied.
    pub address: u64,
}

/// Checks what can be checked without looking at a page table.
pub(crate) fn check_mapping(va: u64, rights: Rights) -> Result<(), MapError> {
    if !va.is_multiple_of(PAGE as u64) {
        return Err(MapError::Misaligned);
    }
    if !is_user(va) {
        return Err(MapError::NotUser);
    }
    if rights.write && rights.execute {
        return Err(MapError::WriteAndExecute);
    }
    if !is_own(va) {
        return Err(MapError::Occupied);
    }
    Ok(())
}

/// The same for a change of rights. Every page is still to be looked up.
pub(crate) fn check_protection(va: u64, rights: Rights) -> Result<(), ProtectError> {
    if !va.is_multiple_of(PAGE as u64) {
        return Err(ProtectError::Misaligned);
    }
    if rights.write && rights.execute {
        return Err(ProtectError::WriteAndExecute);
    }
    Ok(())
}

/// Whether the address is ring 3's to have mapped and unmapped: not what the kernel shows.
pub(crate) fn is_own(va: u64) -> bool {
    is_user(va) && !(EXPOSED_START..EXPOSED_END).contains(&va) && !TABLES.contains(&va)
}

/// Whether the kernel copies from or to the address, if the page there allows it.
pub(crate) fn is_copied(va: u64) -> bool {
    is_user(va) && !TABLES.contains(&va)
}

/// Whether ring 3 could have this address mapped.
pub(crate) fn is_user(va: u64) -> bool {
    (USER_START..USER_END).contains(&va)
}

/// Cuts `len` bytes from `va` into runs within a page: address, offset in the copy, length.
///
/// Addresses wrap: the caller's look-up refuses what is not a user address.
pub(crate) fn page_runs(va: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut done = 0;
    core::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let address = va.wrapping_add(done as u64);
        let run = (PAGE - (address as usize % PAGE)).min(len - done);
        let item = (address, done, run);
        done += run;
        Some(item)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_user_half_is_mappable() {
        let read = Rights::default();
        assert_eq!(check_mapping(0, read), Err(MapError::NotUser));
        assert_eq!(check_mapping(USER_START, read), Ok(()));
        assert_eq!(check_mapping(USER_END - PAGE as u64, read), Ok(()));
        assert_eq!(check_mapping(USER_END, read), Err(MapError::NotUser));
        assert_eq!(check_mapping(0xffff_8000_0000_0000, read), Err(MapError::NotUser));
        assert_eq!(check_mapping(0x1001, read), Err(MapError::Misaligned));
        let both = Rights { write: true, execute: true };
        assert_eq!(check_mapping(0x1000, both), Err(MapError::WriteAndExecute));
    }

    #[test]
    fn runs_stay_within_pages_and_wrap() {
        let runs: Vec<_> = page_runs(0x1ffe, 0x1004).collect();
        assert_eq!(runs, [(0x1ffe, 0, 2), (0x2000, 2, 0x1000), (0x3000, 0x1002, 2)]);
        assert_eq!(page_runs(u64::MAX, 2).last(), Some((0, 1, 1)));
        assert_eq!(page_runs(5, 0).next(), None);
    }
}
