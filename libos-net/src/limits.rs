//! Every limit of the stacks, with the relations between them.

/// Packets that one round takes from the rings before it sends: a flood does not keep the stack
/// from its timers.
pub(crate) const INGRESS_ROUND: usize = 128;
/// Times that one round lets every socket send a packet.
pub(crate) const EGRESS_ROUNDS: usize = 64;
/// Connections of one listener that have not finished their handshake; the oldest makes room.
pub const HALF_OPEN_MAX: usize = 64;
/// Connections of one listener that nobody has accepted; further ones are reset.
pub const BACKLOG_MAX: usize = 64;
/// Connections that are closed on our side and wait for the other, or for stray packets; beyond
/// that the oldest is forgotten.
pub const ENDING_MAX: usize = 64;
/// How long a handshake may take.
pub(crate) const HANDSHAKE_NS: u64 = 10_000_000_000;
/// How long a connection that we closed waits for the other side.
pub(crate) const ENDING_NS: u64 = 30_000_000_000;
/// Bytes that a TCP socket buffers in each direction unless it says otherwise.
pub const STREAM_BYTES: usize = 64 * 1024;
/// Least and most bytes of such a buffer.
pub const STREAM_BYTES_RANGE: core::ops::RangeInclusive<usize> = 1024..=4 * 1024 * 1024;
/// ICMP errors kept until somebody asks; the oldest makes room.
pub(crate) const REPORTED_MAX: usize = 16;
/// Freed TCP sockets kept with their buffers.
pub(crate) const SPARE_MAX: usize = 16;

const _: () = assert!(HALF_OPEN_MAX > 0 && BACKLOG_MAX > 0 && ENDING_MAX > 0);
const _: () = assert!(EGRESS_ROUNDS > 0 && INGRESS_ROUND > 0);
