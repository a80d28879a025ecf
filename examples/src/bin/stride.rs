//! Three workers scheduled 3:2:1 by a stride scheduler of this program's own.
//!
//! The workers own no position of the vector: they run for the rest of the slices that the
//! scheduler gives them by name. Reports what each has had, in quanta and in work done.
#![no_std]
#![no_main]

extern crate alloc;

use abi::Status;
use libos::capability::report;
use libos::slice::stats;
use libos::stride::Stride;
use libos::sys::twin::{self, page_at, shared_page};
use libos::{Env, Environment, println};

libos::entry!(main);

const TICKETS: [u64; 3] = [3, 2, 1];
/// Quanta that are given out.
const QUANTA: u32 = 120;
/// Frames of a worker: the image, a stack, tables.
const FRAMES: u64 = 160;
/// From one worker's counter to the next one's.
const STEP: usize = 64;

fn main(environment: Environment) -> i32 {
    match run(&environment) {
        Ok(fair) => i32::from(!fair),
        Err(status) => {
            println!("stride: {status:?}");
            2
        }
    }
}

fn run(environment: &Environment) -> Result<bool, Status> {
    let own = environment.own()?;
    let (window, page) = shared_page(own)?;
    let mut stride = Stride::default();
    let mut workers: [Option<Env>; 3] = [None; 3];
    for (place, (slot, tickets)) in workers.iter_mut().zip(TICKETS).enumerate() {
        let address = window.address();
        let worker = twin::spawn(own, ("worker", FRAMES), work, |twin| {
            page.map(twin, address, true)?;
            Ok([address, (place * STEP) as u64, 0, 0, 0, 0])
        })?;
        stride.join(worker, tickets);
        *slot = Some(worker);
    }
    for _ in 0..QUANTA {
        stride.run()?;
    }
    let done: [u32; 3] = core::array::from_fn(|place| window.load_u32(place * STEP));
    let mut text = alloc::string::String::from("stride");
    let mut quanta = [0; 3];
    for ((worker, slot), done) in workers.iter().flatten().zip(&mut quanta).zip(done) {
        *slot = stats(*worker)?.quanta;
        text += &alloc::format!(" {slot}:{done}");
        worker.kill()?;
    }
    println!("{text}");
    report(text.as_bytes())?;
    let whole: u64 = TICKETS.iter().sum();
    Ok(quanta.iter().zip(TICKETS).all(|(had, due)| had * whole == due * u64::from(QUANTA)))
}

/// Counts for ever, each its own word.
fn work([address, offset, ..]: [u64; twin::WORDS]) {
    let page = page_at(address);
    let mut count = 0_u32;
    loop {
        count = count.wrapping_add(1);
        page.store_u32(offset as usize, count);
    }
}
