//! Reservations: what a call needs at worst is there before it begins, or the call is refused.
//!
//! The kernel is not preempted, so a reservation that was found to be possible stays possible until
//! the call returns: checking is reserving. What lasts beyond the call is then charged to its
//! [`Account`]. `fail_reservation=N` makes the N-th reservation fail, whatever is free.

use abi::Status;

use crate::limits::HEAP_HEADROOM;

/// What a call needs at worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Need {
    /// Frames taken out of the pool.
    pub(crate) frames: u64,
    /// Frames' worth of the account besides those: kernel heap that stays with the environment.
    pub(crate) charge: u64,
    /// Bytes of kernel heap used meanwhile or for good, beyond the headroom.
    pub(crate) heap: usize,
}

/// Counts reservations, and fails the one that it was told to.
#[derive(Debug, Default)]
pub(crate) struct Reservations {
    made: u64,
    fail: Option<u64>,
}

impl Reservations {
    pub(crate) fn new(fail: Option<u64>) -> Reservations {
        Reservations { made: 0, fail }
    }

    /// Whether `need` can be met by this account and by the machine.
    ///
    /// # Errors
    /// [`Status::NoMemory`].
    pub(crate) fn check(
        &mut self,
        need: Need,
        account: &Account,
        frames_free: u64,
    ) -> Result<(), Status> {
        self.made += 1;
        let asked = Some(self.made) == self.fail;
        if asked {
            log::warn!("reservation {} fails as asked on the command line", self.made);
        }
        let possible = !asked
            && need.frames.saturating_add(need.charge) <= account.available()
            && need.frames <= frames_free
            && need.heap.saturating_add(HEAP_HEADROOM) <= machine::heap::free_bytes();
        if possible { Ok(()) } else { Err(Status::NoMemory) }
    }
}

/// What an environment may hold and what it holds, in frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// Frames that it may hold; what it lent to environments that it created is not in it.
    pub(crate) quota: u64,
    /// Pages that it owns.
    pub(crate) pages: u64,
    /// Frames of its page tables.
    pub(crate) tables: u64,
    /// Frames of the arena of its proof.
    pub(crate) arena: u64,
    /// Frames that its maps stand on.
    pub(crate) maps: u64,
    /// Chunks of its capability table, a frame each.
    pub(crate) chunks: u64,
    /// Bytes of kernel heap kept for it.
    pub(crate) heap: u64,
}

impl Account {
    /// An account with nothing in it yet.
    pub(crate) fn new(quota: u64) -> Account {
        Account { quota, ..Account::default() }
    }

    /// Frames held, the heap rounded up.
    pub(crate) fn used(&self) -> u64 {
        let heap = self.heap.div_ceil(abi::limits::PAGE_BYTES as u64);
        self.pages + self.tables + self.arena + self.maps + self.chunks + heap
    }

    /// Frames that it may still take.
    pub(crate) fn available(&self) -> u64 {
        self.quota.saturating_sub(self.used())
    }
}

/// Frames that `bytes` more kernel heap may add to an account.
pub(crate) const fn frames_of(bytes: u64) -> u64 {
    bytes.div_ceil(abi::limits::PAGE_BYTES as u64)
}

#[cfg(test)]
mod tests {
    use super::{Account, Need, Reservations};
    use abi::Status;

    #[test]
    fn the_named_reservation_fails_and_no_other() {
        let account = Account::new(10);
        let mut reservations = Reservations::new(Some(2));
        let need = Need { frames: 1, ..Need::default() };
        assert_eq!(reservations.check(need, &account, 5), Ok(()));
        assert_eq!(reservations.check(need, &account, 5), Err(Status::NoMemory));
        assert_eq!(reservations.check(need, &account, 5), Ok(()));
    }

    #[test]
    fn neither_quota_nor_pool_is_overdrawn() {
        let mut reservations = Reservations::new(None);
        let account = Account { pages: 6, heap: 1, ..Account::new(10) };
        assert_eq!(account.available(), 3);
        let need = |frames, charge| Need { frames, charge, heap: 0 };
        assert_eq!(reservations.check(need(2, 1), &account, 5), Ok(()));
        assert_eq!(reservations.check(need(2, 2), &account, 5), Err(Status::NoMemory));
        assert_eq!(reservations.check(need(3, 0), &account, 2), Err(Status::NoMemory));
        assert_eq!(reservations.check(need(u64::MAX, 1), &account, 5), Err(Status::NoMemory));
        let greedy = Need { heap: usize::MAX, ..Need::default() };
        assert_eq!(reservations.check(greedy, &account, 5), Err(Status::NoMemory));
    }
}
