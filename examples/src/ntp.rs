//! NTP version 4, the server's half (RFC 5905), for a clock that nobody disciplines.
//!
//! [`Time`] is what the handler (`ash/ntp.c`) knows: how far its monotonic clock is from the date,
//! and what is to be said of it. [`answer`] says the same as the handler, for the library OS.

use alloc::vec::Vec;

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Seconds from 1900 to 1970.
const EPOCH: u64 = 2_208_988_800;
const NANOS: u64 = 1_000_000_000;
/// Bytes of a packet without extensions.
pub const PACKET_BYTES: usize = 48;
const CLIENT: u8 = 3;
const SERVER: u8 = 4;

/// The handler's map, entry 0: `struct time` of `ash/ntp.c`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Time {
    /// Nanoseconds since 1900 at boot.
    pub boot_ns: u64,
    /// When the clock was last set, as an NTP timestamp, in network byte order.
    pub reference: [u8; 8],
    /// Leap indicator: 0, or 3 for a clock that is not synchronised.
    pub leap: u8,
    /// 1 to 15, or 0 for a clock that is not synchronised.
    pub stratum: u8,
    /// The clock's precision as a power of two of seconds.
    pub precision: i8,
    zero: u8,
    /// Root delay and dispersion in seconds and 2^-16 of them, in network byte order.
    pub root: [[u8; 4]; 2],
    /// Four letters, or an address.
    pub id: [u8; 4],
}

impl Time {
    /// Of a clock that says it was this late, in nanoseconds since 1970, when the machine booted;
    /// `None` for a clock that nobody has set.
    #[must_use]
    pub fn new(unix_boot_ns: Option<u64>) -> Time {
        let precision = -20;
        let Some(unix) = unix_boot_ns else {
            return Time { leap: 3, precision, ..Time::default() };
        };
        let boot_ns = unix.saturating_add(EPOCH * NANOS);
        // The clock of the board is right to a second; a server of its own that nobody disciplines
        // has stratum 10, as everywhere.
        let dispersion = 0x0001_0000_u32.to_be_bytes();
        Time {
            boot_ns,
            reference: timestamp(boot_ns),
            leap: 0,
            stratum: 10,
            precision,
            zero: 0,
            root: [[0; 4], dispersion],
            id: *b"LOCL",
        }
    }
}

/// Nanoseconds since 1900 as an NTP timestamp: seconds, and 2^-32 of them.
fn timestamp(ns: u64) -> [u8; 8] {
    let fraction = ((ns % NANOS) << 32) / NANOS;
    (((ns / NANOS) << 32) | fraction).to_be_bytes()
}

/// The answer to a packet that came when the monotonic clock said `now_ns`; `None` to what is no
/// client's question.
#[must_use]
pub fn answer(time: &Time, packet: &[u8], now_ns: u64) -> Option<Vec<u8>> {
    let asked = packet.first_chunk::<PACKET_BYTES>()?;
    let version = asked[0] >> 3 & 7;
    if asked[0] & 7 != CLIENT || !(1..=4).contains(&version) {
        return None;
    }
    let now = timestamp(time.boot_ns.saturating_add(now_ns));
    let first = time.leap << 6 | version << 3 | SERVER;
    let mut told = alloc::vec![first, time.stratum, asked[2], time.precision.cast_unsigned()];
    told.extend(time.root.as_flattened());
    told.extend(time.id);
    told.extend(time.reference);
    // The client's own transmission comes back as the originate timestamp.
    told.extend(&asked[40..48]);
    told.extend(now);
    told.extend(now);
    Some(told)
}
