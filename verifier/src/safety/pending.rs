//! States that wait for their instruction, slot by slot.
//!
//! Where ways meet, at most so many states are kept apart; what comes beyond that is joined to the
//! state that differs least. A state that another describes is dropped.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::join::{apart, includes, join};
use super::name::{Name, Names};
use super::state::State;
use crate::limits::state_bytes;
use crate::refusal::Refusal;

/// States in hand. Boxed, because they go from list to list and are large.
pub(super) type States = Vec<Box<State>>;

/// The states that wait, and the memory that they and others take.
#[derive(Debug)]
pub(super) struct Pending {
    /// First entry of each slot's list, by slot.
    first: Vec<u32>,
    entries: Vec<Entry>,
    /// First of the entries that are not in use.
    free: u32,
    /// Bytes of all states that are kept.
    bytes: usize,
    most: usize,
}

#[derive(Debug)]
struct Entry {
    state: Option<Box<State>>,
    next: u32,
}

const NONE: u32 = u32::MAX;

/// How states are kept where ways meet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meeting {
    /// At most so many.
    pub(super) cap: usize,
    /// Names below mean the same in all states.
    pub(super) mark: Name,
}

/// The most heap that the states of a program of `slots` slots take, in bytes, those in hand not.
pub(super) const fn heap_bytes(slots: usize) -> usize {
    let states = state_bytes(slots);
    slots * size_of::<u32>()
        + states
        + crate::arena::table(states / size_of::<State>(), size_of::<Entry>())
}

impl Pending {
    pub(super) fn new(slots: usize) -> Pending {
        Pending {
            first: alloc::vec![NONE; slots],
            entries: Vec::new(),
            free: NONE,
            bytes: 0,
            most: state_bytes(slots),
        }
    }

    /// Counts a state that is kept elsewhere.
    pub(super) fn hold(&mut self, state: &State) -> Result<(), Refusal> {
        self.bytes += state.heap_bytes();
        match self.bytes <= self.most {
            true => Ok(()),
            false => Err(Refusal::limit("STATE_BYTES_MAX", self.most as u64)),
        }
    }

    /// Counts it no more.
    pub(super) fn release(&mut self, state: &State) {
        self.bytes = self.bytes.saturating_sub(state.heap_bytes());
    }

    /// A state that is counted has changed its size.
    pub(super) fn resize(&mut self, before: usize, after: usize) -> Result<(), Refusal> {
        self.bytes = self.bytes.saturating_sub(before) + after;
        match self.bytes <= self.most {
            true => Ok(()),
            false => Err(Refusal::limit("STATE_BYTES_MAX", self.most as u64)),
        }
    }

    /// Takes the states that wait for a slot.
    pub(super) fn take(&mut self, slot: u32, into: &mut States) {
        let Some(first) = self.first.get_mut(slot as usize) else { return };
        let mut at = core::mem::replace(first, NONE);
        while let Some(entry) = self.entries.get_mut(at as usize) {
            let next = entry.next;
            if let Some(state) = entry.state.take() {
                self.bytes = self.bytes.saturating_sub(state.heap_bytes());
                into.push(state);
            }
            entry.next = self.free;
            self.free = at;
            at = next;
        }
    }

    /// Gives back the memory of one state; `true` when none waits any more.
    pub(super) fn give_back(&mut self) -> bool {
        self.entries.pop().is_none()
    }

    /// A state waits for a slot from now on, beside those that do.
    pub(super) fn add(&mut self, slot: u32, state: Box<State>) -> Result<(), Refusal> {
        self.hold(&state)?;
        let Some(first) = self.first.get_mut(slot as usize) else { return Ok(()) };
        let entry = Entry { state: Some(state), next: *first };
        match self.entries.get_mut(self.free as usize) {
            Some(free) => {
                *first = self.free;
                self.free = free.next;
                *free = entry;
            }
            None => {
                *first = self.entries.len() as u32;
                self.entries.push(entry);
            }
        }
        Ok(())
    }

    /// A state comes to a slot where ways meet. Returns the weight of all that was compared.
    pub(super) fn meet(
        &mut self,
        slot: u32,
        state: Box<State>,
        names: &mut Names,
        meeting: Meeting,
    ) -> Result<u32, Refusal> {
        let mut at = self.first.get(slot as usize).copied().unwrap_or(NONE);
        let (mut load, mut weight) = (0, state.weight());
        let (mut nearest, mut least) = (NONE, u32::MAX);
        // The more there is to compare, and the less room is left, the fewer.
        let cap = if self.bytes > self.most / 2 { 1 } else { meeting.cap };
        while let Some(entry) = self.entries.get_mut(at as usize) {
            let Some(there) = &mut entry.state else { break };
            load += there.heft();
            weight += there.weight();
            if includes(there, &state, meeting.mark) {
                there.cost = there.cost.max(state.cost);
                return Ok(weight);
            }
            if cap > 1 {
                let distance = apart(there, &state);
                if distance < least {
                    (nearest, least) = (at, distance);
                }
            } else {
                nearest = at;
            }
            at = entry.next;
        }
        if load == 0 || load + state.heft() <= cap {
            return self.add(slot, state).map(|()| weight);
        }
        if let Some(Entry { state: Some(there), .. }) = self.entries.get_mut(nearest as usize) {
            self.bytes = self.bytes.saturating_sub(there.heap_bytes());
            **there = join(names, there, &state);
            self.bytes += there.heap_bytes();
        }
        Ok(weight)
    }
}
