//! Limits of the host tool.
//!
//! Times are generous where a loaded machine with two cores is the judge, and short where a person
//! waits. Nothing here bounds the kernel; that is `abi::limits`.

use std::time::Duration;

/// From the start of QEMU to `init: ready`, unless `--timeout` says otherwise.
pub const BOOT: Duration = Duration::from_secs(60);
/// How much longer than Sluice a Linux guest may take to start and to measure.
pub const LINUX: Duration = Duration::from_secs(120);
/// From a control frame to its answer: `init` may have programs to load, sharing its processor with
/// sixteen others, on a host that is busy itself.
pub const CONTROL: Duration = Duration::from_secs(60);
/// From a request to its reply; slirp's first ARP may cost a second of it.
pub const REPLY: Duration = Duration::from_secs(10);
/// From a control frame to the framed record that it causes.
pub const RECORD: Duration = Duration::from_secs(30);
/// How long the wire must stay quiet before "no answer" is believed.
pub const SILENCE: Duration = Duration::from_millis(300);
/// How long a halted machine may take to go away.
pub const HALT: Duration = Duration::from_secs(30);
/// Between two looks at something that has no event to wait for.
pub const POLL: Duration = Duration::from_millis(5);

/// Requests per service in the demo's round-trip measurement.
pub const REQUESTS: usize = 200;
/// Requests per row and path of the instruction table.
pub const COUNTED_REQUESTS: usize = 11;
/// Longest life of a program that is killed in the middle of a call, in microseconds: a proof takes
/// a few milliseconds of them.
pub const CALLER_MICROS: u64 = 4_000;
/// Environments that loop beside the measured one, row by row of the instruction table.
pub const RUNNABLE: [u32; 3] = [1, 4, 16];
/// The same for the round-trip figure, on either side.
pub const LOADED: [u32; 6] = [1, 2, 4, 8, 16, 32];
/// Requests that are sent and not counted first, per measurement of the round-trip figure.
pub const WARMING: usize = 300;
/// Requests over which instructions are averaged.
pub const AVERAGED: usize = 3000;
/// Requests on their way at a time, in the second of the two averages: no ring on any side is so
/// short that one would be lost.
pub const WINDOW: usize = 8;
/// Round trips that are timed, one after the other.
pub const TIMED: usize = 200;
/// Between two looks for an answer whose time counts.
pub const GLANCE: Duration = Duration::from_micros(20);
/// `max / min` of the ASH's figures up to which the table counts as flat, in thousandths.
pub const FLAT_PER_MILLE: u64 = 1050;

/// Frames that one capture keeps; of more the latest are kept, the others counted.
pub const CAPTURE_FRAMES_MAX: usize = 200_000;
/// From asking for the books to asking again: their record may have been lost.
pub const BOOKS: Duration = Duration::from_secs(10);
/// Times that they are asked for.
pub const BOOKS_ASKED: u32 = 3;
/// Longest datagram read from the raw wire: QEMU's own network buffer.
pub const WIRE_BYTES_MAX: usize = 4096 + 65_536;
/// Records that the journal keeps; more are counted, not kept.
pub const JOURNAL_RECORDS_MAX: usize = 1_000_000;
/// Lines of the serial log shown when a machine dies.
pub const TAIL_LINES: usize = 25;

/// Default memory of the machine in MiB.
pub const MEMORY_MIB: u32 = 256;
/// Least memory in which the whole cast fits, the squatter included, in MiB.
pub const MEMORY_MIB_MIN: u32 = 96;
/// Sizes of the machines that are to be starved, in MiB.
pub const STARVED_MIB: std::ops::RangeInclusive<u32> = 1..=80;
/// And of those that are not.
pub const FED_MIB: [u32; 6] = [96, 128, 256, 512, 1024, MEMORY_MIB_MAX];
/// Reservations of a boot that fail one after the other; from there on the step is one part in
/// [`RESERVATIONS_PART`] of the number.
pub const RESERVATIONS_DENSE: u64 = 40;
/// See [`RESERVATIONS_DENSE`].
pub const RESERVATIONS_PART: u64 = 20;
/// Most memory in MiB: below the hole for devices, so that one range of RAM exists.
pub const MEMORY_MIB_MAX: u32 = 2048;

const _: () = assert!(MEMORY_MIB_MIN <= MEMORY_MIB && MEMORY_MIB <= MEMORY_MIB_MAX);
const _: () = assert!(WIRE_BYTES_MAX > abi::limits::FRAME_BYTES_MAX);
const _: () = assert!(FLAT_PER_MILLE >= 1000);
