//! Refuses to give anything back, in every way there is, and lives with what that costs.
//!
//! Its first request it ignores; in the second one's handler it faults; in the third one's it loops
//! until pages are taken from it; the fourth one's gives pages back and takes others at once. Then
//! it begins again. Each time it finds in its repossession vector what is gone, mends what it can
//! with fresh pages, checks that everything else is as it was, and says so.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering};

use libos::clock::{now_ns, wait};
use libos::revocation::{VITAL_MAX, Vector, pending, vital};
use libos::sys::paged;
use libos::upcall::{self, Upcall};
use libos::{Env, Environment, Handle, Page, Rights, Status, layout, println};

libos::entry!(main);

/// Pages that may be taken.
const PAGES: usize = 24;
/// Pages of its own that must not be, allocated last: where force would begin.
const VITAL: usize = 6;
/// An address of the kernel's.
const KERNEL: u64 = 0xffff_8000_0000_0000;
/// Between two looks.
const REST_NS: u64 = 2_000_000;

/// Capabilities to the pages; 0 where there is none.
static HELD: [AtomicU64; PAGES] = [const { AtomicU64::new(0) }; PAGES];
static OWN: AtomicU64 = AtomicU64::new(0);
static ASKED: AtomicU64 = AtomicU64::new(0);
static TAKEN: AtomicU64 = AtomicU64::new(0);
static REGAINED: AtomicU64 = AtomicU64::new(0);

fn address(place: usize) -> u64 {
    layout::PAGED + (place * 4096) as u64
}

/// What stands in the page at a place.
fn pattern(place: usize) -> u64 {
    (place as u64 + 1) * 0x0101_0101_0101
}

fn asked(_: &mut Upcall) {
    let before = TAKEN.load(Ordering::Relaxed);
    match ASKED.fetch_add(1, Ordering::Relaxed) % 4 {
        0 => {}
        1 => {
            paged::probe_load(KERNEL);
        }
        2 => while TAKEN.load(Ordering::Relaxed) == before {},
        _ => exchange(),
    }
}

/// Gives back what is asked for and takes as much again.
fn exchange() {
    let mut wanted = 0;
    pending(|it| wanted += it.left as usize);
    let held = HELD.iter().enumerate().filter(|(_, it)| it.load(Ordering::Relaxed) != 0);
    for (place, it) in held.take(wanted) {
        let page = Page(Handle(it.swap(0, Ordering::Relaxed)));
        if page.free().is_ok() && fill(place).is_ok() {
            REGAINED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn taken(_: &mut Upcall) {
    TAKEN.fetch_add(1, Ordering::Relaxed);
}

fn fault(fault: &mut Upcall) {
    if !fault.skip_probe() {
        upcall::unresolved(fault);
    }
}

/// A fresh page at a place, with what belongs there.
fn fill(place: usize) -> Result<(), Status> {
    let own = Env(Handle(OWN.load(Ordering::Relaxed)));
    let page = Page::alloc(own)?;
    if let Err(status) = paged::map(own, page, address(place), Rights::READ | Rights::WRITE) {
        // The refusal to map it is the one to report.
        let _ = page.free();
        return Err(status);
    }
    (0..512).for_each(|word| paged::store(address(place) + word * 8, pattern(place)));
    if let Some(held) = HELD.get(place) {
        held.store(page.0.0, Ordering::Relaxed);
    }
    Ok(())
}

/// Places whose page is there, and words in them that are not what they were.
fn check() -> (usize, usize) {
    let held = HELD.iter().enumerate().filter(|(_, it)| it.load(Ordering::Relaxed) != 0);
    held.fold((0, 0), |(pages, wrong), (place, _)| {
        let bad = |&word: &u64| paged::load(address(place) + word * 8) != pattern(place);
        (pages + 1, wrong + (0..512).filter(bad).count())
    })
}

/// Finds out what is gone and mends it as far as there is memory: taken, mended.
fn mend(vector: &mut Vector) -> (usize, usize) {
    let (mut gone, mut mended) = (0, 0);
    while let Some(entry) = vector.take() {
        let place = (entry.address.wrapping_sub(layout::PAGED) / 4096) as usize;
        let Some(held) = HELD.get(place) else { continue };
        held.store(0, Ordering::Relaxed);
        gone += 1;
        mended += usize::from(fill(place).is_ok());
    }
    (gone, mended)
}

fn main(environment: Environment) -> i32 {
    match prepare(&environment) {
        Ok(vector) => live(vector),
        Err(status) => {
            println!("{status:?}");
            1
        }
    }
}

fn live(mut vector: Vector) -> i32 {
    println!("stubborn: {PAGES} pages, {VITAL} of them vital besides");
    let mut said = (0, 0);
    loop {
        wait(now_ns() + REST_NS);
        let seen = (ASKED.load(Ordering::Relaxed), TAKEN.load(Ordering::Relaxed));
        if seen == said {
            continue;
        }
        said = seen;
        let (gone, mended) = mend(&mut vector);
        let (held, wrong) = check();
        let regained = REGAINED.swap(0, Ordering::Relaxed);
        println!(
            "after request {}: {gone} taken, {mended} mended, {regained} regained, \
             {held} held, {wrong} wrong",
            seen.0
        );
    }
}

fn prepare(environment: &Environment) -> Result<Vector, Status> {
    let own = environment.own()?;
    OWN.store(own.0.0, Ordering::Relaxed);
    upcall::on_fault(fault)?;
    let vector = Vector::new(own)?;
    upcall::on(upcall::Kind::Revoke, asked)?;
    upcall::on(upcall::Kind::Repossess, taken)?;
    (0..PAGES).try_for_each(fill)?;
    let (_, pages) = libos::sys::new_window(own, VITAL)?;
    vital(&pages)?;
    Ok(vector)
}

const _: () = assert!(VITAL <= VITAL_MAX);
