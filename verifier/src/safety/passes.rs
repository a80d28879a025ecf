//! Loops in the walk: a run begins at the head, a pass ends behind the last instruction.
//!
//! What a pass comes to is decided in [`super::rounds`]; here the states are brought to the head
//! and away from it, and their memory is counted.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::engine::{Engine, Ground, MEET_UNITS, PASS_UNITS};
use super::join::{includes, join};
use super::name::Name;
use super::pending::States;
use super::rounds::{After, Run, Sum, Way};
use super::scene;
use super::shape::{Loop, Shape};
use super::state::State;
use crate::fuel::Fuel;
use crate::limits::EXPLORED_ROUNDS_MAX;
use crate::refusal::{Refusal, UnsafeReason};

impl Engine {
    /// Begins a run of a loop with the states in hand; with several where its rounds are kept
    /// apart, otherwise they are made one first.
    pub(super) fn begin(&mut self, index: usize, shape: Loop) -> Result<(), Refusal> {
        let summed = self.summed.get(index).copied().unwrap_or(false);
        let explore = shape.side_entry || self.effort.explore && !summed;
        let way = if explore {
            Way::Explore { rounds: 0, seen: Vec::new() }
        } else if self.todo.len() > 1 {
            self.merging = true;
            return Ok(());
        } else {
            let Some(entry) = self.todo.last().map(|state| State::clone(state)) else {
                return Ok(());
            };
            self.summing(entry)?
        };
        let Some(frame) = self.frames.last_mut() else { return Ok(()) };
        frame.taken = true;
        frame.runs.push(Run { index, shape, way, back: Vec::new() });
        Ok(())
    }

    /// Joins two of the states in hand at the head of a loop that is to be summed up; begins it
    /// when there is one.
    pub(super) fn merge(&mut self, shape: &Shape, fuel: &mut Fuel) -> Result<(), Refusal> {
        if self.todo.len() > 1
            && let Some(state) = self.todo.pop()
            && let Some(one) = self.todo.last_mut()
        {
            fuel.spend(MEET_UNITS * one.weight().max(state.weight()));
            **one = join(&mut self.names, &state, one);
        }
        if self.todo.len() > 1 {
            return Ok(());
        }
        self.merging = false;
        fuel.spend(PASS_UNITS);
        let at = self.frames.last().map_or(0, |frame| frame.at);
        match shape.loop_at(at) {
            Some((index, &it)) => self.begin(index, it),
            None => Ok(()),
        }
    }

    fn summing(&mut self, entry: State) -> Result<Way, Refusal> {
        self.pending.hold(&entry)?;
        self.pending.hold(&entry)?;
        Ok(Way::Sum(Box::new(Sum::new(entry, &self.names))))
    }

    /// The innermost loop's last instruction is done.
    pub(super) fn end_of_pass(
        &mut self,
        ground: Ground<'_>,
        fuel: &mut Fuel,
    ) -> Result<(), Refusal> {
        let Some(mut run) = self.frames.last_mut().and_then(|frame| frame.runs.pop()) else {
            return Ok(());
        };
        let back = core::mem::take(&mut run.back);
        back.iter().for_each(|state| self.pending.release(state));
        let after = match &mut run.way {
            Way::Explore { seen, .. } if back.is_empty() => {
                seen.iter().for_each(|state| self.pending.release(state));
                After::Leave
            }
            Way::Explore { .. } => {
                let weight: u32 = back.iter().map(|state| state.weight()).sum();
                fuel.spend(MEET_UNITS * weight);
                self.next_round(&mut run, back)?
            }
            Way::Sum(sum) => {
                let before = sum.head.heap_bytes();
                let after = sum.pass(back.first().map(|state| &**state), &mut self.names);
                self.pending.resize(before, sum.head.heap_bytes())?;
                after
            }
        };
        match after {
            After::Again(states) => {
                let Some(frame) = self.frames.last_mut() else { return Ok(()) };
                (frame.at, frame.taken) = (run.shape.start, true);
                self.todo = states;
                frame.runs.push(run);
                Ok(())
            }
            After::Sum(states) => {
                let Some(frame) = self.frames.last_mut() else { return Ok(()) };
                frame.at = run.shape.start;
                self.todo = states;
                self.merging = true;
                Ok(())
            }
            After::Leave => self.leave(&run),
            After::Unbounded => {
                // While a loop around this one is being summed up, its last pass will tell.
                let told = self.is_checking();
                self.leave(&run)?;
                match told {
                    true => Err(unbounded(ground, &run)),
                    false => Ok(()),
                }
            }
        }
    }

    fn leave(&mut self, run: &Run) -> Result<(), Refusal> {
        if let Way::Sum(sum) = &run.way {
            self.pending.release(&sum.entry);
            self.pending.release(&sum.head);
        }
        if let Some(frame) = self.frames.last_mut() {
            (frame.at, frame.taken) = (run.shape.end, false);
        }
        Ok(())
    }

    /// What came back is the next round, unless the loop is better summed up from here on.
    fn next_round(&mut self, run: &mut Run, back: States) -> Result<After, Refusal> {
        let Way::Explore { rounds, seen } = &mut run.way else { return Ok(After::Leave) };
        *rounds += 1;
        // Where a round has all that an earlier one had, no round will be the last. They come in
        // the same order then, so that one look at each is enough.
        let pairs = || seen.iter().zip(&back);
        let again = pairs().all(|(before, state)| includes(state, before, Name::ZERO));
        let endless = !seen.is_empty() && seen.len() <= back.len() && again;
        let spent = self.visits > self.effort.visits / 4 * 3;
        if *rounds > EXPLORED_ROUNDS_MAX || endless || spent {
            seen.iter().for_each(|state| self.pending.release(state));
            if run.shape.side_entry {
                return Ok(After::Unbounded);
            }
            if let Some(summed) = self.summed.get_mut(run.index) {
                *summed = true;
            }
            return Ok(After::Sum(back));
        }
        if rounds.is_power_of_two() {
            seen.iter().for_each(|state| self.pending.release(state));
            *seen = back.iter().map(|state| State::clone(state)).collect();
            for state in seen.iter() {
                self.pending.hold(state)?;
            }
        }
        Ok(After::Again(back))
    }
}

/// The refusal of a loop: an edge back, and what holds in every round of the registers there.
fn unbounded(ground: Ground<'_>, run: &Run) -> Refusal {
    let (back, reason) = (run.shape.back, UnsafeReason::UnboundedLoop);
    match (&run.way, ground.program.get(back)) {
        (Way::Sum(sum), Some(insn)) => {
            scene::refusal(ground.program, (back, insn), &sum.head, reason)
        }
        _ => Refusal::unsafety(back, reason),
    }
}
