//! What the services of the examples know: protocols, without sockets or a kernel; and how a
//! service begins ([`service`]).
//!
//! Each protocol makes answers of questions, bytes of bytes, and the entries of the maps with which
//! a handler answers the common case in the kernel. The programs in `bin/` put them between a
//! socket and the maps; tests on the host put them beside the handlers.
#![no_std]

extern crate alloc;

pub mod dns;
pub mod memcached;
pub mod ntp;
pub mod service;
