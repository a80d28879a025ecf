//! What is in a table's value word.
//!
//! The idea: dispatch code only compares these words, and what comes out says to whom the frame
//! belongs without another look-up: `rank << 57 | handle`. Bit 56 says that somebody must be asked
//! ([`PENDING`]), the handle is then an entry's index. Bit 55 is the bucket's
//! ([`runtime::native::dispatch::MARK`]). The rank stands above both, so that whoever is settled at
//! a deeper place wins without anybody further up being asked.
//!
//! Rank: a grant at depth d has 2d, its bindings 2d + 1. So a binding beats its own grant, and both
//! beat whatever is further up (design decision 3). The root, rank 0, is never stored. An even rank
//! is therefore a grant's, an odd one a binding's, and the payload need only be the handle.

use runtime::native::dispatch::PENDING;
use verifier::{BindingId, GrantId};

use super::Verdict;
use crate::error::EngineError;
use crate::limits::DEPTH_MAX;

const RANK_SHIFT: u32 = 57;
/// Bits of a handle: the index has 32 of them.
const HANDLE_BITS: u32 = 55;
const HANDLE: u64 = (1 << HANDLE_BITS) - 1;

/// Where a holder stands; greater wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(u8);

impl Rank {
    /// Of a binding under a grant at a depth.
    pub(super) fn binding(depth: u32) -> Result<Self, EngineError> {
        Self::grant(depth).map(|Self(rank)| Self(rank + 1))
    }

    /// Of a grant at a depth.
    pub(super) fn grant(depth: u32) -> Result<Self, EngineError> {
        let deep = EngineError::Depth { limit: DEPTH_MAX };
        let depth = u8::try_from(depth).ok().filter(|depth| u32::from(*depth) <= DEPTH_MAX);
        depth.map(|depth| Self(depth * 2)).ok_or(deep)
    }

    fn bits(self) -> u64 {
        u64::from(self.0) << RANK_SHIFT
    }
}

/// The value of a holder with a verdict; `None` if the handle has too many bits.
pub(super) fn settled(rank: Rank, verdict: Verdict) -> Option<u64> {
    let raw = match verdict {
        Verdict::Bound(id) => id.to_raw(),
        Verdict::Unbound(id) => id?.to_raw(),
    };
    (raw <= HANDLE).then_some(rank.bits() | raw)
}

/// The value of an entry whose claimants must be asked, or in an answer: of a holder.
pub(super) fn pending(rank: Rank, index: u32) -> u64 {
    PENDING | rank.bits() | u64::from(index)
}

/// The index in a pending value.
#[inline]
pub(super) fn index(value: u64) -> Option<u32> {
    (value & PENDING != 0).then_some(value as u32)
}

/// The one with the greater rank, whether pending or not; the first of two with the same.
pub(super) fn greater(a: u64, b: u64) -> u64 {
    if a >> RANK_SHIFT >= b >> RANK_SHIFT { a } else { b }
}

/// The verdict of a value that is not pending; nobody's frames are the root's.
#[inline]
pub(super) fn verdict(value: u64) -> Verdict {
    let (rank, raw) = (value >> RANK_SHIFT, value & HANDLE);
    match rank {
        0 => Verdict::Unbound(Some(GrantId::ROOT)),
        _ if rank & 1 == 1 => Verdict::Bound(BindingId::from_raw(raw)),
        _ => Verdict::Unbound(Some(GrantId::from_raw(raw))),
    }
}

// The greatest rank fits above the flag, and that is above the mark, above the handle.
const _: () = assert!(DEPTH_MAX * 2 + 1 < 1 << (64 - RANK_SHIFT));
const _: () = assert!(PENDING == 1 << (RANK_SHIFT - 1));
const _: () = assert!(runtime::native::dispatch::MARK == 1 << HANDLE_BITS);
const _: () = assert!(HANDLE_BITS + 2 == RANK_SHIFT);

#[cfg(test)]
mod tests {
    use super::{Rank, greater, index, pending, settled, verdict};
    use crate::engine::Verdict;
    use verifier::{BindingId, GrantId};

    #[test]
    fn verdicts_come_out_as_they_went_in() {
        let mark = runtime::native::dispatch::MARK;
        let raws = [1 << 32, 5 | 7 << 32, (1 << 55) - 1];
        for raw in raws {
            for depth in [1, 2, 62] {
                let bound = Verdict::Bound(BindingId::from_raw(raw));
                let grant = Verdict::Unbound(Some(GrantId::from_raw(raw)));
                let high = settled(Rank::binding(depth).unwrap(), bound).unwrap();
                let low = settled(Rank::grant(depth).unwrap(), grant).unwrap();
                assert_eq!((verdict(high), verdict(low)), (bound, grant));
                assert_eq!((verdict(high | mark), index(high)), (bound, None));
                let above = pending(Rank::binding(depth - 1).unwrap(), u32::MAX);
                assert!(high > low && greater(low, above) == low && greater(above, low) == low);
                assert!(low > above, "settled and deeper wins without asking");
                let same = pending(Rank::grant(depth).unwrap(), 0);
                assert!(same > low, "of the same rank somebody must be asked");
            }
        }
        assert_eq!(verdict(0), Verdict::Unbound(Some(GrantId::ROOT)));
        assert_eq!(index(pending(Rank::grant(3).unwrap(), 77)), Some(77));
        assert!(Rank::binding(63).is_err() && Rank::grant(u32::MAX).is_err());
    }

    #[test]
    fn a_handle_with_too_many_bits_is_not_cut() {
        let rank = Rank::binding(1).unwrap();
        for raw in [1 << 55, 1 << 63, u64::MAX] {
            assert_eq!(settled(rank, Verdict::Bound(BindingId::from_raw(raw))), None);
        }
        assert_eq!(settled(rank, Verdict::Unbound(None)), None);
    }
}
