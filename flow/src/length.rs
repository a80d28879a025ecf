//! How long a frame may be.
//!
//! A [`LengthRange`] is never empty and never leaves the frames that spaces talk about,
//! [`FRAME_MIN`]..=[`FRAME_MAX`].

use crate::limits::{FRAME_MAX, FRAME_MIN};

/// Frame lengths in bytes, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LengthRange {
    /// Shortest length.
    pub min: u16,
    /// Longest length.
    pub max: u16,
}

impl LengthRange {
    /// Every frame.
    pub const ALL: LengthRange = LengthRange { min: FRAME_MIN, max: FRAME_MAX };

    /// Lengths from `min` to `max`, cut to what frames have; `None` if nothing remains.
    #[must_use]
    pub fn new(min: u16, max: u16) -> Option<LengthRange> {
        let (min, max) = (min.max(FRAME_MIN), max.min(FRAME_MAX));
        (min <= max).then_some(LengthRange { min, max })
    }

    /// Lengths in both ranges.
    #[must_use]
    pub fn intersect(self, other: LengthRange) -> Option<LengthRange> {
        LengthRange::new(self.min.max(other.min), self.max.min(other.max))
    }

    /// Whether `length` is in the range.
    #[must_use]
    pub fn contains(self, length: usize) -> bool {
        usize::from(self.min) <= length && length <= usize::from(self.max)
    }

    /// Whether every length of this range is in `other`.
    #[must_use]
    pub fn is_subset_of(self, other: LengthRange) -> bool {
        other.min <= self.min && self.max <= other.max
    }

    /// One range for both, where they overlap or touch.
    #[must_use]
    pub fn merge(self, other: LengthRange) -> Option<LengthRange> {
        let touch =
            self.min <= other.max.saturating_add(1) && other.min <= self.max.saturating_add(1);
        touch.then(|| LengthRange { min: self.min.min(other.min), max: self.max.max(other.max) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_frames() {
        assert_eq!(LengthRange::new(0, 65535), Some(LengthRange::ALL));
        assert_eq!(LengthRange::new(0, 13), None);
        assert_eq!(LengthRange::new(1523, 65535), None);
        assert_eq!(LengthRange::new(60, 59), None);
    }

    #[test]
    fn neighbours_merge_and_strangers_do_not() {
        let range = |min, max| LengthRange { min, max };
        assert_eq!(range(14, 20).merge(range(21, 30)), Some(range(14, 30)));
        assert_eq!(range(21, 30).merge(range(14, 20)), Some(range(14, 30)));
        assert_eq!(range(14, 20).merge(range(22, 30)), None);
    }
}
