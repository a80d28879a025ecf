//! Where the regions of a run lie.
//!
//! Addresses are synthetic, and always the same ones unless a caller asks for others: a program
//! that keeps pointers and numbers apart does the same wherever its memory lies, so a run elsewhere
//! with another end shows a pointer that became a number. Whatever the layout, the regions stand
//! far apart, those of the packet fit 32 bits, and each region begins at a multiple of eight.

use crate::limits::{
    CALL_DEPTH, DATA_BYTES, MAP_ENTRIES_MAX, MAP_VALUE_BYTES_MAX, MAPS_MAX, STACK_BYTES,
};

/// Address of the context.
pub const CONTEXT_BASE: u32 = 0x1000_0000;
/// Address of the outermost stack frame's lowest byte.
pub const STACK_BASE: u32 = 0x2000_0000;
/// Distance between two stack frames: more than a frame, so that running off one is seen.
pub const STACK_STRIDE: u32 = 0x1_0000;
/// Address of the packet or the buffer as it was at the start.
pub const DATA_BASE: u32 = 0x4000_0000;
/// Address of the first map; the others follow at [`MAP_STRIDE`]. Nothing can be read there.
pub const MAP_BASE: u64 = 1 << 40;
/// Distance between two maps.
pub const MAP_STRIDE: u64 = 1 << 16;
/// Address of the first value of the first map.
pub const VALUE_BASE: u64 = 1 << 48;
/// Distance between two values of a map, larger than any value and the reach of an offset.
pub const VALUE_STRIDE: u64 = 1 << 17;
/// Distance between the first values of two maps.
pub const VALUES_STRIDE: u64 = 1 << 40;

const _: () = assert!(STACK_STRIDE as usize > STACK_BYTES + (1 << 15));
const _: () = assert!(STACK_BASE as usize + CALL_DEPTH * (STACK_STRIDE as usize) < 0x3000_0000);
const _: () = assert!(DATA_BASE as usize + DATA_BYTES <= u32::MAX as usize);
const _: () = assert!(VALUE_STRIDE as usize >= MAP_VALUE_BYTES_MAX + (1 << 16));
const _: () = assert!(VALUES_STRIDE as usize / VALUE_STRIDE as usize > MAP_ENTRIES_MAX);
const _: () = assert!(MAP_BASE as usize + MAPS_MAX * (MAP_STRIDE as usize) < VALUE_BASE as usize);

/// Addresses of a run's regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub(super) context: u64,
    pub(super) stack: u64,
    pub(super) data: u64,
    pub(super) maps: u64,
    pub(super) values: u64,
}

impl Layout {
    /// The one of the constants in this module.
    pub const USUAL: Self = Self {
        context: CONTEXT_BASE as u64,
        stack: STACK_BASE as u64,
        data: DATA_BASE as u64,
        maps: MAP_BASE,
        values: VALUE_BASE,
    };

    /// Two others. Among the three each bit above the lowest three of where a region begins has
    /// both values, and most pairs of regions both orders.
    pub const ELSEWHERE: [Self; 2] = [
        Self {
            context: 0xaaaa_aaaa_aaaa_aaa8,
            stack: 0xa555_5555_5555_5550,
            data: 0x2aaa_aaa8,
            maps: 0x2aaa_aaaa_aaaa_aaa8,
            values: 0x1555_5555_5555_5550,
        },
        Self {
            context: 0x5555_5555_5555_5550,
            stack: 0x5aaa_aaaa_aaaa_aaa8,
            data: 0x9555_5550,
            maps: 0xd555_5555_5555_5550,
            values: 0xeaaa_aaaa_aaaa_aaa8,
        },
    ];

    /// Whether one value here and one in another layout are the same place of some region: a
    /// pointer of two runs that differ in nothing else.
    #[must_use]
    pub fn moves(&self, here: u64, other: &Self, there: u64) -> bool {
        let by = there.wrapping_sub(here);
        self.bases().into_iter().zip(other.bases()).any(|(from, to)| by == to.wrapping_sub(from))
    }

    const fn bases(&self) -> [u64; 5] {
        let Self { context, stack, data, maps, values } = *self;
        [context, stack, data, maps, values]
    }

    /// Whether regions of the greatest size neither meet nor wrap.
    const fn stands_apart(&self) -> bool {
        let regions = [
            (self.context, STACK_STRIDE as u64),
            (self.stack, (CALL_DEPTH as u64 + 1) * STACK_STRIDE as u64),
            (self.data, DATA_BYTES as u64),
            (self.maps, MAPS_MAX as u64 * MAP_STRIDE),
            (self.values, MAPS_MAX as u64 * VALUES_STRIDE),
        ];
        let mut at = 0;
        while at < regions.len() {
            let (start, bytes) = regions[at];
            // Offsets reach 2^15 bytes beyond, in both directions.
            if start < 1 << 16 || start.checked_add(bytes + (1 << 16)).is_none() {
                return false;
            }
            let mut other = 0;
            while other < regions.len() {
                let (base, _) = regions[other];
                if other != at && base >= start && base - start < bytes + (1 << 16) {
                    return false;
                }
                other += 1;
            }
            at += 1;
        }
        self.data + DATA_BYTES as u64 <= u32::MAX as u64
    }
}

const _: () = assert!(Layout::USUAL.stands_apart());
const _: () = assert!(Layout::ELSEWHERE[0].stands_apart() && Layout::ELSEWHERE[1].stands_apart());
