//! A value that the program and its upcall handlers share, lent to one of them at a time.
//!
//! There is one thread, but a handler runs between two instructions of whatever it interrupts. Who
//! finds the value lent is told so, and nothing waits: what was interrupted cannot go on before
//! the handler has returned.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

/// A value that [`Exclusive::with`] lends out, once at a time.
#[derive(Debug)]
pub struct Exclusive<T> {
    value: UnsafeCell<T>,
    lent: AtomicBool,
}

// SAFETY: `lent` admits one borrower at a time, whoever it is; the value may go between threads.
unsafe impl<T: Send> Sync for Exclusive<T> {}

impl<T> Exclusive<T> {
    /// A value that nobody has borrowed.
    pub const fn new(value: T) -> Exclusive<T> {
        Exclusive { value: UnsafeCell::new(value), lent: AtomicBool::new(false) }
    }

    /// Lends the value to `f`; `None` if somebody has it who was interrupted.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        if self.lent.swap(true, Ordering::Acquire) {
            return None;
        }
        let lent = Lent(&self.lent);
        // SAFETY: `lent` was false, so that no other reference exists until it is false again.
        let result = f(unsafe { &mut *self.value.get() });
        drop(lent);
        Some(result)
    }
}

/// Gives the value back, also when `f` unwinds.
struct Lent<'a>(&'a AtomicBool);

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::Exclusive;

    #[test]
    fn a_second_borrower_is_refused_and_the_first_is_not_disturbed() {
        let cell = Exclusive::new(1);
        let inner = cell.with(|value| {
            *value += 1;
            cell.with(|_| unreachable!())
        });
        assert_eq!(inner, Some(None::<()>));
        assert_eq!(cell.with(|value| *value), Some(2));
    }
}
