//! Where a byte stands in a frame.
//!
//! A [`Cell`] is one byte. Its address is a constant ([`Base::Frame`]), or depends on a header
//! length that the frame itself holds ([`Base::Header`]): bytes behind an IPv4 header move with
//! its IHL. Wider fields are several cells, so misaligned and overlapping loads need no case of
//! their own.
//!
//! A test on a cell holds only for frames in which the cell *exists*: its address, and for a header
//! base also the byte that holds the header's length, lies inside the frame.

use crate::limits::FRAME_MAX;

/// What a cell's offset counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Base {
    /// The first byte of the frame.
    Frame,
    /// The end of a header of variable length.
    Header(HeaderBase),
}

/// A place that depends on one byte of the frame: `add + ((frame[at] & mask) << shift)`, or `>>`.
///
/// The byte at `at` is called the base's *guard*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderBase {
    /// Offset of the guard from the start of the frame, bytes.
    pub at: u16,
    /// Bits of the guard that hold the length.
    pub mask: u8,
    /// Shift from the guard's units to bytes: to the left, or if it is negative to the right.
    pub shift: i8,
    /// Constant part, bytes.
    pub add: u16,
}

impl HeaderBase {
    /// The first byte behind an IPv4 header that starts at `start` (RFC 791 section 3.1: the low
    /// nibble of the first byte counts 32-bit words).
    #[must_use]
    pub const fn ipv4_payload(start: u16) -> HeaderBase {
        HeaderBase { at: start, mask: 0x0f, shift: 2, add: start }
    }

    /// Address of the byte `offset` behind this base when the guard is `guard`; `None` where no
    /// frame is that long.
    #[must_use]
    pub fn address(self, guard: u8, offset: u16) -> Option<u16> {
        let address = self.scaled(guard)? + u32::from(self.add) + u32::from(offset);
        u16::try_from(address).ok().filter(|&address| address < FRAME_MAX)
    }

    /// The length that the guard's value stands for, in bytes and without `add`; `None` where no
    /// frame is that long.
    #[must_use]
    pub fn scaled(self, guard: u8) -> Option<u32> {
        let length = u32::from(guard & self.mask);
        match self.shift {
            0..16 => Some(length << self.shift),
            ..0 => Some(length.checked_shr(self.shift.unsigned_abs().into()).unwrap_or(0)),
            _ => (length == 0).then_some(0),
        }
    }

    /// The most that [`HeaderBase::scaled`] answers, or more than any frame is long.
    #[must_use]
    pub fn longest(self) -> u32 {
        self.scaled(0xff).unwrap_or(u32::from(u16::MAX))
    }

    /// The values that `guard & mask` can have, ascending.
    pub fn lengths(self) -> impl Iterator<Item = u8> {
        submasks(self.mask)
    }
}

/// One byte of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// What `offset` counts from.
    pub base: Base,
    /// Distance from the base, bytes.
    pub offset: u16,
}

impl Cell {
    /// The byte `offset` bytes into the frame.
    #[must_use]
    pub const fn frame(offset: u16) -> Cell {
        Cell { base: Base::Frame, offset }
    }

    /// The byte `offset` bytes behind `base`.
    #[must_use]
    pub const fn header(base: HeaderBase, offset: u16) -> Cell {
        Cell { base: Base::Header(base), offset }
    }

    /// Where the cell lies in `frame`; `None` where it does not exist.
    #[must_use]
    pub fn address(self, frame: &[u8]) -> Option<usize> {
        let address = match self.base {
            Base::Frame => self.offset,
            Base::Header(base) => base.address(*frame.get(usize::from(base.at))?, self.offset)?,
        };
        Some(usize::from(address)).filter(|&address| address < frame.len())
    }

    /// The same byte in the one spelling that rules use: constants are moved from the base's `add`
    /// into the offset until `add` is the guard's place (or 0, for what lies before it).
    ///
    /// `None` if no frame has the cell.
    #[must_use]
    pub(crate) fn canonical(self) -> Option<Cell> {
        let Base::Header(base) = self.base else {
            return (self.offset < FRAME_MAX).then_some(self);
        };
        let total = base.add.checked_add(self.offset).filter(|&total| total < FRAME_MAX)?;
        let add = if total >= base.at { base.at } else { 0 };
        let shift = if base.mask == 0 { 0 } else { base.shift };
        Some(Cell::header(HeaderBase { add, shift, ..base }, total - add))
    }
}

/// Every value whose bits all lie in `mask`, ascending from 0.
fn submasks(mask: u8) -> impl Iterator<Item = u8> {
    let mut next = Some(0u8);
    core::iter::from_fn(move || {
        let value = next?;
        next = (value != mask).then(|| value.wrapping_sub(mask) & mask);
        Some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn submasks_are_all_and_ascending() {
        for mask in 0..=255u8 {
            let all: Vec<u8> = submasks(mask).collect();
            let expected: Vec<u8> = (0..=255u8).filter(|v| v & !mask == 0).collect();
            assert_eq!(all, expected, "mask {mask:#x}");
        }
    }

    #[test]
    fn an_ipv4_payload_moves_with_the_header_length() {
        let base = HeaderBase::ipv4_payload(14);
        assert_eq!(base.address(0x45, 2), Some(36));
        assert_eq!(base.address(0x46, 2), Some(40));
        assert_eq!(base.address(0x4f, 65535), None);
        let far = HeaderBase { at: 14, mask: 0xff, shift: 100, add: 0 };
        assert_eq!(far.address(1, 0), None);
        assert_eq!(far.address(0, 7), Some(7));
    }

    #[test]
    fn canonical_spelling_keeps_the_address() {
        for (add, offset) in [(14, 2), (0, 16), (10, 6), (0, 3), (3, 0)] {
            let base = HeaderBase { at: 14, mask: 0x0f, shift: 2, add };
            let cell = Cell::header(base, offset);
            let canonical = cell.canonical().unwrap();
            let mut frame = [0u8; 200];
            for guard in 0..16 {
                frame[14] = guard;
                assert_eq!(cell.address(&frame), canonical.address(&frame));
            }
        }
        let a = Cell::header(HeaderBase { at: 14, mask: 0x0f, shift: 2, add: 0 }, 16).canonical();
        assert_eq!(a, Some(Cell::header(HeaderBase::ipv4_payload(14), 2)));
        assert_eq!(Cell::frame(FRAME_MAX).canonical(), None);
    }

    #[test]
    fn a_cell_past_the_end_does_not_exist() {
        assert_eq!(Cell::frame(3).address(&[0; 4]), Some(3));
        assert_eq!(Cell::frame(4).address(&[0; 4]), None);
        assert_eq!(Cell::header(HeaderBase::ipv4_payload(14), 0).address(&[0; 14]), None);
    }
}
