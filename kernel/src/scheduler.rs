//! The vector of slices, and the slice that runs.
//!
//! The vector's positions are walked round and round; what passes a position by is in `abi::slice`.
//! This is the bookkeeping: who owns which position, who could run, how far the slice that runs has
//! come. Whom a slice goes to depends on environments and is decided in `slices`.
//!
//! Positions and environments are both at most 64, so sets of them are words: who could run, what
//! each owns, which positions the walk stops at. No two that live have numbers that are the same
//! modulo 64 (`environment::table`).

use abi::limits::ENVIRONMENTS_MAX;
use abi::slice::{GRACE_NS, POSITIONS};

use crate::environment::EnvironmentId;
use crate::limits::SLICE_NS;

/// One position at one time: a position that was freed is another slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SliceId {
    pub(crate) position: usize,
    serial: u64,
}

#[derive(Clone, Copy, Debug)]
struct Position {
    owner: Option<EnvironmentId>,
    serial: u64,
    /// So many of its slices are passed by.
    forfeited: u32,
}

/// The slice that runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    /// Whose it is: the position's owner, or the heir that it was given to.
    pub(crate) holder: EnvironmentId,
    /// Who runs in it: the holder, or whom it has transferred to; unknown after a change.
    pub(crate) runner: Option<EnvironmentId>,
    pub(crate) end: u64,
    /// When somebody has to look: at its end, or when the grace period begins.
    pub(crate) alarm: u64,
    /// Who has been told that it ends.
    pub(crate) told: Option<EnvironmentId>,
}

/// The vector and the current slice.
pub(crate) struct Scheduler {
    vector: [Position; POSITIONS],
    /// Where the walk is.
    at: usize,
    serials: u64,
    /// By place: the environments that have been ready there, last.
    names: [EnvironmentId; ENVIRONMENTS_MAX],
    /// Places of environments that are not waiting for an event.
    ready: u64,
    /// The positions of each, by place.
    shares: [u64; ENVIRONMENTS_MAX],
    /// Positions whose owner is ready.
    live: u64,
    /// The last one without a position that got what was left over.
    turn: usize,
    pub(crate) current: Option<Slice>,
    /// No `Wait` ends before this, in nanoseconds since boot.
    pub(crate) next_deadline: u64,
    /// What the timer is set to.
    armed: u64,
}

impl Scheduler {
    pub(crate) fn new() -> Scheduler {
        Scheduler {
            vector: [Position { owner: None, serial: 0, forfeited: 0 }; POSITIONS],
            at: POSITIONS - 1,
            serials: 0,
            names: [EnvironmentId(0); ENVIRONMENTS_MAX],
            ready: 0,
            shares: [0; ENVIRONMENTS_MAX],
            live: 0,
            turn: 0,
            current: None,
            next_deadline: u64::MAX,
            armed: u64::MAX,
        }
    }

    /// It has become runnable.
    pub(crate) fn enqueue(&mut self, id: EnvironmentId) {
        let place = place(id);
        self.ready |= 1 << place;
        if let (Some(name), Some(share)) = (self.names.get_mut(place), self.shares.get(place)) {
            *name = id;
            self.live |= share;
        }
        self.changed();
    }

    /// It is not runnable any more.
    pub(crate) fn forget(&mut self, id: EnvironmentId) {
        if self.is_ready(id) {
            self.ready &= !(1 << place(id));
            self.live &= !self.positions_of(id);
        }
        self.current = self.current.filter(|slice| slice.holder != id);
        self.changed();
    }

    /// Whether it could run, as far as waiting goes.
    fn is_ready(&self, id: EnvironmentId) -> bool {
        let place = place(id);
        self.ready >> place & 1 == 1 && self.names.get(place) == Some(&id)
    }

    /// Who runs in the current slice must be found out again.
    pub(crate) fn changed(&mut self) {
        if let Some(slice) = &mut self.current {
            slice.runner = None;
        }
    }

    /// It ran last.
    pub(crate) fn ran(&mut self, id: EnvironmentId) {
        if let Some(slice) = &mut self.current {
            slice.runner = Some(id);
        }
    }

    /// Whether it runs in the current slice, as far as is known.
    pub(crate) fn runs(&self, id: EnvironmentId) -> bool {
        self.current.is_some_and(|slice| slice.runner == Some(id))
    }

    /// The current slice is given up.
    pub(crate) fn give_up(&mut self) {
        self.current = None;
    }

    /// The rest of the current slice is somebody's, who is told of its end if it wants to be.
    pub(crate) fn bequeath(&mut self, heir: EnvironmentId, tell: bool) {
        if let Some(slice) = &mut self.current {
            *slice = Slice { holder: heir, runner: None, ..*slice };
            slice.alarm = alarm(slice.end, tell && slice.told.is_none());
        }
    }

    /// A slice begins.
    pub(crate) fn begin(&mut self, holder: EnvironmentId, runner: EnvironmentId, now: u64) {
        let end = now.saturating_add(SLICE_NS);
        let runner = Some(runner);
        self.current = Some(Slice { holder, runner, end, alarm: end, told: None });
    }

    /// Whoever runs in the current slice wants to be told of its end.
    pub(crate) fn tell(&mut self) {
        if let Some(slice) = &mut self.current {
            slice.alarm = alarm(slice.end, true);
        }
    }

    /// The next position of the walk whose owner is not waiting, and that owner. A position that
    /// was forfeited is passed by once and noted in `forfeited`.
    pub(crate) fn walk(
        &mut self,
        steps: &mut usize,
        forfeited: &mut bool,
    ) -> Option<EnvironmentId> {
        while *steps > 0 {
            let from = (self.at + 1) % POSITIONS;
            // How many positions are passed because nobody there could run.
            let idle = self.live.rotate_right(from as u32).trailing_zeros() as usize;
            if idle >= *steps {
                self.at = (self.at + *steps) % POSITIONS;
                *steps = 0;
                return None;
            }
            *steps -= idle + 1;
            self.at = (from + idle) % POSITIONS;
            let Some(position) = self.vector.get_mut(self.at) else { continue };
            if position.forfeited > 0 {
                position.forfeited -= 1;
                *forfeited = true;
                continue;
            }
            return position.owner;
        }
        None
    }

    /// The position of the current walk.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// The next in turn of those that are not waiting.
    pub(crate) fn rotate(&mut self) -> Option<EnvironmentId> {
        let from = (self.turn + 1) % ENVIRONMENTS_MAX;
        let ahead = self.ready.rotate_right(from as u32);
        self.turn = (from + ahead.trailing_zeros() as usize) % ENVIRONMENTS_MAX;
        self.names.get(self.turn).copied().filter(|_| ahead != 0)
    }

    /// Environments that are not waiting for an event.
    pub(crate) fn runnable(&self) -> u32 {
        self.ready.count_ones()
    }

    /// Sets the timer to the current slice's alarm or the next deadline, whichever comes first.
    pub(crate) fn arm(&mut self) {
        let wanted = self.alarm().min(self.next_deadline);
        if wanted != self.armed {
            self.armed = wanted;
            machine::time::arm(wanted);
        }
    }

    /// When somebody has to look after the current slice.
    pub(crate) fn alarm(&self) -> u64 {
        self.current.map_or(u64::MAX, |slice| slice.alarm)
    }

    /// The timer went off, or was set by somebody else.
    pub(crate) fn disarmed(&mut self) {
        self.armed = u64::MAX;
    }
}

/// Who owns what.
impl Scheduler {
    /// Makes a free position somebody's: this one, or the first.
    pub(crate) fn allocate(
        &mut self,
        owner: EnvironmentId,
        wish: Option<usize>,
    ) -> Option<SliceId> {
        let first = || self.vector.iter().position(|it| it.owner.is_none());
        let position = wish.or_else(first)?;
        let slot = self.vector.get_mut(position).filter(|it| it.owner.is_none())?;
        self.serials += 1;
        *slot = Position { owner: None, serial: self.serials, forfeited: 0 };
        let serial = self.serials;
        self.assign(position, owner);
        Some(SliceId { position, serial })
    }

    /// Whether a slice is still what it was.
    pub(crate) fn exists(&self, slice: SliceId) -> bool {
        let position = self.vector.get(slice.position);
        position.is_some_and(|it| it.owner.is_some() && it.serial == slice.serial)
    }

    /// Makes a position somebody else's.
    pub(crate) fn assign(&mut self, position: usize, owner: EnvironmentId) {
        self.free(position);
        let ready = self.is_ready(owner);
        if let (Some(slot), Some(share)) =
            (self.vector.get_mut(position), self.shares.get_mut(place(owner)))
        {
            slot.owner = Some(owner);
            *share |= 1 << position;
            self.live |= u64::from(ready) << position;
        }
    }

    /// Makes a position free; whose it was.
    pub(crate) fn free(&mut self, position: usize) -> Option<EnvironmentId> {
        let owner = self.vector.get_mut(position)?.owner.take()?;
        self.live &= !(1 << position);
        if let Some(share) = self.shares.get_mut(place(owner)) {
            *share &= !(1 << position);
        }
        Some(owner)
    }

    /// Frees all that somebody owns.
    pub(crate) fn free_all_of(&mut self, owner: EnvironmentId) {
        let mut share = self.positions_of(owner);
        while share != 0 {
            self.free(share.trailing_zeros() as usize);
            share &= share - 1;
        }
    }

    /// The set of an environment's positions.
    pub(crate) fn positions_of(&self, owner: EnvironmentId) -> u64 {
        self.shares.get(place(owner)).copied().unwrap_or(0)
    }

    /// Passes one more slice of an environment's by: the walk's position if it is one.
    pub(crate) fn forfeit(&mut self, owner: EnvironmentId) {
        let share = self.positions_of(owner);
        let here = share >> self.at & 1 == 1;
        let place = if here { self.at } else { share.trailing_zeros() as usize };
        if let Some(slot) = self.vector.get_mut(place) {
            slot.forfeited = slot.forfeited.saturating_add(1);
        }
    }

    /// Whose each position is.
    pub(crate) fn owners(&self) -> impl Iterator<Item = Option<EnvironmentId>> {
        self.vector.iter().map(|it| it.owner)
    }

    /// Positions of an environment's, and slices that they forfeit.
    pub(crate) fn share_of(&self, owner: EnvironmentId) -> (u64, u64) {
        let own = self.vector.iter().filter(|it| it.owner == Some(owner));
        own.fold((0, 0), |(count, lost), it| (count + 1, lost + u64::from(it.forfeited)))
    }
}

/// An environment's place in the words.
fn place(id: EnvironmentId) -> usize {
    id.0 as usize % ENVIRONMENTS_MAX
}

const _: () = assert!(POSITIONS == 64 && ENVIRONMENTS_MAX == 64, "sets of them are words");

fn alarm(end: u64, tell: bool) -> u64 {
    if tell { end.saturating_sub(GRACE_NS) } else { end }
}

#[cfg(test)]
mod tests {
    use super::Scheduler;
    use crate::environment::EnvironmentId;
    use abi::slice::POSITIONS;
    use alloc::vec::Vec;

    const A: EnvironmentId = EnvironmentId(1);
    const B: EnvironmentId = EnvironmentId(2);

    fn walk(scheduler: &mut Scheduler) -> (Vec<u32>, bool) {
        let (mut steps, mut forfeited, mut seen) = (POSITIONS, false, Vec::new());
        while let Some(id) = scheduler.walk(&mut steps, &mut forfeited) {
            seen.push(id.0);
        }
        (seen, forfeited)
    }

    #[test]
    fn the_walk_passes_positions_in_order_and_skips_who_waits() {
        let mut scheduler = Scheduler::new();
        for (owner, position) in [(A, 5), (B, 3), (A, 60)] {
            scheduler.allocate(owner, Some(position)).unwrap();
        }
        assert_eq!(walk(&mut scheduler).0, []);
        scheduler.enqueue(A);
        scheduler.enqueue(B);
        assert_eq!(walk(&mut scheduler), (Vec::from([2, 1, 1]), false));
        scheduler.forget(A);
        assert_eq!(walk(&mut scheduler).0, [2]);
    }

    #[test]
    fn a_forfeited_slice_is_passed_by_once() {
        let mut scheduler = Scheduler::new();
        scheduler.allocate(A, None).unwrap();
        scheduler.enqueue(A);
        scheduler.forfeit(A);
        assert_eq!(scheduler.share_of(A), (1, 1));
        assert_eq!(walk(&mut scheduler), (Vec::new(), true));
        assert_eq!(walk(&mut scheduler), (Vec::from([1]), false));
        scheduler.forfeit(B);
    }

    #[test]
    fn a_position_that_was_freed_is_another_slice() {
        let mut scheduler = Scheduler::new();
        let first = scheduler.allocate(A, Some(7)).unwrap();
        assert_eq!(scheduler.allocate(B, Some(7)), None);
        assert_eq!(scheduler.allocate(B, Some(POSITIONS)), None);
        assert_eq!(scheduler.free(7), Some(A));
        assert!(!scheduler.exists(first));
        let second = scheduler.allocate(B, Some(7)).unwrap();
        assert!(scheduler.exists(second) && !scheduler.exists(first));
        for _ in 1..POSITIONS {
            scheduler.allocate(A, None).unwrap();
        }
        assert_eq!(scheduler.allocate(A, None), None);
        scheduler.free_all_of(A);
        assert_eq!(scheduler.share_of(A), (0, 0));
        assert_eq!(scheduler.owners().flatten().count(), 1);
    }
}
