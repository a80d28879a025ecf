//! Names of values, so that what is learnt of one holder of a value is learnt of all.
//!
//! A name stands for one value in a run: a state says that there are values for its names with
//! which the run's registers and stack are as described. Every value that is made gets a name that
//! was never used before, also when the same instruction makes it again in a loop. A constant is
//! named after zero, at its distance from it.

/// A value's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name(u32);

impl Name {
    /// The number zero. As the base of a pointer: the first byte of its region.
    pub(crate) const ZERO: Name = Name(0);
}

/// Gives names, each once.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    next: u32,
}

impl Names {
    pub(super) const fn new() -> Names {
        Names { next: 1 }
    }

    /// A name that nothing has.
    pub(super) const fn fresh(&mut self) -> Name {
        let name = Name(self.next);
        // `VISITS_MAX` ends a proof long before; see the assertion there.
        self.next = self.next.saturating_add(1);
        name
    }

    /// A name above all that were given so far, and not above those that will be.
    pub(super) const fn mark(&self) -> Name {
        Name(self.next)
    }
}
