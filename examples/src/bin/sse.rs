//! Computes in vector registers while others do the same: preemption must keep them.
//!
//! Exits with 0 if every sum is right, with 1 at the first wrong one. Run two.
#![no_std]
#![no_main]

use libos::sys::{expected_sum, vector_sum};
use libos::{Environment, println};

libos::entry!(main);

/// Long enough to be preempted several times in each run.
const ROUNDS: u64 = 2_000_000;
const RUNS: u64 = 16;

fn main(environment: Environment) -> i32 {
    // Different numbers in each instance: the name is what tells them apart.
    let seed = environment.name().bytes().fold(17u64, |seed, byte| {
        seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(u64::from(byte))
    });
    for run in 0..RUNS {
        let step = seed.rotate_left(run as u32) | 1;
        let (is, should) = (vector_sum(seed, step, ROUNDS), expected_sum(seed, step, ROUNDS));
        if is != should {
            println!("vector registers lost in run {run}");
            return 1;
        }
    }
    println!("vector registers kept over {RUNS} runs");
    0
}
