//! The kernel over the machine's host side: every call, the packet path, the filter path, endings.
//!
//! [`harness`] boots a kernel with a small `init` and plays ring 3: it makes calls, writes into
//! environments' memory, puts frames on the wire and reads the framed channel.

extern crate sluice_kernel as kernel;

// What Clippy allows in tests it allows where it sees that they are tests: hence the attribute.
#[cfg(test)]
mod attacks;
#[cfg(test)]
mod binding;
#[cfg(test)]
mod calls;
#[cfg(test)]
mod carving;
#[cfg(test)]
mod certificates;
#[cfg(test)]
mod downloads;
#[cfg(test)]
mod endings;
#[cfg(test)]
mod fragments;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod grants;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod initiate;
#[cfg(test)]
mod maps;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod packets;
#[cfg(test)]
mod pipes;
#[cfg(test)]
mod predicates;
#[cfg(test)]
mod proving;
#[cfg(test)]
mod reservations;
#[cfg(test)]
mod revocation;
#[cfg(test)]
mod scheduling;
#[cfg(test)]
mod slices;
#[cfg(test)]
mod squatting;
#[cfg(test)]
mod transfers;
#[cfg(test)]
mod transmit;
#[cfg(test)]
mod upcalls;
