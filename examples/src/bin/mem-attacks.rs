//! Attacks on memory and upcalls, each with the status that must stop it.
//!
//! After each one, a page of somebody else's still holds what it held, its owner is as it was, and
//! the kernel's audit is clean. With the word `nested` among its arguments the program faults in
//! its fault handler instead, which must end it and nothing else.
//!
//! Exits with the number of attacks that were not stopped as expected.
#![no_std]
#![no_main]

extern crate alloc;

use abi::bind::BatchEntry;
use abi::exposed;
use abi::upcall::Kind;
use abi::{Call, Handle, Rights, Status};
use alloc::vec::Vec;
use libos::capability::{audit, report};
use libos::layout::{PAGED, START};
use libos::sys::hostile::call;
use libos::sys::paged::{batch, load, probe_load, probe_store, store};
use libos::upcall::{Upcall, on_fault, unresolved};
use libos::{Env, Environment, Page, println};

libos::entry!(main);

const PAGE: u64 = abi::limits::PAGE_BYTES as u64;
const READ: u64 = 1;
const WRITE: u64 = 2;
const EXECUTE: u64 = 4;
/// What the victim's page holds.
const MARK: u64 = 0x5ec2_e7da_7a11_0ca7;
/// Where the attacker sees the victim's page, read-only.
const VICTIM_AT: u64 = PAGED;
/// Where it works.
const WORK: u64 = PAGED + 0x10_0000;
const KERNEL: u64 = 0xffff_8000_0010_0000;
const NON_CANONICAL: u64 = 0x0000_9000_0000_0000;
/// Frames lent to the victim.
const VICTIM_FRAMES: u64 = 32;

fn main(environment: Environment) -> i32 {
    if environment.arguments().split_whitespace().any(|word| word == "nested") {
        return nested();
    }
    let attacker = match on_fault(skip).and_then(|()| Attacker::new(&environment)) {
        Ok(attacker) => attacker,
        Err(status) => {
            println!("not ready: {status:?}");
            return 250;
        }
    };
    let mut escaped = 0;
    for (name, attack) in ATTACKS {
        let (stopped, unharmed) = (attack(&attacker), attacker.victim_is_unharmed());
        if !(stopped && unharmed) {
            println!("{name}: stopped {stopped}, victim unharmed {unharmed}");
            escaped += 1;
        }
    }
    if attacker.victim.kill().is_err() {
        println!("the victim was gone already");
        escaped += 1;
    }
    println!("{} attacks on memory, {escaped} escaped", ATTACKS.len());
    let _ = report(alloc::format!("mem-attacks {} {escaped}", ATTACKS.len()).as_bytes());
    escaped
}

/// Faults of probes are reported by the probe; any other is a failure.
fn skip(fault: &mut Upcall) {
    if !fault.skip_probe() {
        unresolved(fault);
    }
}

/// A fault in the fault handler.
fn nested() -> i32 {
    fn again(_: &mut Upcall) {
        libos::sys::fault::read_kernel()
    }
    println!("about to fault in the fault handler");
    if on_fault(again).is_err() {
        return 251;
    }
    libos::sys::fault::read_kernel()
}

struct Attacker {
    own: Env,
    victim: Env,
    /// The victim's page, to read and no more.
    read_only: Page,
    /// A page of the attacker's own, mapped writable at [`WORK`].
    page: Page,
}

type Attack = fn(&Attacker) -> bool;

impl Attacker {
    fn new(environment: &Environment) -> Result<Attacker, Status> {
        let own = environment.own()?;
        let victim = Env::create(VICTIM_FRAMES, "victim")?;
        let page = Page::alloc(victim)?;
        page.map(own, VICTIM_AT, true)?;
        store(VICTIM_AT + 64, MARK);
        libos::sys::paged::unmap(own, VICTIM_AT)?;
        page.map(victim, PAGED, true)?;
        let read_only = page.derive(Rights::READ)?;
        page.forget()?;
        read_only.map(own, VICTIM_AT, false)?;
        let page = Page::alloc(own)?;
        page.map(own, WORK, true)?;
        Ok(Attacker { own, victim, read_only, page })
    }

    fn victim_is_unharmed(&self) -> bool {
        let alive = self.victim.status() == Ok((abi::start::State::Created, 0));
        probe_load(VICTIM_AT + 64) == Some(MARK) && alive && audit() == Ok(0)
    }

    fn map(&self, page: u64, address: u64, rights: u64) -> Option<Status> {
        call(Call::PageMap, [self.own.0.0, page, address, rights, 0, 0]).0
    }

    fn protect(&self, address: u64, pages: u64, rights: u64) -> Option<Status> {
        call(Call::PageProtect, [self.own.0.0, address, pages, rights, 0, 0]).0
    }

    fn unmap(&self, address: u64) -> Option<Status> {
        call(Call::PageUnmap, [self.own.0.0, address, 0, 0, 0, 0]).0
    }

    fn upcall(&self, kind: u64, entry: u64, stack: u64, save: u64) -> Option<Status> {
        call(Call::UpcallSet, [kind, entry, stack, save, 0, 0]).0
    }

    fn message(&self, entry: u64, stack: u64, save: u64) -> Option<Status> {
        self.upcall(Kind::Message as u64, entry, stack, save)
    }

    fn entries(&self, at: u64, count: u64) -> (Option<Status>, u64) {
        call(Call::PageBatch, [self.own.0.0, at, count, 0, 0, 0])
    }

    /// A page of its own, freed.
    fn stale(&self) -> Option<u64> {
        let page = Page::alloc(self.own).ok()?;
        page.free().ok()?;
        Some(page.0.0)
    }
}

fn one(call_: Call, first: u64, second: u64) -> Option<Status> {
    call(call_, [first, second, 0, 0, 0, 0]).0
}

/// Entry, stack and save area that would be accepted.
const ENTRY: u64 = 0x40_0000;
const STACK: u64 = WORK + PAGE;

/// Every attack: its name, and whether it was stopped.
const ATTACKS: &[(&str, Attack)] = &[
    ("map a forged handle", |a| {
        let forged = Handle::new(4000, 0x7777_7777).0;
        a.map(forged, WORK + PAGE, READ) == Some(Status::BadHandle)
    }),
    ("map handle zero", |a| a.map(0, WORK + PAGE, READ) == Some(Status::BadHandle)),
    ("map handle all ones", |a| a.map(u64::MAX, WORK + PAGE, READ) == Some(Status::BadHandle)),
    ("map a stale handle", |a| {
        a.stale().is_some_and(|it| a.map(it, WORK + PAGE, READ) == Some(Status::BadHandle))
    }),
    ("map a stale handle whose slot is used again", |a| {
        let Some(stale) = a.stale() else { return false };
        let Ok(page) = Page::alloc(a.own) else { return false };
        let stopped = a.map(stale, WORK + PAGE, READ) == Some(Status::BadHandle);
        stopped && page.free().is_ok()
    }),
    ("map an environment", |a| a.map(a.own.0.0, WORK + PAGE, READ) == Some(Status::WrongKind)),
    ("map into a page", |a| {
        let (status, _) = call(Call::PageMap, [a.page.0.0, a.page.0.0, WORK + PAGE, READ, 0, 0]);
        status == Some(Status::WrongKind)
    }),
    ("map a page to write that may be read", |a| {
        a.map(a.read_only.0.0, WORK + PAGE, READ | WRITE) == Some(Status::MissingRight)
    }),
    ("map a page to execute that may be read", |a| {
        a.map(a.read_only.0.0, WORK + PAGE, READ | EXECUTE) == Some(Status::MissingRight)
    }),
    ("map writable and executable", |a| {
        a.map(a.page.0.0, WORK + PAGE, READ | WRITE | EXECUTE) == Some(Status::WriteAndExecute)
    }),
    ("map with rights that there are not", |a| {
        a.map(a.page.0.0, WORK + PAGE, 1 << 40 | READ) == Some(Status::BadArgument)
    }),
    ("map write-only", |a| a.map(a.page.0.0, WORK + PAGE, WRITE) == Some(Status::BadArgument)),
    ("derive more rights than there are", |a| {
        one(Call::CapDerive, a.read_only.0.0, READ | WRITE) == Some(Status::MissingRight)
    }),
    ("free a page that may be read", |a| {
        one(Call::PageFree, a.read_only.0.0, 0) == Some(Status::MissingRight)
    }),
    ("rename a page that may be read", |a| {
        one(Call::PageRenew, a.read_only.0.0, 0) == Some(Status::MissingRight)
    }),
    ("map in the kernel's half", |a| a.map(a.page.0.0, KERNEL, READ) == Some(Status::BadAddress)),
    ("map at a non-canonical address", |a| {
        a.map(a.page.0.0, NON_CANONICAL, READ) == Some(Status::BadAddress)
    }),
    ("map at address zero", |a| a.map(a.page.0.0, 0, READ) == Some(Status::BadAddress)),
    ("map at the last page", |a| {
        a.map(a.page.0.0, abi::limits::USER_END, READ) == Some(Status::BadAddress)
    }),
    ("map at an odd address", |a| {
        a.map(a.page.0.0, WORK + PAGE + 8, READ) == Some(Status::BadArgument)
    }),
    ("map twice", |a| a.map(a.page.0.0, WORK, READ) == Some(Status::Occupied)),
    ("map over the system page", |a| {
        a.map(a.page.0.0, exposed::SYSTEM, READ | WRITE) == Some(Status::Occupied)
    }),
    ("map beside the frame table", |a| {
        a.map(a.page.0.0, exposed::END - PAGE, READ | WRITE) == Some(Status::Occupied)
    }),
    ("map over the page tables", |a| {
        a.map(a.page.0.0, exposed::leaf_entry(WORK) & !0xfff, READ) == Some(Status::Occupied)
    }),
    ("unmap the system page", |a| a.unmap(exposed::SYSTEM) == Some(Status::BadAddress)),
    ("unmap a page table", |a| {
        a.unmap(exposed::leaf_entry(WORK) & !0xfff) == Some(Status::BadAddress)
    }),
    ("unmap the kernel", |a| a.unmap(KERNEL) == Some(Status::BadAddress)),
    ("unmap what is not mapped", |a| a.unmap(WORK + 9 * PAGE) == Some(Status::BadAddress)),
    ("unmap in somebody else's space without the right", |a| {
        let less = call(Call::CapDerive, [a.victim.0.0, READ, 0, 0, 0, 0]).1;
        let stopped = one(Call::PageUnmap, less, PAGED) == Some(Status::MissingRight);
        stopped && one(Call::CapDrop, less, 0) == Some(Status::Ok)
    }),
    ("make a page writable that may be read", |a| {
        a.protect(VICTIM_AT, 1, READ | WRITE) == Some(Status::MissingRight)
            && !probe_store(VICTIM_AT + 64, 0)
    }),
    ("make a page writable and executable", |a| {
        a.protect(WORK, 1, READ | WRITE | EXECUTE) == Some(Status::WriteAndExecute)
    }),
    ("protect what is not mapped", |a| {
        a.protect(WORK, 2, READ) == Some(Status::BadAddress) && probe_store(WORK, 1)
    }),
    ("make the system page writable", |a| {
        a.protect(exposed::SYSTEM, 1, READ | WRITE) == Some(Status::BadAddress)
    }),
    ("make a page table writable", |a| {
        let table = exposed::leaf_entry(WORK) & !0xfff;
        a.protect(table, 1, READ | WRITE) == Some(Status::BadAddress)
    }),
    ("protect the kernel", |a| a.protect(KERNEL, 1, READ | WRITE) == Some(Status::BadAddress)),
    ("protect more pages than there are", |a| {
        a.protect(WORK, u64::MAX, READ) == Some(Status::BadArgument)
            && a.protect(WORK, 129, READ) == Some(Status::BadArgument)
    }),
    ("protect around the end of memory", |a| {
        a.protect(u64::MAX - 4095, 2, READ) == Some(Status::BadAddress)
    }),
    ("a batch longer than allowed", |a| {
        a.entries(WORK, 129) == (Some(Status::BadArgument), 0)
            && a.entries(WORK, u64::MAX) == (Some(Status::BadArgument), 0)
    }),
    ("a batch out of its page", |a| {
        a.entries(WORK + PAGE - 16, 1) == (Some(Status::BadAddress), 0)
            && a.entries(WORK, 128) == (Some(Status::Ok), (Status::BadAddress as u64) << 16)
    }),
    ("a batch in the kernel", |a| {
        a.entries(KERNEL, 4) == (Some(Status::BadAddress), 0)
            && a.entries(NON_CANONICAL, 4) == (Some(Status::BadAddress), 0)
            && a.entries(u64::MAX - 31, 4) == (Some(Status::BadAddress), 0)
    }),
    ("a batch with an operation that there is not", |a| {
        let odd = BatchEntry { operation: 9, address: WORK + PAGE, ..BatchEntry::default() };
        batch(a.own, &[odd]) == Err((0, Status::BadArgument))
    }),
    ("a batch whose second half is refused", |a| {
        let map = |address| BatchEntry { operation: 0, page: a.page.0.0, address, rights: READ };
        let done = batch(a.own, &[map(WORK + PAGE), map(WORK), map(WORK + 2 * PAGE)]);
        done == Err((1, Status::Occupied))
            && a.unmap(WORK + PAGE) == Some(Status::Ok)
            && a.unmap(WORK + 2 * PAGE) == Some(Status::BadAddress)
    }),
    ("write to the system page", |_| !probe_store(exposed::SYSTEM + 8, 0)),
    ("write to the frame table", |_| !probe_store(exposed::FRAMES, 0)),
    ("write to the environment table", |_| !probe_store(exposed::ENVIRONMENTS, 0)),
    ("write to a page table", |a| {
        let entry = exposed::leaf_entry(VICTIM_AT);
        let before = probe_load(entry);
        !probe_store(entry, u64::MAX)
            && before.is_some_and(|it| it & exposed::LEAF_WRITABLE == 0)
            && a.map(a.read_only.0.0, VICTIM_AT, READ) == Some(Status::Occupied)
    }),
    ("write to the root table", |_| !probe_store(exposed::root_entry(WORK), 0)),
    ("read the kernel", |_| probe_load(KERNEL).is_none()),
    ("read the kernel's image", |_| probe_load(0xffff_ffff_8010_0000).is_none()),
    ("write to the kernel", |_| !probe_store(KERNEL, 0)),
    ("read a non-canonical address", |_| probe_load(NON_CANONICAL).is_none()),
    ("read address zero", |_| probe_load(0).is_none()),
    ("an upcall of a kind that there is not", |a| {
        a.upcall(8, ENTRY, STACK, WORK) == Some(Status::BadArgument)
            && a.upcall(u64::MAX, ENTRY, STACK, WORK) == Some(Status::BadArgument)
    }),
    ("an upcall into the kernel", |a| a.message(KERNEL, STACK, WORK) == Some(Status::BadAddress)),
    ("an upcall to a non-canonical address", |a| {
        a.message(NON_CANONICAL, STACK, WORK) == Some(Status::BadAddress)
    }),
    ("an upcall on the kernel's stack", |a| {
        a.message(ENTRY, KERNEL, WORK) == Some(Status::BadAddress)
    }),
    ("an upcall on an odd stack", |a| {
        a.message(ENTRY, STACK - 8, WORK) == Some(Status::BadArgument)
    }),
    ("a save area at an odd address", |a| {
        a.message(ENTRY, STACK, WORK + 8) == Some(Status::BadArgument)
    }),
    ("a save area where nothing is mapped", |a| {
        a.message(ENTRY, STACK, WORK + 9 * PAGE) == Some(Status::BadAddress)
    }),
    ("a save area in the kernel", |a| a.message(ENTRY, STACK, KERNEL) == Some(Status::BadAddress)),
    ("a save area in a read-only page", |a| {
        a.message(ENTRY, STACK, START) == Some(Status::BadAddress)
    }),
    ("a save area in the victim's page", |a| {
        a.message(ENTRY, STACK, VICTIM_AT) == Some(Status::BadAddress)
    }),
    ("a save area in the system page", |a| {
        a.message(ENTRY, STACK, exposed::SYSTEM) == Some(Status::BadAddress)
    }),
    ("a save area in a page table", |a| {
        let table = exposed::leaf_entry(WORK) & !0xfff;
        a.message(ENTRY, STACK, table) == Some(Status::BadAddress)
    }),
    ("a save area in a page that somebody else pays for", |a| {
        let Ok(page) = Page::alloc(a.victim) else { return false };
        let mapped = page.map(a.own, WORK + 3 * PAGE, true).is_ok();
        let stopped = a.message(ENTRY, STACK, WORK + 3 * PAGE) == Some(Status::MissingRight);
        mapped && stopped && page.free().is_ok()
    }),
    ("take away the page of a save area", |a| {
        let registered = a.message(ENTRY, STACK, WORK) == Some(Status::Ok);
        let stopped = one(Call::PageFree, a.page.0.0, 0) == Some(Status::WrongState)
            && one(Call::PageRenew, a.page.0.0, 0) == Some(Status::WrongState);
        registered && stopped && a.message(0, 0, 0) == Some(Status::Ok)
    }),
    ("read through a mapping of a page that was freed", |a| {
        let Ok(page) = Page::alloc(a.own) else { return false };
        let (one, two) = (WORK + 4 * PAGE, WORK + 5 * PAGE);
        let mapped = page.map(a.own, one, true).is_ok() && page.map(a.own, two, false).is_ok();
        // Both translations are in the processor now.
        store(one, MARK);
        let seen = mapped && load(two) == MARK && load(one) == MARK;
        seen && page.free().is_ok() && probe_load(one).is_none() && probe_load(two).is_none()
    }),
    ("write through a mapping that was narrowed", |a| {
        store(WORK + 8, 1);
        let narrowed = a.protect(WORK, 1, READ) == Some(Status::Ok);
        let stopped = !probe_store(WORK + 8, 2) && load(WORK + 8) == 1;
        narrowed && stopped && a.protect(WORK, 1, READ | WRITE) == Some(Status::Ok)
    }),
    ("use a page by its old name", |a| {
        let Ok(page) = Page::alloc(a.own) else { return false };
        let Ok(other) = page.derive(Rights::READ | Rights::WRITE) else { return false };
        let at = WORK + 4 * PAGE;
        let mapped = other.map(a.own, at, true).is_ok();
        store(at, MARK);
        let Ok(fresh) = page.renew() else { return false };
        let broken = probe_load(at).is_none()
            && a.map(other.0.0, at, READ) == Some(Status::BadHandle)
            && a.map(page.0.0, at, READ) == Some(Status::BadHandle);
        let kept = fresh.map(a.own, at, true).is_ok() && load(at) == MARK;
        mapped && broken && kept && fresh.free().is_ok() && other.forget().is_ok()
    }),
    ("find what the last owner of a frame left", |a| {
        let Ok(page) = Page::alloc(a.own) else { return false };
        let at = WORK + 4 * PAGE;
        let Ok(frame) = page.name() else { return false };
        let mapped = page.map(a.own, at, true).is_ok();
        store(at + 128, MARK);
        let freed = page.free().is_ok();
        let Ok(page) = Page::alloc_at(a.own, frame) else { return false };
        let clean =
            page.map(a.own, at, false).is_ok() && (0..512).all(|word| load(at + word * 8) == 0);
        mapped && freed && clean && page.free().is_ok()
    }),
    ("ask for frames that are not free", |a| {
        let victims = a.read_only.name().unwrap_or_default();
        let entry = probe_load(exposed::directory_entry(WORK)).unwrap_or_default();
        let page_table = (entry & exposed::LEAF_FRAME) >> 12;
        [victims, page_table, 0, u64::MAX - 1, 1 << 52]
            .iter()
            .all(|&frame| one(Call::PageAlloc, a.own.0.0, frame) == Some(Status::NotFree))
    }),
    ("take all memory", |a| {
        let mut pages = Vec::with_capacity(4096);
        let stopped = loop {
            match Page::alloc(a.own) {
                Ok(page) if pages.len() < 4096 => pages.push(page),
                Ok(_) => break false,
                Err(status) => break status == Status::NoMemory,
            }
        };
        pages.iter().all(|page| page.free().is_ok()) && stopped
    }),
];
