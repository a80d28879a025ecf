//! A small executor: tasks that wait for the rings and for time, and never spin.
//!
//! One program, one thread: tasks are futures that need not be `Send`. A task runs when it was
//! woken; when none is, everything that was given as a [`Turn`] is turned once (a stack takes what
//! is in its rings and wakes whoever waits for it), and when that woke nobody the program sleeps in
//! `Wait` until an event or the nearest deadline. A wake-up allocates nothing and takes no lock, so
//! that an upcall handler may wake a task, too.
//!
//! Bounds: at most [`TASKS_MAX`] tasks; each is run once per round, however often it was woken.

mod ready;
mod timers;

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::Future;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};

use crate::clock::{self, NEVER};
use ready::Ready;
pub use ready::TASKS_MAX;
pub use timers::Sleep;
use timers::Timers;

/// Something that works when the tasks do not: a network stack.
pub trait Turn {
    /// Does what there is to do and wakes whoever waited for it; when it wants to be turned again
    /// if no event comes, in nanoseconds since boot ([`NEVER`] for not at all).
    fn turn(&mut self) -> u64;
}

/// There is no room for another task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl core::fmt::Display for Full {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{TASKS_MAX} tasks are running (TASKS_MAX)")
    }
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// The executor. Clones are names of the same one: tasks may hold one to start others.
#[derive(Clone, Default)]
pub struct Executor(Rc<Shared>);

#[derive(Default)]
struct Shared {
    tasks: RefCell<Vec<Slot>>,
    ready: Arc<Ready>,
    timers: RefCell<Timers>,
    turns: RefCell<Vec<Box<dyn Turn>>>,
    live: Cell<usize>,
}

#[derive(Default)]
struct Slot {
    task: Option<Task>,
    waker: Option<Waker>,
    /// Taken out while it runs.
    running: bool,
}

/// Wakes one task.
struct TaskWaker {
    ready: Arc<Ready>,
    place: usize,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.ready.set(self.place);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.set(self.place);
    }
}

impl Executor {
    /// Without tasks.
    pub fn new() -> Executor {
        Executor::default()
    }

    /// Turns this one from now on, whenever no task has anything to do.
    pub fn turn(&self, turn: impl Turn + 'static) {
        self.0.turns.borrow_mut().push(Box::new(turn));
    }

    /// Starts a task.
    ///
    /// # Errors
    /// [`Full`] beyond [`TASKS_MAX`]; the task is dropped.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) -> Result<(), Full> {
        let mut tasks = self.0.tasks.borrow_mut();
        let free = tasks.iter().position(|slot| slot.task.is_none() && !slot.running);
        let place = free.unwrap_or(tasks.len());
        if place >= TASKS_MAX {
            return Err(Full);
        }
        if place == tasks.len() {
            tasks.push(Slot::default());
        }
        let slot = tasks.get_mut(place).ok_or(Full)?;
        let ready = Arc::clone(&self.0.ready);
        slot.waker.get_or_insert_with(|| Waker::from(Arc::new(TaskWaker { ready, place })));
        slot.task = Some(Box::pin(task));
        self.0.live.set(self.0.live.get() + 1);
        self.0.ready.set(place);
        Ok(())
    }

    /// Tasks that have not ended.
    pub fn tasks(&self) -> usize {
        self.0.live.get()
    }

    /// Waits until the monotonic time `at_ns`.
    pub fn sleep_until(&self, at_ns: u64) -> Sleep {
        Sleep::new(self.clone(), at_ns)
    }

    /// Waits so long.
    pub fn sleep(&self, time: core::time::Duration) -> Sleep {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(NEVER);
        self.sleep_until(clock::now_ns().saturating_add(ns))
    }

    /// `future`'s result, or `None` if the monotonic time `at_ns` comes first.
    pub async fn timeout<T>(&self, at_ns: u64, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        let mut sleep = pin!(self.sleep_until(at_ns));
        core::future::poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => sleep.as_mut().poll(context).map(|()| None),
        })
        .await
    }

    /// Runs until `main` has ended, whose result it gives; other tasks stay where they are.
    pub fn block_on<T>(&self, main: impl Future<Output = T>) -> T {
        let mut main = pin!(main);
        let mark = Arc::new(Ready::default());
        let waker = Waker::from(Arc::new(TaskWaker { ready: Arc::clone(&mark), place: 0 }));
        mark.set(0);
        loop {
            if mark.take(0)
                && let Poll::Ready(value) = main.as_mut().poll(&mut Context::from_waker(&waker))
            {
                return value;
            }
            self.run_ready();
            let deadline = self.turn_all();
            if mark.is_empty() && self.0.ready.is_empty() {
                clock::wait(deadline);
                self.0.timers.borrow_mut().fire(clock::now_ns());
            }
        }
    }

    /// Runs until every task has ended.
    pub fn run(&self) {
        while self.tasks() > 0 {
            self.run_ready();
            let deadline = self.turn_all();
            if self.0.ready.is_empty() && self.tasks() > 0 {
                clock::wait(deadline);
                self.0.timers.borrow_mut().fire(clock::now_ns());
            }
        }
    }

    /// Runs every task that was woken, once.
    fn run_ready(&self) {
        let mut from = 0;
        while let Some(place) = self.0.ready.take_next(from) {
            from = place + 1;
            self.run_one(place);
        }
    }

    fn run_one(&self, place: usize) {
        let Some((mut task, waker)) = self.take(place) else { return };
        let ended = task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        // Dropping a task may run code that comes back here: nothing is borrowed meanwhile.
        let ended_task = if ended { Some(task) } else { self.put_back(place, task) };
        if ended {
            self.0.live.set(self.0.live.get().saturating_sub(1));
            drop(ended_task);
            if let Some(slot) = self.0.tasks.borrow_mut().get_mut(place) {
                slot.running = false;
            }
        }
    }

    fn take(&self, place: usize) -> Option<(Task, Waker)> {
        let mut tasks = self.0.tasks.borrow_mut();
        let slot = tasks.get_mut(place)?;
        let task = slot.task.take()?;
        slot.running = true;
        Some((task, slot.waker.clone()?))
    }

    fn put_back(&self, place: usize, task: Task) -> Option<Task> {
        let mut tasks = self.0.tasks.borrow_mut();
        let Some(slot) = tasks.get_mut(place) else { return Some(task) };
        slot.running = false;
        slot.task.replace(task)
    }

    /// Turns everything once; the nearest deadline.
    fn turn_all(&self) -> u64 {
        let mut turns = self.0.turns.borrow_mut();
        let nearest = turns.iter_mut().map(|turn| turn.turn()).min().unwrap_or(NEVER);
        let now = clock::now_ns();
        let mut timers = self.0.timers.borrow_mut();
        timers.fire(now);
        nearest.min(timers.next())
    }
}

#[cfg(test)]
mod tests;
