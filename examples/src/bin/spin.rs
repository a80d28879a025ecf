//! Runs for ever: load, for measurements of what a busy neighbour costs.
#![no_std]
#![no_main]

use libos::Environment;

libos::entry!(main);

/// Rounds between two results that nobody wants.
const STRETCH: u32 = 1 << 16;

/// Plain arithmetic, and no `pause`: an emulator leaves its fast path at each of those, and a
/// measurement among sixteen such neighbours would take minutes.
fn main(_: Environment) -> i32 {
    let mut word = 1u64;
    loop {
        for _ in 0..STRETCH {
            // Xorshift (Marsaglia, 2003), unrolled so that a block of code is worth translating.
            for _ in 0..8 {
                word ^= word << 13;
                word ^= word >> 7;
                word ^= word << 17;
            }
        }
        core::hint::black_box(word);
    }
}
