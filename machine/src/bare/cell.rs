//! A global that one processor uses with interrupts off: no lock, but no second borrow either.

use core::cell::{Cell, UnsafeCell};

/// A value that [`OneCpu::with`] lends out, once at a time.
pub(super) struct OneCpu<T> {
    value: UnsafeCell<T>,
    lent: Cell<bool>,
}

// SAFETY: there is one processor, the kernel runs with interrupts off, and code that runs in a
// ring-0 trap (fault reports, the idle wake-up) either uses no `OneCpu` or goes through `try_with`;
// so accesses never overlap in time, and `with` checks that they do not nest.
unsafe impl<T> Sync for OneCpu<T> {}

impl<T> OneCpu<T> {
    pub(super) const fn new(value: T) -> Self {
        Self { value: UnsafeCell::new(value), lent: Cell::new(false) }
    }

    /// Lends the value to `f`. A nested call is a kernel bug.
    pub(super) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        match self.try_with(f) {
            Some(result) => result,
            None => panic!("a per-CPU value was borrowed twice"),
        }
    }

    /// Lends the value to `f`, unless it is lent already.
    pub(super) fn try_with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        if self.lent.replace(true) {
            return None;
        }
        // SAFETY: `lent` was false, so no other reference exists; see the impl of `Sync`.
        let result = f(unsafe { &mut *self.value.get() });
        self.lent.set(false);
        Some(result)
    }

    /// Takes the value back from whoever has it, so that it can be lent again.
    ///
    /// # Safety
    ///
    /// Whoever has it never runs again.
    pub(super) unsafe fn seize(&self) {
        self.lent.set(false);
    }
}
