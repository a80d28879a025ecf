//! Tasks against a scripted clock.

use std::boxed::Box;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;
use std::vec::Vec;

use abi::Call;

use super::{Executor, Full, TASKS_MAX, Turn};
use crate::clock::NEVER;
use crate::sys::host::Guard;
use crate::sys::{Request, host};

/// A clock that jumps to whatever is waited for, and counts how often that is.
fn clock() -> (Rc<Cell<u64>>, Rc<Cell<u32>>, Guard) {
    let (now, waits) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let (clock, count) = (now.clone(), waits.clone());
    let guard = host::script(move |request| match request {
        Request::Plain { call: Call::Clock, .. } => (0, clock.get()),
        Request::Plain { call: Call::Wait, args } => {
            assert_ne!(args[0], NEVER, "would sleep for ever");
            clock.set(clock.get().max(args[0]));
            count.set(count.get() + 1);
            (0, abi::ring::EVENT_DEADLINE)
        }
        other => panic!("{other:?}"),
    });
    (now, waits, guard)
}

#[test]
fn sleepers_wake_in_the_order_of_their_times_and_nobody_spins() {
    let (now, waits, _guard) = clock();
    let executor = Executor::new();
    let order = Rc::new(RefCell::new(Vec::new()));
    for number in [3u64, 1, 2, 1] {
        let (inner, order) = (executor.clone(), order.clone());
        let task = async move {
            inner.sleep(Duration::from_millis(number)).await;
            order.borrow_mut().push(number);
        };
        executor.spawn(task).unwrap();
    }
    assert_eq!(executor.tasks(), 4);
    executor.run();
    assert_eq!(*order.borrow(), [1, 1, 2, 3]);
    assert_eq!((now.get(), waits.get(), executor.tasks()), (3_000_000, 3, 0));
}

#[test]
fn a_timeout_ends_what_would_not() {
    let (now, _waits, _guard) = clock();
    let executor = Executor::new();
    let inner = executor.clone();
    let result = executor.block_on(async move {
        let never = std::future::pending::<()>();
        let late = inner.timeout(500, never).await;
        (late, inner.timeout(900, std::future::ready(7)).await)
    });
    assert_eq!((result, now.get()), ((None, Some(7)), 500));
    // The timer of what came in time is gone.
    assert_eq!(executor.0.timers.borrow().next(), NEVER);
}

/// Wakes whoever registered, one turn later.
struct Late(Rc<RefCell<Option<Waker>>>);

impl Turn for Late {
    fn turn(&mut self) -> u64 {
        if let Some(waker) = self.0.borrow_mut().take() {
            waker.wake();
        }
        NEVER
    }
}

#[test]
fn what_is_turned_wakes_tasks_without_a_sleep() {
    let _guard = host::script(|request| match request {
        Request::Plain { call: Call::Clock, .. } => (0, 0),
        other => panic!("{other:?}"),
    });
    let executor = Executor::new();
    let waker = Rc::new(RefCell::new(None));
    executor.turn(Late(waker.clone()));
    let rounds = Rc::new(Cell::new(0));
    let count = rounds.clone();
    let task = poll_fn(move |context| {
        count.set(count.get() + 1);
        *waker.borrow_mut() = Some(context.waker().clone());
        if count.get() == 5 { Poll::Ready(()) } else { Poll::Pending }
    });
    executor.spawn(task).unwrap();
    executor.run();
    assert_eq!(rounds.get(), 5);
}

#[test]
fn a_task_may_start_others_and_a_waker_may_outlive_its_task() {
    let (_now, _waits, _guard) = clock();
    let executor = Executor::new();
    let kept: Rc<RefCell<Vec<Waker>>> = Rc::default();
    let (inner, wakers) = (executor.clone(), kept.clone());
    let ran = Rc::new(Cell::new(0));
    let count = ran.clone();
    executor
        .spawn(async move {
            for _ in 0..100 {
                let (wakers, count) = (wakers.clone(), count.clone());
                let child = poll_fn(move |context| {
                    wakers.borrow_mut().push(context.waker().clone());
                    count.set(count.get() + 1);
                    Poll::Ready(())
                });
                inner.spawn(child).unwrap();
            }
        })
        .unwrap();
    executor.run();
    assert_eq!(ran.get(), 100);
    kept.borrow().iter().for_each(Waker::wake_by_ref);
    executor.run();
    assert_eq!(ran.get(), 100);
}

#[test]
fn there_is_room_for_so_many_and_places_are_used_again() {
    let (_now, _waits, _guard) = clock();
    let executor = Executor::new();
    for _ in 0..TASKS_MAX {
        executor.spawn(async {}).unwrap();
    }
    assert_eq!(executor.spawn(async {}), Err(Full));
    executor.run();
    let dropped = Rc::new(Cell::new(false));
    struct Tells(Rc<Cell<bool>>);
    impl Drop for Tells {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let tells = Box::new(Tells(dropped.clone()));
    executor.spawn(async move { drop(tells) }).unwrap();
    executor.run();
    assert!(dropped.get());
    assert!(executor.0.tasks.borrow().len() <= TASKS_MAX);
}
