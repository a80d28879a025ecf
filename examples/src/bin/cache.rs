//! A page cache that gives pages back when it is asked, clean ones first, and goes on serving.
//!
//! It reads and changes the blocks of a small store, over and over, and knows what each must hold.
//! Asked for pages, its handler gives back what costs nothing first and writes the rest back; when
//! the request interrupts the cache itself, it is seen to right after. Pages that were taken by
//! force it finds in its repossession vector and reads again from the store.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, Ordering};

use libos::cache::{Cache, Given, Store, WORDS};
use libos::clock::{now_ns, wait};
use libos::revocation::{Kind, Vector, pending};
use libos::sys::Exclusive;
use libos::upcall::{self, Upcall};
use libos::{Environment, Status, println};

libos::entry!(main);

/// Blocks of the store; more than the cache has room for.
const BLOCKS: usize = 48;
/// The first so many of them change.
const CHANGING: usize = 12;
/// Pages of the cache.
const ROOM: usize = 32;
/// Between two rounds over all blocks.
const REST_NS: u64 = 1_000_000;

/// The store: a counter in each block's first word, a pattern in the others.
struct Disk {
    counters: [u64; BLOCKS],
    corrupt: u64,
}

struct State {
    cache: Cache,
    disk: Disk,
    vector: Vector,
    /// What the first word of each block must be.
    expected: [u64; BLOCKS],
    wrong: u64,
}

static STATE: Exclusive<Option<State>> = Exclusive::new(None);
static LATER: AtomicBool = AtomicBool::new(false);

fn pattern(block: u64, word: usize) -> u64 {
    (block << 32 | word as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Store for Disk {
    fn read(&mut self, block: u64, word: usize) -> u64 {
        match word {
            0 => self.counters.get(block as usize).copied().unwrap_or_default(),
            _ => pattern(block, word),
        }
    }

    fn write(&mut self, block: u64, word: usize, value: u64) {
        match (self.counters.get_mut(block as usize), word) {
            (Some(counter), 0) => *counter = value,
            _ => self.corrupt += u64::from(value != pattern(block, word)),
        }
    }
}

impl State {
    /// Does what is asked for, and sees what was taken.
    fn attend(&mut self) {
        let mut wanted = 0;
        pending(|it| wanted += if it.kind == Kind::Pages as u64 { it.left as usize } else { 0 });
        if wanted > 0 {
            let Given { clean, dirty } = self.cache.give_back(&mut self.disk, wanted);
            println!("gave back {clean} clean and {dirty} dirty, {} left", self.cache.pages());
        }
        let mut taken = 0;
        while let Some(entry) = self.vector.take() {
            taken += u64::from(self.cache.taken(entry.address));
        }
        if taken > 0 {
            println!("lost {taken} by force, {} left", self.cache.pages());
        }
    }

    /// Reads every block and changes some; whether it could.
    fn serve(&mut self, round: usize) -> Result<(), Status> {
        for block in 0..BLOCKS {
            let word = 1 + (round * 13 + block) % (WORDS - 1);
            let number = block as u64;
            let read = self.cache.read(&mut self.disk, (number, word))?;
            let counter = self.cache.read(&mut self.disk, (number, 0))?;
            if LATER.load(Ordering::Relaxed) {
                // What was just read may have gone while it was read.
                return Ok(());
            }
            self.wrong += u64::from(read != pattern(number, word));
            let expected = &mut self.expected[block];
            if counter != *expected {
                // Only a dirty page that was taken may set a block back.
                self.wrong += u64::from(self.cache.lost == 0 || counter > *expected);
                *expected = counter;
            }
            if block < CHANGING && (block + round).is_multiple_of(4) {
                self.cache.write(&mut self.disk, (number, 0), counter + 1)?;
                *expected += 1;
            }
        }
        Ok(())
    }
}

/// Between any two instructions: now, or as soon as the cache is not in the middle of something.
fn attend(_: &mut Upcall) {
    let done = STATE.with(|state| state.as_mut().map(State::attend));
    LATER.store(done.is_none(), Ordering::Relaxed);
}

/// A page that was taken while it was being read.
fn fault(fault: &mut Upcall) {
    if !fault.skip_probe() {
        upcall::unresolved(fault);
    }
}

fn main(environment: Environment) -> i32 {
    match prepare(&environment) {
        Ok(()) => {}
        Err(status) => {
            println!("{status:?}");
            return 1;
        }
    }
    println!("cache: serving {BLOCKS} blocks from {ROOM} pages");
    let mut round = 0;
    loop {
        let served = STATE.with(|state| state.as_mut().map(|state| state.serve(round)));
        if let Some(Some(Err(status))) = served {
            println!("round {round}: {status:?}");
            return 2;
        }
        if LATER.swap(false, Ordering::Relaxed) {
            STATE.with(|state| state.as_mut().map(State::attend));
            // The round that was broken off is served again.
            continue;
        }
        round += 1;
        if round.is_multiple_of(64) {
            STATE.with(|state| state.as_ref().map(report));
        }
        wait(now_ns() + REST_NS);
    }
}

fn report(state: &State) {
    let State { cache, disk, wrong, .. } = state;
    let wrong = wrong + disk.corrupt;
    println!("served on: {} pages, {wrong} wrong, {} lost", cache.pages(), cache.lost);
}

fn prepare(environment: &Environment) -> Result<(), Status> {
    let own = environment.own()?;
    upcall::on_fault(fault)?;
    let vector = Vector::new(own)?;
    let disk = Disk { counters: [0; BLOCKS], corrupt: 0 };
    let cache = Cache::new(own, ROOM);
    let state = State { cache, disk, vector, expected: [0; BLOCKS], wrong: 0 };
    STATE.with(|place| *place = Some(state));
    upcall::on(upcall::Kind::Revoke, attend)?;
    upcall::on(upcall::Kind::Repossess, attend)
}
