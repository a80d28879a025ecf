//! Loads that cover several tested bytes at once.
//!
//! The idea: tested bytes that lie near each other are loaded together and masked: within eight
//! bytes for a key, within four for a comparison, whose mask and value then are immediates. A
//! window never reaches beyond `end`, up to which the frame is known to have bytes.

use alloc::vec::Vec;

use ebpf::Size;

/// A tested byte: (offset, mask, value).
pub(crate) type TestedByte = (u16, u8, u8);

/// A load, a mask, and a value to compare with, as little-endian numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) offset: u16,
    pub(crate) size: Size,
    pub(crate) mask: u64,
    pub(crate) value: u64,
}

impl Window {
    /// Whether every bit of the load is compared.
    pub(crate) fn is_full(&self) -> bool {
        self.mask == u64::MAX >> (64 - self.size.bits())
    }

    /// The bits of `frame` (or what is behind a base) that it compares; `None` beyond the end.
    pub(crate) fn bits(&self, bytes: &[u8]) -> Option<u64> {
        let start = usize::from(self.offset);
        let bytes = bytes.get(start..start.checked_add(self.size.bytes())?)?;
        Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)) & self.mask)
    }
}

/// Bytes (ascending) to be compared, as windows inside `end`. Each byte must lie before `end`.
pub(crate) fn tests(bytes: &[TestedByte], end: u16) -> Vec<Window> {
    windows(bytes, end, 4)
}

/// Bytes (ascending) of a key, as windows inside `end`. Each byte must lie before `end`.
pub(crate) fn loads(bytes: &[TestedByte], end: u16) -> Vec<Window> {
    windows(bytes, end, 8)
}

/// Windows of at most so many bytes.
fn windows(bytes: &[TestedByte], end: u16, most: u16) -> Vec<Window> {
    let mut windows = Vec::new();
    let mut rest = bytes;
    while let Some((first, ..)) = rest.first() {
        let near = rest.iter().take_while(|(at, ..)| at.abs_diff(*first) < most).count();
        let (window, taken) = covering(rest.get(..near).unwrap_or(rest), end);
        windows.push(window);
        rest = rest.get(taken.max(1)..).unwrap_or(&[]);
    }
    windows
}

/// The same, but no window covers a byte that is not tested.
pub(crate) fn tight(bytes: &[TestedByte]) -> Vec<Window> {
    let mut windows = Vec::new();
    for run in bytes.chunk_by(|a, b| a.0.checked_add(1) == Some(b.0)) {
        let mut rest = run;
        while let Some((first, ..)) = rest.first() {
            let size = least_size(rest.len(), true);
            let (now, later) = rest.split_at(size.bytes().min(rest.len()));
            windows.push(over(*first, size, now));
            rest = later;
        }
    }
    windows
}

/// A window over `bytes`, or over the first of them if there is no room for more: how many.
fn covering(bytes: &[TestedByte], end: u16) -> (Window, usize) {
    let first = bytes.first().map_or(0, |(at, ..)| *at);
    let span = bytes.last().map_or(1, |(at, ..)| usize::from(at.abs_diff(first)) + 1);
    let size = least_size(span, false);
    let width = size.bytes() as u16;
    if u32::from(first) + u32::from(width) <= u32::from(end) {
        (over(first, size, bytes), bytes.len())
    } else if let Some(start) = end.checked_sub(width) {
        (over(start, size, bytes), bytes.len())
    } else {
        let size = least_size(usize::from(end.saturating_sub(first)).clamp(1, 8), true);
        let inside = bytes.iter().take_while(|(at, ..)| at.abs_diff(first) < size.bytes() as u16);
        let inside = inside.count();
        (over(first, size, bytes.get(..inside).unwrap_or(bytes)), inside)
    }
}

/// The smallest size of at least `bytes`, or (`within`) the largest of at most as many.
fn least_size(bytes: usize, within: bool) -> Size {
    match bytes {
        0 | 1 => Size::B1,
        2 => Size::B2,
        3 if within => Size::B2,
        3 | 4 => Size::B4,
        5..8 if within => Size::B4,
        _ => Size::B8,
    }
}

fn over(offset: u16, size: Size, bytes: &[TestedByte]) -> Window {
    let (mut mask, mut value) = (0, 0);
    for (at, byte_mask, byte) in bytes {
        let shift = u32::from(at.saturating_sub(offset)) * 8;
        mask |= u64::from(*byte_mask).checked_shl(shift).unwrap_or(0);
        value |= u64::from(*byte & byte_mask).checked_shl(shift).unwrap_or(0);
    }
    Window { offset, size, mask, value }
}

#[cfg(test)]
mod tests {
    use super::{tests, tight};
    use ebpf::Size;

    #[test]
    fn near_bytes_are_loaded_together_and_never_beyond_the_end() {
        let bytes = [(12, 0xff, 8), (13, 0xff, 0), (14, 0xff, 0x45), (20, 0x1f, 0), (23, 0xff, 17)];
        let all = tests(&bytes, 42);
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].offset, all[0].size), (12, Size::B4));
        assert_eq!((all[0].mask, all[0].value), (0xff_ffff, 0x45_0008));
        assert_eq!((all[1].mask, all[1].value), (0xff00_001f, 0x1100_0000));
        for end in 24..40 {
            let covered: u32 = tests(&bytes, end).iter().map(|w| w.mask.count_ones()).sum();
            assert_eq!(covered, 4 * 8 + 5);
            for window in tests(&bytes, end) {
                assert!(usize::from(window.offset) + window.size.bytes() <= usize::from(end));
            }
        }
        let short = tests(&[(0, 0xff, 1), (1, 0xff, 2), (2, 0xff, 3)], 3);
        assert_eq!(short.iter().map(|w| w.size.bytes()).sum::<usize>(), 3);
    }

    #[test]
    fn tight_windows_cover_only_tested_bytes() {
        let bytes = [(1, 0xff, 1), (2, 0xff, 2), (3, 0xff, 3), (5, 0xf0, 0x50), (9, 0xff, 9)];
        let all = tight(&bytes);
        assert_eq!(all.iter().map(|w| w.size.bytes()).sum::<usize>(), bytes.len());
        assert_eq!((all[2].offset, all[2].mask, all[2].value), (5, 0xf0, 0x50));
    }
}
