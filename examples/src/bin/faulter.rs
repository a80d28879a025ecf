//! Ends by a fault, to show that it takes nothing with it.
//!
//! Reads a kernel address; with the word `privileged` among its arguments it halts the processor,
//! or tries to.
#![no_std]
#![no_main]

use libos::sys::fault;
use libos::{Environment, println};

libos::entry!(main);

fn main(environment: Environment) -> i32 {
    println!("about to do what ring 3 must not");
    if environment.arguments().split_whitespace().any(|word| word == "privileged") {
        fault::halt();
    }
    fault::read_kernel()
}
