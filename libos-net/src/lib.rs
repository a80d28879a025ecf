//! The TCP/IP library OS: smoltcp over the rings, sockets that bind their own filter.
//!
//! A socket is three things: a *filter* that says which packets are its own (an expression that is
//! lowered to eBPF, or bytes), *rings* in its own memory, and a smoltcp stack ([`Stack`]). The
//! kernel knows only the first two. [`TcpListener`], [`TcpStream`] and [`UdpSocket`] have the shape
//! of `std::net`; each call exists blocking, without waiting, and for tasks of `libos::executor`.
//! [`RawSocket`] has no stack. Ethernet headers come from the page of addresses that `netd` keeps
//! and from what senders show of themselves ([`neighbours`]).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod cached;
pub mod checksum;
mod datagram;
mod device;
pub mod dhcp;
pub mod ethernet;
pub mod explain;
pub mod filter;
pub mod frames;
pub mod http;
mod icmp;
pub mod limits;
pub mod ndp;
pub mod neighbours;
mod net;
mod packet;
mod raw;
mod stack;
mod tcp;
mod udp;
pub mod unreachable;

pub use device::{Counters, Device};
pub use filter::{FilterError, Local};
pub use icmp::{Echo, IcmpSocket};
pub use net::{Net, SocketError};
pub use raw::RawSocket;
pub use stack::Stack;
pub use tcp::{ListenOptions, Shutdown, StreamOptions, TcpError, TcpListener, TcpStream};
pub use udp::UdpSocket;
