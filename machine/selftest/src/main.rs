//! A kernel that only tests the machine it runs on.
//!
//! `machine/tests/boot.rs` boots it in QEMU. Each check panics when something is wrong, which ends
//! in a report and status 0xff; the end of the list is [`PASSED`]. Words on the command line choose
//! what comes after the list: `echo` answers frames, `crash=...` dies in a particular way.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod checks;
mod crash;
mod echo;
#[cfg(target_os = "none")]
// Hand-assembled ring-3 programs, and deaths of the kernel: nothing safe does those.
#[allow(unsafe_code)]
mod raw;
#[cfg(not(target_os = "none"))]
mod raw_host;
#[cfg(not(target_os = "none"))]
use raw_host as raw;

use machine::Boot;

machine::entry!(run);

/// What `exit` is told at the end of the list: QEMU's status is 65.
const PASSED: u8 = 0x20;

fn run(mut boot: Boot) -> ! {
    log::set_max_level(log::LevelFilter::Info);
    let free = boot.frames.free();
    checks::boot::facts(&boot);
    checks::ring3::system_calls(&mut boot.frames);
    checks::ring3::short_calls(&mut boot.frames);
    checks::ring3::addresses_that_are_not(&mut boot.frames);
    checks::ring3::faults(&mut boot.frames);
    checks::ring3::tricks_with_flags(&mut boot.frames);
    checks::ring3::preemption(&mut boot.frames);
    checks::memory::mapping(&mut boot.frames);
    checks::memory::copies(&mut boot.frames);
    checks::memory::arenas(&mut boot.frames);
    checks::memory::code(&mut boot.code);
    checks::boot::idling();
    assert_eq!(boot.frames.free(), free, "frames were lost");
    log::info!("checks done");
    crash::if_asked(boot.command_line, &mut boot.frames);
    if boot.command_line.split(' ').any(|word| word == "echo") {
        echo::serve(boot);
    }
    machine::exit(PASSED)
}
