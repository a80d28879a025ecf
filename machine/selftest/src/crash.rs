//! Ways for the kernel to die, each of which must end in a report.

use crate::checks::ring3::{CODE, Program};
use crate::raw;
use core::hint::black_box;
use machine::FramePool;

/// The image's own address space and the physical map, as `machine` lays them out.
const IMAGE: usize = 0xffff_ffff_8010_0000;
const PHYSICAL: usize = 0xffff_8000_0000_0000;

/// Dies as the command line says, if it says so.
pub(crate) fn if_asked(command_line: &str, pool: &mut FramePool) {
    let Some(way) = command_line.split(' ').find_map(|word| word.strip_prefix("crash=")) else {
        return;
    };
    let mut program = Program::new(pool, raw::NULL_CALLS, 0);
    program.enter(); // From here on its pages are mapped.
    match way {
        "panic" => panic!("asked to"),
        "null" => drop(black_box(raw::read(0x10))),
        "text" => raw::write(IMAGE),
        "alias" => raw::write(PHYSICAL + 0x10_0000),
        "execute" => drop(black_box(raw::call(PHYSICAL + 0x600_0000))),
        "stack" => drop(black_box(deeper(u64::MAX))),
        "user-read" => drop(black_box(raw::read(CODE as usize))),
        "user-execute" => drop(black_box(raw::call((CODE + raw::NULL_CALLS) as usize))),
        "nested" => log::info!("{}", Dies),
        other => panic!("no such way to die: {other}"),
    }
}

/// Panics while it is being printed.
struct Dies;

impl core::fmt::Display for Dies {
    fn fmt(&self, _: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        panic!("in the middle of a line")
    }
}

#[inline(never)]
fn deeper(depth: u64) -> u64 {
    let room = black_box([depth; 64]);
    if depth == 0 { 0 } else { deeper(depth - 1) + room[(depth % 64) as usize] }
}
