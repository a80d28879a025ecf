//! The TCP/IP library OS: smoltcp over the rings, sockets that bind their own filter.
//!
//! A socket is three things: a *filter* that says which packets are its own (an expression that is
//! lowered to eBPF, or bytes), *rings* in its own memory, and for [`UdpSocket`] a smoltcp stack.
//! The kernel knows only the first two. Ethernet headers come from the page of addresses that
//! `netd` keeps and from what senders show of themselves ([`neighbours`]).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod checksum;
mod device;
pub mod ethernet;
pub mod explain;
pub mod filter;
pub mod frames;
pub mod neighbours;
mod net;
mod raw;
mod udp;

pub use device::{Counters, Device};
pub use filter::FilterError;
pub use net::{Net, SocketError};
pub use raw::RawSocket;
pub use udp::{Endpoint, UdpSocket};
