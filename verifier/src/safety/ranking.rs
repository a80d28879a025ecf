//! Why a loop ends: something in it gets strictly larger, or strictly smaller, each time round, and
//! stays within bounds.
//!
//! The loop's state gives every register and slot that changes a name. On every way back the
//! same place must hold that value plus a step, in steps of one sign; if the bounds that the loop's
//! state has for it leave no room to wrap, it can be gone round no more often than steps fit in.

use alloc::vec::Vec;

use super::name::Name;
use super::state::State;
use super::value::{Pointer, Value};

/// What changes in a loop, and by how much each time round.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranking {
    candidates: Vec<Candidate>,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    /// Where it is.
    seat: usize,
    name: Name,
    /// What the loop's state has there beyond the name.
    delta: u64,
    /// Difference of the greatest and the least that the place can hold.
    room: u64,
    /// Least and greatest step that was seen.
    steps: Option<(i64, i64)>,
}

impl Ranking {
    /// What changes in a loop whose state is `head`: whatever was named since `mark`.
    pub(super) fn of(head: &State, mark: Name) -> Ranking {
        let mut candidates = Vec::new();
        for (seat, value) in head.values() {
            let (name, delta, room) = match value {
                Value::Scalar(number) => {
                    let unsigned = number.num.umax - number.num.umin;
                    let signed = number.num.smax.wrapping_sub(number.num.smin).cast_unsigned();
                    (number.name, number.delta, unsigned.min(signed))
                }
                Value::Pointer(Pointer { base, low, high, bytes, .. }) => {
                    (base, bytes.cast_unsigned(), (high - low).unsigned_abs())
                }
                _ => continue,
            };
            if name >= mark && name != Name::ZERO {
                candidates.push(Candidate { seat, name, delta, room, steps: None });
            }
        }
        Ranking { candidates }
    }

    /// Control goes round with `state`.
    pub(super) fn goes_round(&mut self, state: &State) {
        self.candidates.retain_mut(|candidate| {
            let (name, delta) = match state.value(candidate.seat) {
                Some(Value::Scalar(number)) => (number.name, number.delta),
                Some(Value::Pointer(pointer)) => (pointer.base, pointer.bytes.cast_unsigned()),
                _ => return false,
            };
            let step = delta.wrapping_sub(candidate.delta).cast_signed();
            let (low, high) = candidate.steps.unwrap_or((step, step));
            let (low, high) = (low.min(step), high.max(step));
            candidate.steps = Some((low, high));
            name == candidate.name && (low > 0 || high < 0)
        });
    }

    /// How often the loop can be gone round; `None` if nothing says.
    pub(super) fn trips(&self) -> Option<u64> {
        self.candidates.iter().filter_map(Candidate::trips).min()
    }
}

impl Candidate {
    fn trips(&self) -> Option<u64> {
        let (low, high) = self.steps?;
        let (least, most) = match low > 0 {
            true => (low.unsigned_abs(), high.unsigned_abs()),
            false => (high.unsigned_abs(), low.unsigned_abs()),
        };
        // No room to wrap: both ends of a step are within the bounds.
        self.room.checked_add(most)?;
        self.room.checked_div(least)
    }
}
