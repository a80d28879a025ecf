//! Allocates until nothing is left: its quota ends it, and nobody else notices.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;

use libos::{Environment, println};

libos::entry!(main);

/// Bytes of one block.
const BLOCK: usize = 64 * 1024;

fn main(_: Environment) -> i32 {
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    loop {
        // The allocation that fails panics, and the panic handler ends the program with 101.
        blocks.push(alloc::vec![0x5a; BLOCK]);
        if blocks.len().is_power_of_two() {
            println!("holds {} KiB", blocks.len() * BLOCK / 1024);
        }
    }
}
