//! What downloaded code costs its owner: an allowance per period, and slices that it eats up.
//!
//! A handler runs at the packet's time, not in a slice of its owner's, so it is paid for ahead: its
//! worst case, which the verifier knows, must be left in the owner's allowance and is taken out of
//! it, however early the run ends. That figure is the same for every packet and on every machine;
//! the cycles that were measured are not, and could only be charged after they were spent
//! (`docs/decisions/024-downloaded-code.md`). What is taken is also a debt: one instruction counts
//! as one nanosecond, and a slice's worth of them passes one of the owner's slices by.
//!
//! A period is one round of the slice vector, and the allowance is the slices that the environment
//! owns in it: all handlers together cannot take more than the processor, and an owner's cannot
//! take more than its share. What a period does not use is lost, so that nobody saves up for a
//! burst.

use abi::limits::SLICE_NS;
use abi::slice::POSITIONS;

use verifier::Verified;

use crate::Kernel;
use crate::environment::{EnvironmentId, Environments};
use crate::scheduler::Scheduler;

/// One environment's allowance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    /// The period that `left` belongs to.
    period: u64,
    /// Instructions left in it.
    left: u64,
    /// Instructions used that no slice was passed by for yet.
    debt: u64,
}

impl Default for Allowance {
    fn default() -> Allowance {
        // No clock gets that far: the first use begins a period.
        Allowance { period: u64::MAX, left: 0, debt: 0 }
    }
}

impl Allowance {
    /// A new period begins with so many instructions.
    fn refill(&mut self, period: u64, allowance: u64) {
        (self.period, self.left) = (period, allowance);
    }

    /// Takes so many instructions, if they are left.
    pub(crate) fn take(&mut self, cost: u32) -> bool {
        let Some(left) = self.left.checked_sub(u64::from(cost)) else { return false };
        self.left = left;
        self.debt += u64::from(cost);
        true
    }

    /// Pays with a slice, if the debt is worth one.
    fn pay(&mut self) -> bool {
        let rest = self.debt.checked_sub(SLICE_NS);
        self.debt = rest.unwrap_or(self.debt);
        rest.is_some()
    }
}

/// Nanoseconds of a period.
const PERIOD_NS: u64 = POSITIONS as u64 * SLICE_NS;

/// The period that an instant belongs to.
pub(crate) fn period_of(now_ns: u64) -> u64 {
    now_ns / PERIOD_NS
}

/// When a period is over.
pub(crate) fn end_of(period: u64) -> u64 {
    period.saturating_add(1).saturating_mul(PERIOD_NS)
}

/// What a run of a program is charged: its longest path, its helpers' work included.
pub(crate) fn cost_of(verified: &Verified) -> u32 {
    verified.worst_case()
}

/// Where charges are made: who has what, and in which period.
pub(crate) struct Till<'a> {
    pub(crate) environments: &'a mut Environments,
    pub(crate) scheduler: &'a mut Scheduler,
    /// An allowance for everybody in the place of what their slices are worth.
    pub(crate) fixed: Option<u32>,
    pub(crate) period: u64,
}

impl Till<'_> {
    /// Charges an environment for instructions about to be run for it, if it can pay.
    #[inline(always)]
    pub(crate) fn charge(&mut self, id: EnvironmentId, cost: u32) -> bool {
        let Some(environment) = self.environments.get_mut(id) else { return false };
        let downloads = &mut environment.downloads;
        if downloads.period != self.period {
            let positions = self.scheduler.positions_of(id).count_ones();
            // Who owns none lives on what others leave, and so do its handlers.
            let by_slices = u64::from(positions.max(1)).saturating_mul(SLICE_NS);
            downloads.refill(self.period, self.fixed.map_or(by_slices, u64::from));
        }
        let affordable = downloads.take(cost);
        if affordable && downloads.pay() {
            self.scheduler.forfeit(id);
        }
        affordable
    }
}

impl Kernel {
    /// Charges an environment for instructions about to be run for it, if it can pay.
    pub(crate) fn charge(&mut self, id: EnvironmentId, cost: u32) -> bool {
        let mut till = Till {
            environments: &mut self.environments,
            scheduler: &mut self.scheduler,
            fixed: self.options.allowance,
            period: self.network.period,
        };
        till.charge(id, cost)
    }
}

const _: () = assert!(abi::limits::ASH_COST_MAX as u64 <= SLICE_NS);

#[cfg(test)]
mod tests {
    use super::{Allowance, PERIOD_NS, period_of};
    use abi::limits::SLICE_NS;

    #[test]
    fn what_is_spent_comes_back_with_the_next_period_and_nothing_is_saved() {
        let mut allowance = Allowance::default();
        assert!(!allowance.take(1), "no period has begun");
        allowance.refill(0, 100);
        assert!(allowance.take(60) && !allowance.take(60) && allowance.take(40));
        assert!(!allowance.take(1));
        allowance.refill(7, 100);
        assert!(allowance.take(99) && !allowance.take(u32::MAX));
        allowance.refill(8, 100);
        assert!(!allowance.take(101) && allowance.take(100));
    }

    #[test]
    fn a_slices_worth_of_instructions_costs_one_slice() {
        let mut allowance = Allowance::default();
        allowance.refill(0, 3 * SLICE_NS);
        assert!(allowance.take(SLICE_NS as u32 - 1) && !allowance.pay());
        assert!(allowance.take(2) && allowance.pay() && !allowance.pay());
        assert_eq!(allowance.debt, 1);
    }

    #[test]
    fn a_period_is_a_round_of_the_vector() {
        assert_eq!((period_of(0), period_of(PERIOD_NS - 1), period_of(PERIOD_NS)), (0, 0, 1));
    }
}
