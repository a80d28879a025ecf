//! Who runs next: the walk over the vector, the ends of slices, and who goes too far.
//!
//! A slice goes to the owner of the next position that has something to run, or to the one to
//! which that owner has transferred. [`Kernel::choose`] finds it; [`Kernel::end_slice`] tells
//! whoever wants to be told that the slice ends, and takes it away when it has ended.

use abi::slice::{ENDED_BY_EXCESS, EXCESS_MAX, GRACE_NS, POSITIONS};
use abi::start::State;
use abi::upcall::Kind;
use machine::Link;

use crate::Kernel;
use crate::environment::{Ended, Environment, EnvironmentId, Environments};
use crate::upcall::Cause;

impl Kernel {
    /// Whose turn it is at `now`.
    pub(crate) fn choose(&mut self, now: u64) -> Option<EnvironmentId> {
        if let Some(slice) = &mut self.scheduler.current {
            let found = slice.runner.or_else(|| runner(&self.environments, slice.holder));
            slice.runner = found;
            if found.is_some() {
                return found;
            }
            self.scheduler.give_up();
        }
        let (holder, runner) = self.next_owner().or_else(|| self.next_without())?;
        self.scheduler.begin(holder, runner, now);
        self.begin_slice(runner);
        Some(runner)
    }

    /// The next position of the vector that is not passed by: its owner, and who runs for it.
    fn next_owner(&mut self) -> Option<(EnvironmentId, EnvironmentId)> {
        // What is forfeited is offered onward; if nobody else wants it, it was forfeited for free.
        loop {
            let (mut steps, mut forfeited) = (POSITIONS, false);
            while let Some(owner) = self.scheduler.walk(&mut steps, &mut forfeited) {
                if let Some(runner) = runner(&self.environments, owner) {
                    return Some((owner, runner));
                }
            }
            if !forfeited {
                return None;
            }
        }
    }

    /// The next environment without a position that could run.
    fn next_without(&mut self) -> Option<(EnvironmentId, EnvironmentId)> {
        for _ in 0..self.scheduler.runnable() {
            let id = self.scheduler.rotate()?;
            if let Some(runner) = runner(&self.environments, id)
                && self.scheduler.positions_of(id) == 0
            {
                return Some((id, runner));
            }
        }
        None
    }

    fn begin_slice(&mut self, id: EnvironmentId) {
        let Some(environment) = self.environments.get_mut(id) else { return };
        environment.quanta += 1;
        let (starts, ends) = wants(environment);
        if ends {
            self.scheduler.tell();
        }
        if starts {
            let detail = self.scheduler.position() as u64;
            let argument = self.scheduler.current.map_or(0, |slice| slice.end);
            self.raise(id, Kind::SliceStart, Cause { detail, argument, ..Cause::default() });
        }
    }

    /// Looks after the current slice when its alarm has gone off: who runs is told that it ends,
    /// or it has ended.
    pub(crate) fn end_slice(&mut self, now: u64) {
        let Some(slice) = self.scheduler.current.filter(|slice| now >= slice.alarm) else { return };
        let runner = slice.runner.or_else(|| runner(&self.environments, slice.holder));
        let told = slice.told;
        if told.is_none()
            && let Some(id) = runner
            && self.environments.get(id).is_some_and(|it| wants(it).1)
        {
            // However late the kernel looks, the grace period is whole.
            let end = slice.end.max(now.saturating_add(GRACE_NS));
            if let Some(slice) = &mut self.scheduler.current {
                (slice.told, slice.end, slice.alarm) = (Some(id), end, end);
            }
            // Whether it gives its slice back in time is to be noticed.
            machine::this_cpu().close_gates();
            let detail = self.scheduler.position() as u64;
            let cause = Cause { detail, argument: end, ..Cause::default() };
            // One that has not finished with the last upcall has no claim to another.
            self.upcall(id, Kind::SliceEnd, cause);
            return;
        }
        if now < slice.end {
            // It has changed hands since the alarm was set.
            if let Some(current) = &mut self.scheduler.current {
                current.alarm = slice.end;
            }
            return;
        }
        self.scheduler.give_up();
        if let Some(id) = told {
            self.overrun(id);
        }
    }

    /// It was told, and kept its slice to the end.
    fn overrun(&mut self, id: EnvironmentId) {
        let Some(environment) = self.environments.get_mut(id) else { return };
        environment.excess += 1;
        if environment.excess > EXCESS_MAX {
            log::warn!("{} ({}) keeps its slices", environment.name, id.0);
            let detail = ENDED_BY_EXCESS;
            return self.end_environment(Ended { id, state: State::Killed, detail });
        }
        self.scheduler.forfeit(id);
    }

    /// Notes who runs, and whose the slice is if the machine gave it away by itself.
    pub(crate) fn note_runner(&mut self, id: EnvironmentId) {
        if let Some(heir) = machine::this_cpu().heir() {
            self.scheduler.bequeath(EnvironmentId(heir as u32), false);
        }
        self.scheduler.ran(id);
    }

    /// It gives its slice back: in time, if it was told.
    pub(crate) fn in_time(&mut self, id: EnvironmentId) {
        if self.scheduler.current.is_some_and(|slice| slice.told == Some(id))
            && let Some(environment) = self.environments.get_mut(id)
        {
            environment.excess = environment.excess.saturating_sub(1);
        }
    }

    /// Gives the rest of the current slice to an environment that could run; `false` if it could
    /// not, and nothing has happened.
    pub(crate) fn bequeath_slice(&mut self, heir: EnvironmentId) -> bool {
        let Some(runner) = runner(&self.environments, heir) else { return false };
        self.bequeath_to(heir, runner)
    }

    /// The same, to one whose time is known to be that one's to run in.
    fn bequeath_to(&mut self, heir: EnvironmentId, runner: EnvironmentId) -> bool {
        let Some(environment) = self.environments.get_mut(runner) else { return false };
        environment.quanta += 1;
        let (_, tell) = wants(environment);
        self.scheduler.bequeath(heir, tell);
        true
    }

    /// Gives the rest of the current slice to an environment by name, if whoever runs for that one
    /// can go on in ring 3 at once: its number. Otherwise nothing has happened. If nobody has to
    /// be told of anything, the next time is the machine's.
    pub(crate) fn yield_to(
        &mut self,
        from: EnvironmentId,
        heir: EnvironmentId,
        handle: u64,
    ) -> Option<EnvironmentId> {
        let runner = runner(&self.environments, heir)?;
        let at_once = self
            .environments
            .get(runner)
            .is_some_and(|it| it.state == State::Runnable && !it.upcalls.pending());
        let told = self.scheduler.current?.told;
        if !at_once {
            return None;
        }
        self.in_time(from);
        if heir == runner
            && told.is_none()
            && let Some((from, to)) = self.environments.pair_mut(from, heir)
            && !wants(to).1
        {
            from.context.open_yield(&mut to.context, handle);
        }
        self.bequeath_to(heir, runner);
        self.scheduler.ran(runner);
        self.scheduler.arm();
        Some(runner)
    }

    /// Whether every owned position has a live owner.
    pub(crate) fn slices_agree(&self) -> bool {
        self.scheduler.owners().flatten().all(|owner| self.environments.get(owner).is_some())
    }
}

/// Whether it wants to be told when a slice begins and when one ends.
fn wants(environment: &Environment) -> (bool, bool) {
    let upcalls = &environment.upcalls;
    (upcalls.has(Kind::SliceStart), upcalls.has(Kind::SliceEnd))
}

/// Who runs in an environment's slices: itself, or whom it waits for in a transfer, if that can.
fn runner(environments: &Environments, holder: EnvironmentId) -> Option<EnvironmentId> {
    let mut id = holder;
    // A chain of transfers is no longer than there are environments.
    for _ in 0..abi::limits::ENVIRONMENTS_MAX {
        let environment = environments.get(id)?;
        match environment.context.link() {
            Link::Awaiting(number) => id = EnvironmentId(number as u32),
            Link::Parked => return None,
            Link::Free => {
                let runs = matches!(environment.state, State::Runnable | State::Proving);
                return runs.then_some(id);
            }
        }
    }
    None
}
