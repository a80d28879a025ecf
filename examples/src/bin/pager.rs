//! Virtual memory in ring 3: zeros on demand, copies on write, and the seven primitives, timed.
//!
//! The same program runs over two page tables of its own, a vector and a hash table; the kernel
//! sees bind calls and nothing else. What each primitive takes is reported in counts of the
//! time-stamp counter: guest instructions where the machine counts those. The primitives are those
//! of Appel and Li ("Virtual memory primitives for user programs", ASPLOS 1991) as the exokernel
//! paper measures them (SOSP '95, table 10): `appel1` and `appel2` are per page.
//!
//! Exits with 0 if everything was as it must be.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::format;
use core::sync::atomic::{AtomicU64, Ordering};

use libos::capability::{audit, report};
use libos::exposed::{Exposed, leaf_or_none};
use libos::layout::PAGED;
use libos::paging::{Counters, Hashed, Linear, Outcome, Own, PageTable, Pager};
use libos::sys::paged::{load, probe_store, store};
use libos::sys::{Exclusive, cycles, measure};
use libos::upcall::{Upcall, on_fault, unresolved};
use libos::{Env, Environment, Page, println};

#[path = "../matrix.rs"]
mod matrix;

libos::entry!(main);

const PAGE: u64 = abi::limits::PAGE_BYTES as u64;
/// Pages that the primitives work on.
const PAGES: u64 = 100;
/// A page that is shared with the first one.
const TWIN: u64 = 120;
/// Pages that each table must have room for.
const ROOM: usize = 128;
/// Where the memory of the second table begins.
const SECOND: u64 = PAGED + 0x1000_0000;
/// Through which copies are made.
const SCRATCH: u64 = PAGED + 0x2000_0000;
/// How often the small ones are timed; the least counts.
const ROUNDS: u64 = 16;

type Slot<T> = Exclusive<Option<Pager<T, Own>>>;

static LINEAR: Slot<Linear> = Exclusive::new(None);
static HASHED: Slot<Hashed> = Exclusive::new(None);

/// What the handler does about a write to a protected page: one of the following.
static ON_TRAP: AtomicU64 = AtomicU64::new(SKIP);
/// Go on behind the write.
const SKIP: u64 = 0;
/// Open the page, protect the one that [`NEXT`] names.
const SWAP: u64 = 1;
/// Open the page.
const OPEN: u64 = 2;

static NEXT: AtomicU64 = AtomicU64::new(0);

fn main(environment: Environment) -> i32 {
    match run(&environment) {
        Ok(()) => 0,
        Err(what) => {
            println!("wrong: {what}");
            1
        }
    }
}

type Verdict = Result<(), &'static str>;

fn run(environment: &Environment) -> Verdict {
    let own = environment.own().map_err(|_| "no name of its own")?;
    let cost = measure::fault_cost(32).map_err(|_| "no measure of a fault")?;
    let call = least(|| {
        let begin = cycles();
        core::hint::black_box(libos::clock::now_ns());
        Ok(cycles() - begin)
    })?;
    say(&format!("fault to_handler={} back={} call={call}", cost.to_handler, cost.back));
    let begin = cycles();
    core::hint::black_box(matrix::multiply_once());
    say(&format!("matrix multiply={}", cycles() - begin));
    on_fault(handler).map_err(|_| "no fault handler")?;
    names(own)?;
    let memory = Own::new(own, SCRATCH);
    let table = Linear::new(PAGED / PAGE, ROOM);
    LINEAR.with(|slot| *slot = Some(Pager::new(table, memory)));
    let table = Hashed::new(ROOM);
    HASHED.with(|slot| *slot = Some(Pager::new(table, memory)));
    Bench { slot: &LINEAR, base: PAGED, name: "linear" }.run()?;
    Bench { slot: &HASHED, base: SECOND, name: "hashed" }.run()?;
    check(audit() == Ok(0), "the audit")
}

/// Physical names: the frame that the table of frames says is free is had by asking for it.
fn names(own: Env) -> Verdict {
    let exposed = Exposed::new();
    let free = exposed.free_frame(0).ok_or("no free frame in the frame table")?;
    let page = Page::alloc_at(own, free).map_err(|_| "a free frame was not to be had")?;
    check(page.name() == Ok(free), "the frame's name")?;
    let owner = exposed.owner(free);
    let row = (0..).map_while(|row| exposed.row(row)).find(|row| Some(row.id) == owner);
    check(row.is_some_and(|row| row.name.starts_with(b"pager")), "the frame's owner")?;
    check(Page::alloc_at(own, free).is_err(), "a frame was given out twice")?;
    page.free().map_err(|_| "free")?;
    check(exposed.owner(free) == Some(abi::exposed::FRAME_FREE), "the freed frame's owner")?;
    let (by_call, by_page) = (libos::clock::now_ns(), exposed.now_ns());
    check(by_page.abs_diff(by_call) < 5_000_000, "the exposed clock")
}

/// The fault handler: whichever pager knows the address.
fn handler(fault: &mut Upcall) {
    let (address, error) = (fault.address(), fault.error());
    let outcome = if address < SECOND {
        LINEAR.with(|slot| resolve(slot, address, error))
    } else {
        HASHED.with(|slot| resolve(slot, address, error))
    };
    match outcome {
        Some(Outcome::Resolved) => {}
        Some(Outcome::Trap) if fault.skip_probe() => {}
        _ => unresolved(fault),
    }
}

fn resolve<T: PageTable>(slot: &mut Option<Pager<T, Own>>, address: u64, error: u64) -> Outcome {
    let Some(pager) = slot else { return Outcome::Stray };
    let outcome = pager.fault(address, error);
    let what = ON_TRAP.load(Ordering::Relaxed);
    if outcome != Outcome::Trap || what == SKIP {
        return outcome;
    }
    let next = NEXT.load(Ordering::Relaxed);
    let swapped = if what == SWAP { pager.protect(next, 1, false) } else { Ok(()) };
    match swapped.and_then(|()| pager.protect(address, 1, true)) {
        Ok(()) => Outcome::Resolved,
        Err(status) => Outcome::Refused(status),
    }
}

fn check(holds: bool, what: &'static str) -> Verdict {
    if holds { Ok(()) } else { Err(what) }
}

fn say(text: &str) {
    println!("{text}");
    // Without a channel the line above is all there is.
    let _ = report(format!("pager {text}").as_bytes());
}

/// One table at work.
struct Bench<T: 'static> {
    slot: &'static Slot<T>,
    base: u64,
    name: &'static str,
}

impl<T: PageTable> Bench<T> {
    fn run(&self) -> Verdict {
        self.demand_zero()?;
        self.copy_on_write()?;
        self.primitives()?;
        let Counters { misses, zero_fills, copies, takeovers, traps, .. } = self.counters()?;
        say(&format!(
            "{} misses={misses} zero_fills={zero_fills} copies={copies} takeovers={takeovers} \
             traps={traps}",
            self.name
        ));
        Ok(())
    }

    fn at(&self, page: u64) -> u64 {
        self.base + page * PAGE
    }

    fn with<R>(&self, work: impl FnOnce(&mut Pager<T, Own>) -> R) -> Result<R, &'static str> {
        let result = self.slot.with(|slot| slot.as_mut().map(work));
        result.flatten().ok_or("the pager is busy")
    }

    fn counters(&self) -> Result<Counters, &'static str> {
        self.with(|pager| pager.counters())
    }

    fn protect(&self, page: u64, pages: u64, write: bool) -> Verdict {
        let at = self.at(page);
        self.with(|pager| pager.protect(at, pages, write))?.map_err(|_| "a change of rights")
    }

    /// Pages are zeros when first touched, keep what is written, and come back after eviction.
    fn demand_zero(&self) -> Verdict {
        check(self.with(|pager| pager.reserve(self.base, PAGES))?, "room in the table")?;
        check(leaf_or_none(self.at(5)) == 0, "something is bound before it is touched")?;
        for page in 0..PAGES {
            check(load(self.at(page) + 24) == 0, "a fresh page is not zero")?;
            check(!self.with(|pager| pager.is_dirty(self.at(page)))?, "dirty by a read")?;
            store(self.at(page) + 24, page + 1);
            check(self.with(|pager| pager.is_dirty(self.at(page)))?, "clean after a write")?;
        }
        let dirty = self.with(|pager| pager.dirty(self.base, PAGES, |_, _| {}))?;
        check(dirty == PAGES, "what is dirty among all of them")?;
        check(self.counters()?.zero_fills == PAGES, "pages filled with zeros")?;
        for page in 0..PAGES {
            let evicted = self.with(|pager| pager.evict(self.at(page)))?;
            evicted.map_err(|_| "eviction")?;
        }
        for page in 0..PAGES {
            check(load(self.at(page) + 24) == page + 1, "an evicted page lost what it held")?;
        }
        check(self.counters()?.misses == PAGES, "misses")
    }

    /// One page at two addresses: the first write makes two of it.
    fn copy_on_write(&self) -> Verdict {
        let (first, twin) = (self.at(0), self.at(TWIN));
        let before = self.counters()?;
        self.with(|pager| pager.share(first, twin))?.map_err(|_| "sharing")?;
        check(load(twin + 24) == load(first + 24), "the twin differs")?;
        let frame = |at| leaf_or_none(at) & abi::exposed::LEAF_FRAME;
        check(frame(twin) == frame(first) && frame(twin) != 0, "it is not one frame")?;
        store(twin + 24, 777);
        check((load(first + 24), load(twin + 24)) == (1, 777), "the copy is none")?;
        check(frame(twin) != frame(first), "it is still one frame")?;
        store(first + 24, 1);
        let after = self.counters()?;
        check(after.copies == before.copies + 1, "copies")?;
        check(after.takeovers == before.takeovers + 1, "the last one copied, too")?;
        self.with(|pager| pager.release(twin))?.map_err(|_| "release")
    }

    fn primitives(&self) -> Verdict {
        let dirty = least(|| {
            self.with(|pager| {
                let begin = cycles();
                (0..PAGES).for_each(|page| {
                    core::hint::black_box(pager.is_dirty(self.at(page)));
                });
                (cycles() - begin) / PAGES
            })
        })?;
        // What is timed always changes something: a kernel may see that nothing would.
        let change = |first, pages, write: bool| {
            self.protect(0, PAGES, !write)?;
            self.timed(|| self.protect(first, pages, write))
        };
        let dirty100 = least(|| {
            let at = self.at(0);
            self.with(|pager| {
                let begin = cycles();
                core::hint::black_box(pager.dirty(at, PAGES, |page, dirty| {
                    core::hint::black_box((page, dirty));
                }));
                (cycles() - begin) / PAGES
            })
        })?;
        let prot1 = least(|| change(7, 1, false))?;
        let prot100 = least(|| change(0, PAGES, false))?;
        let unprot100 = least(|| change(0, PAGES, true))?;
        let trap = self.trap()?;
        let (appel1, appel2) = (self.appel1()?, self.appel2()?);
        say(&format!(
            "{} dirty={dirty} dirty100={dirty100} prot1={prot1} prot100={prot100} \
             unprot100={unprot100} trap={trap} appel1={appel1} appel2={appel2}",
            self.name
        ));
        Ok(())
    }

    fn timed(&self, work: impl FnOnce() -> Verdict) -> Result<u64, &'static str> {
        let begin = cycles();
        work()?;
        Ok(cycles() - begin)
    }

    /// A write to a protected page, the handler called and returned from.
    fn trap(&self) -> Result<u64, &'static str> {
        self.protect(3, 1, false)?;
        ON_TRAP.store(SKIP, Ordering::Relaxed);
        let cost = least(|| {
            let begin = cycles();
            let went_through = probe_store(self.at(3), 1);
            let end = cycles();
            check(!went_through, "a write to a protected page went through")?;
            Ok(end - begin)
        })?;
        self.protect(3, 1, true)?;
        Ok(cost)
    }

    /// Write to a protected page; the handler opens it and protects another.
    fn appel1(&self) -> Result<u64, &'static str> {
        self.protect(0, 1, false)?;
        ON_TRAP.store(SWAP, Ordering::Relaxed);
        let begin = cycles();
        for page in 0..PAGES - 1 {
            NEXT.store(self.at(page + 1), Ordering::Relaxed);
            store(self.at(page) + 8, page);
        }
        let cost = (cycles() - begin) / (PAGES - 1);
        self.protect(PAGES - 1, 1, true)?;
        Ok(cost)
    }

    /// Protect a hundred, write to each; the handler opens it.
    fn appel2(&self) -> Result<u64, &'static str> {
        ON_TRAP.store(OPEN, Ordering::Relaxed);
        let before = self.counters()?.traps;
        let begin = cycles();
        self.protect(0, PAGES, false)?;
        (0..PAGES).for_each(|page| store(self.at(page * 37 % PAGES) + 8, page));
        let cost = (cycles() - begin) / PAGES;
        check(self.counters()?.traps == before + PAGES, "traps")?;
        Ok(cost)
    }
}

/// The least of several timings.
fn least(mut timing: impl FnMut() -> Result<u64, &'static str>) -> Result<u64, &'static str> {
    let mut best = u64::MAX;
    for _ in 0..ROUNDS {
        best = best.min(timing()?);
    }
    Ok(best)
}
