//! The kernel over the machine's host side: every call, the packet path, the filter path, endings.
//!
//! [`harness`] boots a kernel with a small `init` and plays ring 3: it makes calls, writes into
//! environments' memory, puts frames on the wire and reads the framed channel.

extern crate sluice_kernel as kernel;

mod binding;
mod calls;
mod endings;
mod fuzz;
mod grants;
mod harness;
mod packets;
mod reservations;
mod scheduling;
mod transmit;
