//! The machine's double on Linux: heap pages, scripted events, in-memory queues, a settable clock.
//!
//! It makes the same checks as bare metal, so that a kernel that passes here was not flattered:
//! frames come filled with rubbish, page tables cost frames, a frame that is still mapped cannot be
//! given back. What drives it is per thread, so tests run side by side:
//!
//! - [`script`] says what ring 3 does at each [`UserContext::enter`];
//! - [`Wire`] is the far side of the network card, [`Nic::wire`] fetches it;
//! - [`set_clock`] and [`advance`] move time, and so does [`idle`] when nothing else is to come;
//! - [`exit`] and the end of the script unwind with [`Exited`] and [`ScriptEnded`]: see [`run`].

mod boot;
mod devices;
mod exposed;
pub mod heap;
mod memory;
mod script;
mod space;
pub mod time;
mod transfer;

pub use boot::{Boot, CodeWindow, Cpu, serial, symbols, this_cpu};
pub use devices::{Console, Nic, Received, Wire};
pub use exposed::Exposed;
pub use memory::{Frame, FramePool, FrameRun, Pinned};
pub use script::{
    Exited, Outcome, ScriptEnded, Turn, UserContext, exit, idle, raise_nic, run, script, stay,
};
pub use space::AddressSpace;
pub use time::{advance, set_clock};

/// Defines the program's entry. On the host there is nothing to boot: the program says so.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[allow(dead_code)]
        const MAIN: fn($crate::Boot) -> ! = $main;
        fn main() {
            eprintln!("this is the kernel: build it for x86_64-unknown-none and boot it");
            std::process::exit(1);
        }
    };
}
