//! Who runs next: round robin over slices of one millisecond.
//!
//! Whoever becomes runnable goes to the end of the queue; there is no priority and no boost for
//! those that wake. A slice ends when its time is over, when its environment waits or ends, or when
//! it is given up. The queue holds each runnable environment once, the current one apart.

use alloc::collections::VecDeque;

use crate::environment::EnvironmentId;
use crate::limits::SLICE_NS;

/// The current slice and the queue for the next ones.
pub(crate) struct Scheduler {
    queue: VecDeque<EnvironmentId>,
    current: Option<Slice>,
    /// No `Wait` ends before this, in nanoseconds since boot.
    pub(crate) next_deadline: u64,
    /// What the timer is set to.
    armed: u64,
}

#[derive(Clone, Copy, Debug)]
struct Slice {
    id: EnvironmentId,
    end: u64,
}

impl Scheduler {
    pub(crate) fn new() -> Scheduler {
        Scheduler {
            queue: VecDeque::with_capacity(abi::limits::ENVIRONMENTS_MAX),
            current: None,
            next_deadline: u64::MAX,
            armed: u64::MAX,
        }
    }

    /// It has become runnable.
    pub(crate) fn enqueue(&mut self, id: EnvironmentId) {
        let current = self.current.is_some_and(|slice| slice.id == id);
        if !current && !self.queue.contains(&id) {
            self.queue.push_back(id);
        }
    }

    /// It is not runnable any more.
    pub(crate) fn forget(&mut self, id: EnvironmentId) {
        self.queue.retain(|&other| other != id);
        self.current = self.current.filter(|slice| slice.id != id);
    }

    /// The current environment gives its slice up: to `heir`, if that is runnable.
    pub(crate) fn give_up(&mut self, heir: Option<EnvironmentId>) {
        let Some(slice) = self.current.take() else { return };
        self.queue.push_back(slice.id);
        if let Some(at) = self.queue.iter().position(|&id| Some(id) == heir)
            && let Some(id) = self.queue.remove(at)
        {
            self.current = Some(Slice { id, ..slice });
        }
    }

    /// Whose turn it is at `now`.
    pub(crate) fn pick(&mut self, now: u64) -> Option<EnvironmentId> {
        match self.current {
            Some(slice) if now < slice.end => return Some(slice.id),
            Some(slice) => self.queue.push_back(slice.id),
            None => {}
        }
        let next = self.queue.pop_front();
        self.current = next.map(|id| Slice { id, end: now.saturating_add(SLICE_NS) });
        next
    }

    /// Environments that want to run.
    pub(crate) fn runnable(&self) -> u32 {
        (self.queue.len() + usize::from(self.current.is_some())) as u32
    }

    /// Sets the timer to the end of the slice or the next deadline, whichever comes first.
    pub(crate) fn arm(&mut self) {
        let end = self.current.map_or(u64::MAX, |slice| slice.end);
        let wanted = end.min(self.next_deadline);
        if wanted != self.armed {
            self.armed = wanted;
            machine::time::arm(wanted);
        }
    }

    /// The timer went off, or was set by somebody else.
    pub(crate) fn disarmed(&mut self) {
        self.armed = u64::MAX;
    }
}

#[cfg(test)]
mod tests {
    use super::Scheduler;
    use crate::environment::EnvironmentId;
    use crate::limits::SLICE_NS;
    use alloc::vec::Vec;

    fn three() -> Scheduler {
        let mut scheduler = Scheduler::new();
        (1..=3).for_each(|id| scheduler.enqueue(EnvironmentId(id)));
        scheduler.enqueue(EnvironmentId(2));
        scheduler
    }

    #[test]
    fn slices_go_round() {
        let mut scheduler = three();
        let order: Vec<_> = (0..7).map(|turn| scheduler.pick(turn * SLICE_NS).unwrap().0).collect();
        assert_eq!(order, [1, 2, 3, 1, 2, 3, 1]);
        assert_eq!(scheduler.runnable(), 3);
    }

    #[test]
    fn a_slice_lasts_until_its_end_and_is_left_by_whoever_is_forgotten() {
        let mut scheduler = three();
        assert_eq!(scheduler.pick(0), Some(EnvironmentId(1)));
        assert_eq!(scheduler.pick(SLICE_NS - 1), Some(EnvironmentId(1)));
        scheduler.forget(EnvironmentId(1));
        assert_eq!(scheduler.pick(SLICE_NS - 1), Some(EnvironmentId(2)));
        scheduler.forget(EnvironmentId(3));
        scheduler.forget(EnvironmentId(2));
        assert_eq!(scheduler.pick(0), None);
    }

    #[test]
    fn a_slice_can_be_given_to_a_named_heir() {
        let mut scheduler = three();
        scheduler.pick(0);
        scheduler.give_up(Some(EnvironmentId(3)));
        assert_eq!(scheduler.pick(1), Some(EnvironmentId(3)));
        scheduler.give_up(Some(EnvironmentId(9)));
        assert_eq!(scheduler.pick(1), Some(EnvironmentId(2)));
    }
}
