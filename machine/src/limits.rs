//! Every limit of the machine, in one place.
//!
//! Relations between limits are asserted at compile time, next to the limit that needs them.

use crate::memory::PAGE;

/// Bytes before a received frame that belong to its buffer: XDP's headroom, into which a program
/// may move the frame's start, and room for the virtio header before that.
pub const HEADROOM: usize = runtime::packet::HEADROOM + 16;

/// Bytes of one receive buffer, headroom included.
pub const BUFFER: usize = 2048;

/// The longest frame, in bytes, that the card can hand to the kernel.
///
/// Longer than any frame the kernel accepts, so that an over-long one is seen and counted.
pub const FRAME_MAX: usize = BUFFER - HEADROOM;

/// Bytes of the header that virtio-net puts before each frame (virtio 1.2, 5.1.6).
pub const NET_HEADER: usize = 12;

/// Receive buffers in the kernel's pool.
pub const BUFFERS: usize = 384;

/// Descriptors in each of the card's queues.
pub const NIC_QUEUE: usize = 256;

/// New receive buffers that the card is told of together.
pub const NEWS: u16 = 32;

/// The card is told of new receive buffers whatever it says when it may have fewer left.
pub const LOW: i16 = 64;

/// Places that are free in the receive queue before they are filled from what is spare.
pub const REFILL: usize = 64;

/// Replies with the card before those that it has sent are collected.
pub const REAP: usize = 64;

/// Bytes of frame header that one transmission copies.
pub const TRANSMIT_HEADER_MAX: usize = 256;

/// Transmissions (other than replies) that the card may hold at once.
pub const TRANSMIT_SLOTS: usize = 64;

/// Bytes of one transmission's own memory: virtio header and copied frame header.
pub const TRANSMIT_SLOT: usize = 512;

/// Bytes of one console record slot: the most that a single descriptor carries.
pub const CONSOLE_SLOT: usize = PAGE;

/// Console slots, and descriptors in its queue.
pub const CONSOLE_SLOTS: usize = 32;

/// Smallest kernel heap, in bytes.
pub const HEAP_MIN: usize = 2 << 20;

/// Largest kernel heap, in bytes.
pub const HEAP_MAX: usize = 64 << 20;

/// The kernel heap's share of memory: one part in so many.
pub const HEAP_SHARE: usize = 8;

/// Arenas alive at once.
pub const ARENAS: usize = 64 + ARENAS_FOR_MAPS;

/// Of those, arenas that stay: one for each map.
pub const ARENAS_FOR_MAPS: usize = 1024;

/// Bytes of the window that generated code lives in.
pub const CODE_WINDOW: usize = 4 << 20;

/// Longest kernel command line, in bytes; what is longer is cut and said so on the serial line.
pub const COMMAND_LINE_MAX: usize = 2048;

/// Frames of a backtrace that are printed.
pub const BACKTRACE_MAX: usize = 24;

const _: () = assert!(FRAME_MAX > 1522, "the longest legal frame must fit, and one byte more");
const _: () = assert!(
    NET_HEADER <= HEADROOM - runtime::packet::HEADROOM,
    "the virtio header lies in the headroom, also when a program moved the frame all the way down"
);
const _: () = assert!(NET_HEADER + TRANSMIT_HEADER_MAX <= TRANSMIT_SLOT);
const _: () = assert!(PAGE.is_multiple_of(BUFFER), "a buffer must not cross a page");
const _: () = assert!(BUFFERS >= NIC_QUEUE, "the receive queue must be fillable");
// A card without a buffer waits to be told. Then none is in the receive queue, and those that are
// in no reply are spare or will be: they fill so many places that it is told.
const _: () = assert!(BUFFERS - NIC_QUEUE >= REFILL && REFILL >= NEWS as usize);
const _: () = assert!(REAP <= NIC_QUEUE - REFILL && LOW as usize <= NIC_QUEUE / 2);
const _: () = assert!(NIC_QUEUE.is_power_of_two() && CONSOLE_SLOTS.is_power_of_two());
const _: () = assert!(HEAP_MIN <= HEAP_MAX);
const _: () = assert!(CODE_WINDOW.is_multiple_of(2 << 20), "the window is made of whole tables");
