//! The whole system: the kernel in QEMU, driven with real frames.
//!
//! Each file boots as few machines as it can. Times are never judged, only counts and outcomes.

#[cfg(test)]
mod addresses;
#[cfg(test)]
mod attacks;
#[cfg(test)]
mod boots;
#[cfg(test)]
mod counting;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod downloads;
#[cfg(test)]
mod guarded;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod maps;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod papers;
#[cfg(test)]
mod parts;
#[cfg(test)]
mod residents;
#[cfg(test)]
mod revocation;
#[cfg(test)]
mod services;
#[cfg(test)]
mod time;
#[cfg(test)]
mod web;
