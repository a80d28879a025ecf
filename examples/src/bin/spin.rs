//! Runs for ever: load, for measurements of what a busy neighbour costs.
#![no_std]
#![no_main]

use libos::Environment;

libos::entry!(main);

fn main(_: Environment) -> i32 {
    loop {
        core::hint::spin_loop();
    }
}
