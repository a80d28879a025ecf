//! The hardware behind safe types: boot, traps, paging, devices; and its double on the host.
//!
//! The kernel is written against the names re-exported here and against nothing else, so that the
//! same kernel code runs on bare metal (`target_os = "none"`) and in tests on Linux.
//!
//! - `bare` drives the machine: one x86-64 CPU, booted by PVH.
//! - `host` gives the same names over heap pages, scripted events and in-memory queues.
//! - What both share (numbers, checks, plain data, the virtio drivers) lies beside them.
//!
//! Rules: the kernel runs with interrupts off; they arrive as [`Event`]s while ring 3 runs or in
//! [`idle`]. Handles ([`Frame`], [`FrameRun`], [`Received`]) are linear: not `Clone`, each given
//! back exactly once. `unsafe` lives in this crate so that it need not live above it.
#![cfg_attr(target_os = "none", no_std)]

extern crate alloc;

#[cfg(any(test, target_os = "none"))]
mod calendar;
mod event;
mod frames;
pub mod limits;
mod memory;
mod owners;
mod pool;
mod short;
// Device memory is shared with the device; on the host only the tests use it.
#[allow(unsafe_code)]
#[cfg(any(test, target_os = "none"))]
mod virtio;
mod wire;

#[cfg(not(target_os = "none"))]
pub mod host;
#[cfg(not(target_os = "none"))]
use host as platform;

#[cfg(target_os = "none")]
// The hardware needs it: design.md, "Style".
#[allow(unsafe_code)]
mod bare;
#[cfg(target_os = "none")]
use bare as platform;
#[cfg(target_os = "none")]
#[doc(hidden)]
pub use bare::start;

pub use event::{Event, Fault, FaultUpcall, Link, Registers};
pub use memory::{EXPOSED_END, EXPOSED_START, FrameNumber, MapError, PAGE, ProtectError, Rights};
pub use memory::{USER_END, USER_START, UserFault};
pub use platform::{
    AddressSpace, Boot, CodeWindow, Console, Cpu, Exposed, Frame, FramePool, FrameRun, Nic, Pinned,
    Received, UserContext, exit, heap, idle, serial, stay, symbols, this_cpu, time,
};
pub use short::{Answer, Short};
pub use wire::{InFlight, NicError, TransmitId};
