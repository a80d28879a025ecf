//! One x86-64 processor, bare: booted by PVH, on QEMU's `q35` or `microvm`.
//!
//! [`start`] is the order in which things come up. Each file below is one of them; `unsafe` stands
//! next to the argument for it, and nothing unsafe is visible from outside.

mod apic;
mod cell;
mod code;
mod cpu;
mod entropy;
mod entry;
mod exposed;
mod fault;
mod frame;
mod hal;
pub mod heap;
mod idle;
mod layout;
mod mmio;
mod nic;
mod paging;
mod pci;
mod port;
mod pvh;
mod rtc;
pub mod serial;
mod space;
mod stack;
mod start;
pub mod symbols;
mod syscall;
pub mod time;
mod transfer;
mod transport;
mod trap;
mod user;
mod vector;
mod walk;
mod yields;

pub use code::CodeWindow;
pub use cpu::{Cpu, this_cpu};
pub use exposed::Exposed;
pub use fault::exit;
pub use frame::{Frame, FramePool, FrameRun, Pinned};
pub use idle::idle;
pub use nic::{Console, Nic, Received};
pub use space::AddressSpace;
pub use start::{Boot, start};
pub use syscall::stay;
pub use user::UserContext;
