//! The checks, by what they check.

pub(crate) mod boot;
pub(crate) mod memory;
pub(crate) mod ring3;
