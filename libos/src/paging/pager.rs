//! Demand-zero, sharing until written, protection: from faults and bind calls.
//!
//! A fault is looked up in the page table. A page that the table has but the processor does not is
//! a *miss* of the cache of bindings, filled with one bind call; one that was never touched gets
//! its zeros first; a write to a shared page makes a copy, unless nobody shares it any more; a
//! write to a protected page is for the program's own trap handler.

use abi::Status;

use super::{Entry, Memory, PageTable, State};
use crate::upcall::{ERROR_BOUND, ERROR_WRITE};

const PAGE: u64 = abi::limits::PAGE_BYTES as u64;

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Faults on pages that the table had, and the processor's tables had not.
    pub misses: u64,
    /// Faults on addresses that the table has nothing for.
    pub strays: u64,
    /// Pages made when they were first touched.
    pub zero_fills: u64,
    /// Pages copied when they were written.
    pub copies: u64,
    /// Shared pages taken over by the last to share them.
    pub takeovers: u64,
    /// Writes to protected pages.
    pub traps: u64,
    /// Changes of rights asked of the kernel.
    pub protections: u64,
}

/// What came of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The program can go on.
    Resolved,
    /// It wrote to a page that it protected.
    Trap,
    /// The address is nothing that the pager knows.
    Stray,
    /// The kernel refused what it would have taken.
    Refused(Status),
}

/// A page table at work.
#[derive(Debug)]
pub struct Pager<T, M> {
    table: T,
    memory: M,
    counters: Counters,
}

impl<T: PageTable, M: Memory> Pager<T, M> {
    /// A pager with an empty table.
    pub fn new(table: T, memory: M) -> Pager<T, M> {
        Pager { table, memory, counters: Counters::default() }
    }

    /// What has happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The table.
    pub fn table(&self) -> &T {
        &self.table
    }

    /// Memory from this address on that is zeros until it is touched. `false`: the table is full.
    pub fn reserve(&mut self, address: u64, pages: u64) -> bool {
        let entry = Entry { page: None, state: State::Open, bound: false };
        (0..pages).all(|page| self.table.insert(address / PAGE + page, entry))
    }

    /// Resolves a fault, if it can.
    pub fn fault(&mut self, address: u64, error: u64) -> Outcome {
        let number = address / PAGE;
        let Some(entry) = self.table.get(number) else {
            self.counters.strays += 1;
            return Outcome::Stray;
        };
        let done = if error & ERROR_BOUND == 0 {
            self.fill(number, entry)
        } else if error & ERROR_WRITE == 0 {
            return Outcome::Stray;
        } else {
            match entry.state {
                State::Protected => {
                    self.counters.traps += 1;
                    return Outcome::Trap;
                }
                State::Shared => self.unshare(number, entry),
                // The binding is narrower than the table: it is made as wide.
                State::Open => self.memory.protect(number * PAGE, 1, true),
            }
        };
        done.map_or_else(Outcome::Refused, |()| Outcome::Resolved)
    }

    /// Shares a page between two addresses until one of them is written. The second must be free.
    ///
    /// # Errors
    /// [`Status::BadAddress`] if there is nothing at the first; [`Status::Limit`] if the table is
    /// full; what the kernel said.
    pub fn share(&mut self, from: u64, to: u64) -> Result<(), Status> {
        let mut entry = self.table.get(from / PAGE).ok_or(Status::BadAddress)?;
        if entry.page.is_none() {
            self.fill(from / PAGE, entry)?;
            entry = self.table.get(from / PAGE).ok_or(Status::BadAddress)?;
        }
        let copy = Entry { state: State::Shared, bound: false, ..entry };
        if !self.table.insert(to / PAGE, copy) {
            return Err(Status::Limit);
        }
        if entry.bound {
            self.memory.protect(from / PAGE * PAGE, 1, false)?;
        }
        self.set(from / PAGE, |it| it.state = State::Shared);
        Ok(())
    }

    /// Protects pages in a row against writing, or opens them again. Those that are not bound are
    /// changed in the table alone; if all are bound it is one call.
    ///
    /// # Errors
    /// [`Status::BadAddress`] if one of them is unknown; what the kernel said.
    pub fn protect(&mut self, address: u64, pages: u64, write: bool) -> Result<(), Status> {
        let first = address / PAGE;
        let state = if write { State::Open } else { State::Protected };
        let mut bound = true;
        let known = self.table.change(first, pages, |entry| {
            entry.state = state;
            bound &= entry.bound;
        });
        if !known {
            return Err(Status::BadAddress);
        }
        if bound {
            return self.flush_run(first + pages, pages, write);
        }
        let mut run = 0;
        for number in first..first + pages {
            if self.table.get(number).is_some_and(|entry| entry.bound) {
                run += 1;
                continue;
            }
            self.flush_run(number, run, write)?;
            run = 0;
        }
        self.flush_run(first + pages, run, write)
    }

    /// Whether the page was written since it was bound: a look at the table, and one load.
    pub fn is_dirty(&self, address: u64) -> bool {
        let bound = self.table.get(address / PAGE).is_some_and(|entry| entry.bound);
        bound && crate::exposed::leaf(address) & abi::exposed::LEAF_DIRTY != 0
    }

    /// How many of the pages in a row were written since they were bound; `each` is told of every
    /// one, in order. One load for each page, if all of them are bound.
    pub fn dirty(&self, address: u64, pages: u64, mut each: impl FnMut(u64, bool)) -> u64 {
        let first = address / PAGE;
        let mut count = 0;
        let mut note = |page: u64, leaf: u64| {
            let dirty = leaf & abi::exposed::LEAF_DIRTY != 0;
            count += u64::from(dirty);
            each((first + page) * PAGE, dirty);
        };
        if self.table.all(first, pages, |entry| entry.bound) {
            crate::sys::paged::leaves(address, pages, note);
            return count;
        }
        for page in 0..pages {
            let at = (first + page) * PAGE;
            note(page, if self.is_dirty(at) { abi::exposed::LEAF_DIRTY } else { 0 });
        }
        count
    }

    /// Breaks a page's binding; the table keeps it, and the next touch is a miss.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn evict(&mut self, address: u64) -> Result<(), Status> {
        let bound = self.table.get(address / PAGE).is_some_and(|entry| entry.bound);
        if bound {
            self.memory.unbind(address / PAGE * PAGE)?;
            self.set(address / PAGE, |it| it.bound = false);
        }
        Ok(())
    }

    /// Forgets a page, and gives its memory back if nobody shares it.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn release(&mut self, address: u64) -> Result<(), Status> {
        self.evict(address)?;
        match self.table.remove(address / PAGE).and_then(|entry| entry.page) {
            Some(page) if self.table.sharers(page) == 0 => self.memory.free(page),
            _ => Ok(()),
        }
    }

    fn set(&mut self, number: u64, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.table.get_mut(number) {
            change(entry);
        }
    }

    fn flush_run(&mut self, end: u64, run: u64, write: bool) -> Result<(), Status> {
        const MOST: u64 = abi::limits::BATCH_MAX as u64;
        let mut from = end - run;
        while from < end {
            let pages = (end - from).min(MOST);
            self.memory.protect(from * PAGE, pages as usize, write)?;
            self.counters.protections += 1;
            from += pages;
        }
        Ok(())
    }

    /// Binds what the table has and the processor has not.
    fn fill(&mut self, number: u64, entry: Entry) -> Result<(), Status> {
        let page = match entry.page {
            Some(page) => {
                self.counters.misses += 1;
                page
            }
            None => {
                self.counters.zero_fills += 1;
                self.memory.page()?
            }
        };
        // The page is the table's from here on, whatever comes of the binding.
        self.set(number, |it| it.page = Some(page));
        self.memory.bind(page, number * PAGE, entry.state == State::Open)?;
        self.set(number, |it| it.bound = true);
        Ok(())
    }

    /// Gives a page of its own to somebody who writes to a shared one.
    fn unshare(&mut self, number: u64, entry: Entry) -> Result<(), Status> {
        let shared = entry.page.ok_or(Status::BadAddress)?;
        if self.table.sharers(shared) == 1 {
            self.counters.takeovers += 1;
            self.memory.protect(number * PAGE, 1, true)?;
            self.set(number, |it| it.state = State::Open);
            return Ok(());
        }
        let copy = self.memory.page()?;
        if let Err(status) = self.memory.copy(number * PAGE, copy) {
            // What was refused is what counts.
            let _ = self.memory.free(copy);
            return Err(status);
        }
        self.counters.copies += 1;
        let own = Entry { page: Some(copy), state: State::Open, bound: true };
        self.set(number, |it| *it = own);
        Ok(())
    }
}

#[cfg(test)]
#[path = "pager_tests.rs"]
mod tests;
