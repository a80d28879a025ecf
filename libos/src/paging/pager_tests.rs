//! A pager over memory that is a map, with either table.

use std::collections::BTreeMap;
use std::vec::Vec;

use abi::{Handle, Status};

use super::{Outcome, Pager};
use crate::capability::Page;
use crate::paging::{Hashed, Linear, Memory, PageTable};

const AT: u64 = 0x40_0000_0000;
const PAGE: u64 = 4096;

/// Pages with one word each, and what is bound where.
#[derive(Debug, Default)]
struct Double {
    next: u64,
    contents: BTreeMap<u64, u64>,
    bound: BTreeMap<u64, (u64, bool)>,
    calls: usize,
    full: bool,
}

impl Memory for Double {
    fn page(&mut self) -> Result<Page, Status> {
        if self.full {
            return Err(Status::NoMemory);
        }
        self.next += 1;
        self.contents.insert(self.next, 0);
        Ok(Page(Handle(self.next)))
    }

    fn free(&mut self, page: Page) -> Result<(), Status> {
        self.contents.remove(&page.0.0).map(drop).ok_or(Status::BadHandle)
    }

    fn bind(&mut self, page: Page, address: u64, write: bool) -> Result<(), Status> {
        self.calls += 1;
        match self.bound.insert(address, (page.0.0, write)) {
            Some(_) => Err(Status::Occupied),
            None => Ok(()),
        }
    }

    fn unbind(&mut self, address: u64) -> Result<(), Status> {
        self.bound.remove(&address).map(drop).ok_or(Status::BadAddress)
    }

    fn protect(&mut self, address: u64, pages: usize, write: bool) -> Result<(), Status> {
        self.calls += 1;
        for page in 0..pages as u64 {
            self.bound.get_mut(&(address + page * PAGE)).ok_or(Status::BadAddress)?.1 = write;
        }
        Ok(())
    }

    fn copy(&mut self, address: u64, copy: Page) -> Result<(), Status> {
        let (from, _) = self.bound[&address];
        self.contents.insert(copy.0.0, self.contents[&from]);
        self.bound.insert(address, (copy.0.0, true));
        Ok(())
    }
}

/// What the processor would do: look, fault, try again.
fn touch<T: PageTable>(
    pager: &mut Pager<T, Double>,
    address: u64,
    write: Option<u64>,
) -> Result<u64, Outcome> {
    for _ in 0..3 {
        let error = match pager.memory.bound.get(&(address / PAGE * PAGE)) {
            Some(&(page, writable)) if writable || write.is_none() => {
                let word = pager.memory.contents.get_mut(&page).unwrap();
                *word = write.unwrap_or(*word);
                return Ok(*word);
            }
            bound => u64::from(bound.is_some()) | u64::from(write.is_some()) << 1,
        };
        match pager.fault(address, error) {
            Outcome::Resolved => {}
            other => return Err(other),
        }
    }
    panic!("the same fault three times");
}

fn both(test: impl Fn(&mut dyn FnMut(Step) -> Result<u64, Outcome>)) {
    run(Pager::new(Linear::new(AT / PAGE, 64), Double::default()), &test);
    run(Pager::new(Hashed::new(64), Double::default()), &test);
}

fn run<T: PageTable>(
    mut pager: Pager<T, Double>,
    test: &impl Fn(&mut dyn FnMut(Step) -> Result<u64, Outcome>),
) {
    test(&mut |step| step(&mut Face(&mut pager)));
}

type Step = fn(&mut dyn Use) -> Result<u64, Outcome>;

/// A pager whatever its table.
trait Use {
    fn read(&mut self, page: u64) -> Result<u64, Outcome>;
    fn write(&mut self, page: u64, value: u64) -> Result<u64, Outcome>;
    fn share(&mut self, from: u64, to: u64);
    fn protect(&mut self, page: u64, pages: u64, write: bool);
    fn evict(&mut self, page: u64);
    fn release(&mut self, page: u64);
    fn reserve(&mut self, page: u64, pages: u64);
    fn counters(&self) -> super::Counters;
    fn memory(&mut self) -> &mut Double;
}

struct Face<'a, T>(&'a mut Pager<T, Double>);

impl<T: PageTable> Use for Face<'_, T> {
    fn read(&mut self, page: u64) -> Result<u64, Outcome> {
        touch(self.0, AT + page * PAGE + 8, None)
    }

    fn write(&mut self, page: u64, value: u64) -> Result<u64, Outcome> {
        touch(self.0, AT + page * PAGE + 8, Some(value))
    }

    fn share(&mut self, from: u64, to: u64) {
        self.0.share(AT + from * PAGE, AT + to * PAGE).unwrap();
    }

    fn protect(&mut self, page: u64, pages: u64, write: bool) {
        self.0.protect(AT + page * PAGE, pages, write).unwrap();
    }

    fn evict(&mut self, page: u64) {
        self.0.evict(AT + page * PAGE).unwrap();
    }

    fn release(&mut self, page: u64) {
        self.0.release(AT + page * PAGE).unwrap();
    }

    fn reserve(&mut self, page: u64, pages: u64) {
        assert!(self.0.reserve(AT + page * PAGE, pages));
    }

    fn counters(&self) -> super::Counters {
        self.0.counters()
    }

    fn memory(&mut self) -> &mut Double {
        &mut self.0.memory
    }
}

#[test]
fn pages_come_when_they_are_touched_and_come_back_when_they_were_evicted() {
    both(|with| {
        let _ = with(|pager| {
            pager.reserve(0, 8);
            assert_eq!(pager.read(3), Ok(0));
            assert_eq!(pager.write(3, 7), Ok(7));
            assert_eq!(pager.write(4, 9), Ok(9));
            assert_eq!(pager.counters().zero_fills, 2);
            pager.evict(3);
            assert_eq!(pager.read(3), Ok(7));
            assert_eq!((pager.counters().misses, pager.counters().zero_fills), (1, 2));
            assert_eq!(pager.read(20), Err(Outcome::Stray));
            Ok(0)
        });
    });
}

#[test]
fn a_shared_page_is_copied_by_who_writes_first_and_kept_by_who_is_last() {
    both(|with| {
        let _ = with(|pager| {
            pager.reserve(0, 1);
            assert_eq!(pager.write(0, 5), Ok(5));
            pager.share(0, 9);
            assert_eq!((pager.read(9), pager.counters().copies), (Ok(5), 0));
            assert_eq!(pager.write(9, 6), Ok(6));
            assert_eq!((pager.read(0), pager.read(9)), (Ok(5), Ok(6)));
            assert_eq!(pager.write(0, 8), Ok(8));
            assert_eq!((pager.counters().copies, pager.counters().takeovers), (1, 1));
            assert_eq!(pager.memory().contents.len(), 2);
            pager.release(9);
            pager.release(0);
            assert!(pager.memory().contents.is_empty());
            Ok(0)
        });
    });
}

#[test]
fn protection_traps_writes_and_takes_one_call_for_a_run() {
    both(|with| {
        let _ = with(|pager| {
            pager.reserve(0, 12);
            let all: Vec<u64> = (0..10).collect();
            all.iter().for_each(|&page| assert_eq!(pager.write(page, page), Ok(page)));
            let before = pager.memory().calls;
            pager.protect(0, 12, false);
            assert_eq!(pager.memory().calls, before + 1);
            assert_eq!(pager.write(4, 1), Err(Outcome::Trap));
            assert_eq!(pager.read(4), Ok(4));
            // Page 11 was never touched: it comes protected.
            assert_eq!(pager.read(11), Ok(0));
            assert_eq!(pager.write(11, 1), Err(Outcome::Trap));
            pager.protect(4, 1, true);
            assert_eq!(pager.write(4, 1), Ok(1));
            assert_eq!(pager.write(5, 1), Err(Outcome::Trap));
            Ok(0)
        });
    });
}

#[test]
fn what_the_kernel_refuses_changes_nothing() {
    both(|with| {
        let _ = with(|pager| {
            pager.reserve(0, 4);
            assert_eq!(pager.write(0, 3), Ok(3));
            pager.share(0, 1);
            pager.memory().full = true;
            assert_eq!(pager.write(1, 4), Err(Outcome::Refused(Status::NoMemory)));
            assert_eq!(pager.write(2, 4), Err(Outcome::Refused(Status::NoMemory)));
            assert_eq!((pager.read(0), pager.read(1)), (Ok(3), Ok(3)));
            pager.memory().full = false;
            assert_eq!(pager.write(1, 4), Ok(4));
            assert_eq!((pager.read(0), pager.read(1)), (Ok(3), Ok(4)));
            Ok(0)
        });
    });
}
