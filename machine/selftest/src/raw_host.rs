//! Stand-ins, so that the checks compile for the host too, where they never run.
#![allow(missing_docs)]

pub(crate) const CALLS: u64 = 0;
pub(crate) const VECTORS: u64 = 0x100;
pub(crate) const FAULTS: u64 = 0x200;
pub(crate) const FLAGS: u64 = 0x300;
pub(crate) const NO_STACK: u64 = 0x400;
pub(crate) const NULL_CALLS: u64 = 0x500;

pub(crate) fn programs() -> &'static [u8; 4096] {
    &[0; 4096]
}

pub(crate) fn call(_: usize) -> u32 {
    0
}

pub(crate) fn read(_: usize) -> u8 {
    0
}

pub(crate) fn write(_: usize) {}
