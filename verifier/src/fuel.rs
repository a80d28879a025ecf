//! Fuel: how much a proof may do before it hands the processor back.
//!
//! One unit stands for at most about a hundred machine instructions. A work item states its cost
//! when it starts; the last one of a step may overdraw, and every item is small (see
//! [`crate::limits::ITEM_UNITS`]), so that a step overshoots by at most one item. Any fuel above
//! zero makes progress: the answer never depends on how the work was cut into steps.

use core::task::Poll;

use crate::refusal::Refusal;

/// Work units that a step may still spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fuel(pub u32);

/// What a step comes to: an answer, or `Pending` when the fuel is spent.
pub type Step<T> = Poll<Result<T, Refusal>>;

impl Fuel {
    /// More than any proof can need.
    pub const UNLIMITED: Fuel = Fuel(u32::MAX);

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0 == 0
    }

    /// Takes `units`, or what is left.
    pub const fn spend(&mut self, units: u32) {
        self.0 = self.0.saturating_sub(units);
    }
}

#[cfg(test)]
mod tests {
    use super::Fuel;

    #[test]
    fn fuel_runs_out_and_never_wraps() {
        let mut fuel = Fuel(3);
        fuel.spend(2);
        assert_eq!(fuel, Fuel(1));
        fuel.spend(100);
        assert!(fuel.is_empty());
        fuel.spend(1);
        assert!(fuel.is_empty());
    }
}
