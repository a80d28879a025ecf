//! The page of addresses and neighbours that `netd` exports read-only to every stack.
//!
//! Little-endian words at fixed offsets. `SEQUENCE` is odd while `netd` writes; a reader copies
//! the page, and again if the sequence was odd or has moved.

/// `u32`, odd while being written.
pub const SEQUENCE: usize = 0;
/// Six bytes: the network card's address.
pub const MAC: usize = 8;
/// Four bytes: the IPv4 address in network order.
pub const IPV4: usize = 16;
/// `u32`: its prefix length.
pub const PREFIX: usize = 20;
/// Four bytes: the gateway's IPv4 address.
pub const GATEWAY: usize = 24;
/// `u32`: how many neighbours follow.
pub const NEIGHBOURS: usize = 28;
/// The first neighbour.
pub const NEIGHBOUR_FIRST: usize = 32;
/// Bytes of a neighbour: four of IPv4 address, six of MAC, two of nothing.
pub const NEIGHBOUR_BYTES: usize = 12;
/// Neighbours at most.
pub const NEIGHBOURS_MAX: usize = 256;

/// Sixteen bytes: our link-local IPv6 address; zero for none.
pub const LINK_LOCAL: usize = 3104;
/// Sixteen bytes: our other IPv6 address; zero for none.
pub const IPV6: usize = 3120;
/// `u32`: its prefix length.
pub const PREFIX6: usize = 3136;
/// Sixteen bytes: the router's IPv6 address.
pub const ROUTER: usize = 3144;
/// `u32`: how many IPv6 neighbours follow.
pub const NEIGHBOURS6: usize = 3160;
/// The first of them.
pub const NEIGHBOUR6_FIRST: usize = 3168;
/// Bytes of one: sixteen of IPv6 address, six of MAC, two of nothing.
pub const NEIGHBOUR6_BYTES: usize = 24;
/// IPv6 neighbours at most.
pub const NEIGHBOURS6_MAX: usize = 32;

const _: () = assert!(NEIGHBOUR_FIRST + NEIGHBOURS_MAX * NEIGHBOUR_BYTES <= LINK_LOCAL);
const _: () =
    assert!(NEIGHBOUR6_FIRST + NEIGHBOURS6_MAX * NEIGHBOUR6_BYTES <= crate::limits::PAGE_BYTES);

/// The page of errors, which `netd` exports as well: what ICMP said of packets of ours. A `u32`
/// that counts records, and then the last of them; the one with number `n` is at place `n %
/// ERRORS_MAX`.
pub const ERRORS_COUNT: usize = 0;
/// The first record.
pub const ERRORS_FIRST: usize = 64;
/// Bytes of one: family (4 or 6), protocol, ICMP type and code, our port and the other's (`u16`),
/// the next link's MTU or zero (`u32`), the other's address (16 bytes), four bytes of nothing.
pub const ERROR_BYTES: usize = 32;
/// Records that are kept.
pub const ERRORS_MAX: usize = 64;

const _: () = assert!(ERRORS_FIRST + ERRORS_MAX * ERROR_BYTES <= crate::limits::PAGE_BYTES);
