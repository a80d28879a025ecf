//! What the kernel shows, read-only, in every address space.
//!
//! Three tables at fixed addresses, written by the kernel alone (a write faults, whoever tries),
//! and the environment's own page tables as the processor walks them.
//!
//! The **system page** is refreshed at least once in each slice that begins. [`SEQUENCE`] is odd
//! while the kernel writes; ring 3 never sees it so, since the kernel is not preempted, but a
//! reader that was preempted itself sees that it has moved and reads again. All words are
//! little-endian.
//!
//! The **frame table** has one `u32` for each physical frame, by number, always current.
//!
//! The **environment table** has one row for each living environment, refreshed with the system
//! page, and when one came, was started, or went.
//!
//! The **page tables**: the leaf entry for the page at `va` is the `u64` at
//! [`leaf_entry`]`(va)`, in the processor's format, if the tables above it exist
//! ([`directory_entry`] and so on up say whether). The processor's *accessed* and *dirty* bits are
//! in it: asking whether a page is dirty costs one load.

/// Where the system page is.
pub const SYSTEM: u64 = 0x7fe0_0000_0000;
/// Where the environment table is.
pub const ENVIRONMENTS: u64 = SYSTEM + 0x1000;
/// Where the frame table is.
pub const FRAMES: u64 = SYSTEM + 0x10_0000;
/// One past all of it.
pub const END: u64 = SYSTEM + (1 << 30);

/// In the system page, `u32`: odd while it is being written.
pub const SEQUENCE: usize = 0;
/// `u32`: [`crate::VERSION`].
pub const VERSION: usize = 4;
/// `u64`: nanoseconds since boot when the kernel last wrote the page.
pub const NOW_NS: usize = 8;
/// `u64`: the time-stamp counter when the clock began.
pub const CLOCK_BASE: usize = 16;
/// `u64`: nanoseconds for each count, times 2^32: `now = (tsc - base) * scale >> 32`.
pub const CLOCK_SCALE: usize = 24;
/// `u64`: counts per second.
pub const CLOCK_HZ: usize = 32;
/// `u64`: Unix time at boot in nanoseconds, 0 without a clock.
pub const WALL_NS: usize = 40;
/// `u64` each: frames in all, free, owned, the kernel's.
pub const FRAME_BOOKS: usize = 48;
/// `u64`: entries of the frame table.
pub const FRAME_ENTRIES: usize = 80;
/// `u64`: rows of the environment table in use.
pub const ENVIRONMENT_ROWS: usize = 88;
/// `u64` each: packets received, answered, delivered, dropped in all, in flight, malformed.
pub const RECEIVE_BOOKS: usize = 96;
/// `u64` each: transmissions requested, sent, refused in all, in flight.
pub const TRANSMIT_BOOKS: usize = 144;
/// `u64` each: grants, bindings.
pub const FLOW_BOOKS: usize = 176;
/// `u64`: faults that went straight to a library OS.
pub const FAULT_UPCALLS: usize = 192;
/// `u64`: records that the framed channel could not take.
pub const RECORDS_LOST: usize = 200;
/// `u64` for each of [`crate::books::Reason::ALL`]: packets dropped.
pub const DROPPED: usize = 256;

/// Bytes of a row of the environment table.
pub const ROW_BYTES: usize = 128;
/// In a row, `u32`: the environment's number.
pub const ROW_ID: usize = 0;
/// `u32`: its state ([`crate::start::State`]).
pub const ROW_STATE: usize = 4;
/// `u32`: its creator's number, 0 for none.
pub const ROW_PARENT: usize = 8;
/// `u32`: bindings.
pub const ROW_BINDINGS: usize = 12;
/// `u64`: frames that it may hold.
pub const ROW_QUOTA: usize = 16;
/// `u64`: frames charged to it.
pub const ROW_USED: usize = 24;
/// `u64`: pages that it owns.
pub const ROW_PAGES: usize = 32;
/// `u64`: time slices that it owns.
pub const ROW_SLICES: usize = 40;
/// `u64`: slices that it has overrun.
pub const ROW_EXCESS: usize = 48;
/// Thirty-two bytes: its name, zeros behind it.
pub const ROW_NAME: usize = 64;

/// In the frame table: nobody's.
pub const FRAME_FREE: u32 = 0;
/// The kernel's (page tables, arenas, buffers), or no memory at all. Any other number is the
/// owner's.
pub const FRAME_KERNEL: u32 = 0xffff_ffff;

/// Where an environment's own page tables can be read.
pub const TABLES: u64 = 0x7f00_0000_0000;
/// One past them.
pub const TABLES_END: u64 = TABLES + (1 << 39);

/// In a leaf entry: a page is bound.
pub const LEAF_PRESENT: u64 = 1;
/// It may be written.
pub const LEAF_WRITABLE: u64 = 1 << 1;
/// It was read or written since it was bound.
pub const LEAF_ACCESSED: u64 = 1 << 5;
/// It was written since it was bound.
pub const LEAF_DIRTY: u64 = 1 << 6;
/// It cannot be executed.
pub const LEAF_NO_EXECUTE: u64 = 1 << 63;
/// The frame's address.
pub const LEAF_FRAME: u64 = 0x000f_ffff_ffff_f000;

/// Address of the leaf entry for an address of ring 3.
pub const fn leaf_entry(va: u64) -> u64 {
    TABLES + (va >> 12 << 3)
}

/// Address of the directory entry above it: present if the leaf entry can be read.
pub const fn directory_entry(va: u64) -> u64 {
    leaf_entry(leaf_entry(va))
}

/// Address of the entry above that: present if the directory entry can be read.
pub const fn pointer_entry(va: u64) -> u64 {
    leaf_entry(directory_entry(va))
}

/// Address of the root's entry, which can always be read.
pub const fn root_entry(va: u64) -> u64 {
    leaf_entry(pointer_entry(va))
}

const ROWS_BYTES: usize = crate::limits::ENVIRONMENTS_MAX * ROW_BYTES;
const _: () = assert!(ENVIRONMENTS + ROWS_BYTES as u64 <= FRAMES);
const _: () = assert!(DROPPED + crate::books::REASONS * 8 <= crate::limits::PAGE_BYTES);
const _: () = assert!(crate::limits::NAME_BYTES_MAX <= ROW_BYTES - ROW_NAME);
const _: () = assert!(TABLES_END <= SYSTEM && END <= crate::limits::USER_END);
const _: () = assert!(TABLES.is_multiple_of(1 << 39) && SYSTEM.is_multiple_of(1 << 30));

#[cfg(test)]
mod tests {
    use super::{TABLES, TABLES_END, directory_entry, leaf_entry, pointer_entry, root_entry};

    #[test]
    fn every_entry_lies_in_the_window() {
        for va in [0, 0x1000, 0x40_0000, 0x10_0000_0000, 0x7fff_ffff_e000] {
            for entry in [leaf_entry(va), directory_entry(va), pointer_entry(va), root_entry(va)] {
                assert!((TABLES..TABLES_END).contains(&entry), "{va:#x}: {entry:#x}");
            }
        }
        // The root's own entry for the window, seen through the window.
        assert_eq!(root_entry(TABLES) & 0xfff, (TABLES >> 39) * 8);
    }
}
