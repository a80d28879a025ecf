//! Ways for the kernel to die, each of which must end in a report.

use crate::raw;
use core::hint::black_box;

/// The image's own address space and the physical map, as `machine` lays them out.
const IMAGE: usize = 0xffff_ffff_8010_0000;
const PHYSICAL: usize = 0xffff_8000_0000_0000;

/// Dies as the command line says, if it says so.
pub(crate) fn if_asked(command_line: &str) {
    let Some(way) = command_line.split(' ').find_map(|word| word.strip_prefix("crash=")) else {
        return;
    };
    match way {
        "panic" => panic!("asked to"),
        "null" => drop(black_box(raw::read(0x10))),
        "text" => raw::write(IMAGE),
        "alias" => raw::write(PHYSICAL + 0x10_0000),
        "execute" => drop(black_box(raw::call(PHYSICAL + 0x20_0000))),
        "stack" => drop(black_box(deeper(u64::MAX))),
        "user" => drop(black_box(raw::read(0x40_0000))),
        other => panic!("no such way to die: {other}"),
    }
}

#[inline(never)]
fn deeper(depth: u64) -> u64 {
    let room = black_box([depth; 64]);
    if depth == 0 { 0 } else { deeper(depth - 1) + room[(depth % 64) as usize] }
}
