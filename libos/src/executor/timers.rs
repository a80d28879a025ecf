//! Tasks that wait for a time.

use alloc::collections::BTreeMap;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use super::Executor;
use crate::clock::{self, NEVER};

/// Who waits until when. Each waiting has a number of its own, so that two may wait for one time.
#[derive(Debug, Default)]
pub(super) struct Timers {
    waiting: BTreeMap<(u64, u64), Waker>,
    numbers: u64,
}

impl Timers {
    /// The nearest time.
    pub(super) fn next(&self) -> u64 {
        self.waiting.first_key_value().map_or(NEVER, |((at, _), _)| *at)
    }

    /// Wakes everybody whose time has come.
    pub(super) fn fire(&mut self, now: u64) {
        while let Some(entry) = self.waiting.first_entry() {
            if entry.key().0 > now {
                return;
            }
            entry.remove().wake();
        }
    }

    fn add(&mut self, at: u64, waker: Waker) -> u64 {
        self.numbers += 1;
        self.waiting.insert((at, self.numbers), waker);
        self.numbers
    }

    fn remove(&mut self, at: u64, number: u64) {
        self.waiting.remove(&(at, number));
    }
}

/// Ready from a time on. Dropping it takes it out of the executor's list.
pub struct Sleep {
    executor: Executor,
    at: u64,
    number: Option<u64>,
}

impl Sleep {
    pub(super) fn new(executor: Executor, at: u64) -> Sleep {
        Sleep { executor, at, number: None }
    }

    fn forget(&mut self) {
        if let Some(number) = self.number.take() {
            self.executor.0.timers.borrow_mut().remove(self.at, number);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.forget();
        if clock::now_ns() >= self.at {
            return Poll::Ready(());
        }
        let waker = context.waker().clone();
        let number = self.executor.0.timers.borrow_mut().add(self.at, waker);
        self.number = Some(number);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.forget();
    }
}
