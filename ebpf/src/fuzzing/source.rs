//! Choices read from arbitrary bytes.
//!
//! Nothing fails: bytes that have run out read as zero, and an empty list gives what the caller
//! says. So every byte string is a valid input, and a longer one only decides more.

/// Reads choices from bytes; when they run out every choice is the first.
pub(super) struct Source<'a> {
    bytes: &'a [u8],
}

impl<'a> Source<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        match self.bytes.split_first() {
            Some((&first, rest)) => {
                self.bytes = rest;
                first
            }
            None => 0,
        }
    }

    /// A number below `bound`, which is at least 1 and at most 256.
    pub(super) fn below(&mut self, bound: u16) -> u16 {
        u16::from(self.byte()) % bound.max(1)
    }

    pub(super) fn word(&mut self) -> u32 {
        u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }

    /// One of the items, which are not empty.
    pub(super) fn pick<T: Copy>(&mut self, items: &[T], otherwise: T) -> T {
        let bound = u16::try_from(items.len()).unwrap_or(u16::MAX).min(256);
        items.get(usize::from(self.below(bound))).copied().unwrap_or(otherwise)
    }

    /// A number that is often at an edge of some width.
    pub(super) fn immediate(&mut self) -> i32 {
        const EDGES: [i32; 12] =
            [0, 1, -1, 2, 0x7f, 0xff, 0x8000, 0xffff, i32::MAX, i32::MIN, 31, 63];
        match self.byte() {
            0..=95 => self.pick(&EDGES, 0),
            96..=191 => i32::from(self.byte()),
            _ => self.word().cast_signed(),
        }
    }
}
