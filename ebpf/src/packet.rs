//! The frame that a program works on, inside the buffer that holds it.
//!
//! The idea: XDP gives a program `data` and `data_end` inside a larger buffer with head- and
//! tailroom. Helpers may move both ends within it; interpreter and generated code work on the same
//! type. Bytes that a move uncovers are zeroed: what an earlier frame left in the buffer is nobody
//! else's to read.
//!
//! Invariant: `floor <= start` and `start + len <= buffer.len()`.

/// Bytes of headroom that the kernel's receive buffers keep before a frame (XDP's figure), and the
/// most that a frame's start moves down.
pub const HEADROOM: usize = 256;

/// A frame in its buffer, borrowed for the time a program runs.
#[derive(Debug)]
pub struct PacketBuffer<'a> {
    buffer: &'a mut [u8],
    /// Where the start may move down to.
    floor: usize,
    start: usize,
    len: usize,
}

impl<'a> PacketBuffer<'a> {
    /// The frame `buffer[start..start + len]`; `None` if that is not inside the buffer.
    #[must_use]
    pub fn new(buffer: &'a mut [u8], start: usize, len: usize) -> Option<Self> {
        let end = start.checked_add(len)?;
        let floor = start.saturating_sub(HEADROOM);
        (end <= buffer.len()).then_some(Self { buffer, floor, start, len })
    }

    /// A frame that fills its buffer: no headroom, no tailroom.
    #[must_use]
    pub fn whole(buffer: &'a mut [u8]) -> Self {
        let len = buffer.len();
        Self { buffer, floor: 0, start: 0, len }
    }

    /// The frame's bytes.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        self.buffer.get(self.start..self.start + self.len).unwrap_or(&[])
    }

    /// The frame's bytes, to write.
    #[must_use]
    pub fn data_mut(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.start..self.start + self.len).unwrap_or(&mut [])
    }

    /// Where the frame begins in its buffer, in bytes.
    #[must_use]
    pub const fn start(&self) -> usize {
        self.start
    }

    /// The frame's length in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether the frame has no byte at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes before the frame that its start may move over.
    #[must_use]
    pub const fn headroom(&self) -> usize {
        self.start - self.floor
    }

    /// Bytes behind the frame.
    #[must_use]
    pub const fn tailroom(&self) -> usize {
        self.buffer.len() - self.start - self.len
    }

    /// Moves the frame's start by so many bytes (down: the frame grows by zeroes). False, and
    /// nothing changed, if there is no room or no frame left.
    #[must_use]
    pub fn move_start(&mut self, by: isize) -> bool {
        let end = self.start + self.len;
        let moved = self.start.checked_add_signed(by);
        let Some(start) = moved.filter(|start| (self.floor..=end).contains(start)) else {
            return false;
        };
        if let Some(uncovered) = self.buffer.get_mut(start..self.start) {
            uncovered.fill(0);
        }
        (self.start, self.len) = (start, end - start);
        true
    }

    /// Moves the frame's end by so many bytes (up: the frame grows by zeroes). False, and nothing
    /// changed, if there is no room or no frame left.
    #[must_use]
    pub fn move_end(&mut self, by: isize) -> bool {
        let before = self.start + self.len;
        let moved = before.checked_add_signed(by);
        let room = self.start..=self.buffer.len();
        let Some(end) = moved.filter(|end| room.contains(end)) else { return false };
        if let Some(uncovered) = self.buffer.get_mut(before..end) {
            uncovered.fill(0);
        }
        self.len = end - self.start;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{HEADROOM, PacketBuffer};

    #[test]
    fn a_frame_must_lie_in_its_buffer() {
        let mut buffer = [0_u8; 8];
        assert!(PacketBuffer::new(&mut buffer, 4, 5).is_none());
        assert!(PacketBuffer::new(&mut buffer, usize::MAX, 2).is_none());
        let mut packet = PacketBuffer::new(&mut buffer, 2, 3).unwrap();
        packet.data_mut().fill(9);
        assert_eq!((packet.headroom(), packet.data().len(), packet.tailroom()), (2, 3, 3));
        assert_eq!(buffer, [0, 0, 9, 9, 9, 0, 0, 0]);
    }

    #[test]
    fn both_ends_move_within_the_buffer_and_uncover_zeroes() {
        let mut buffer = [7_u8; 400];
        let mut packet = PacketBuffer::new(&mut buffer, 300, 20).unwrap();
        assert!(!packet.move_start(-(HEADROOM as isize) - 1));
        assert!(!packet.move_start(21) && !packet.move_start(isize::MIN));
        assert!(!packet.move_end(81) && !packet.move_end(-21) && !packet.move_end(isize::MAX));
        assert_eq!((packet.start(), packet.len()), (300, 20));
        assert!(packet.move_start(-2) && packet.move_end(1));
        let mut expected = [7; 23];
        expected[..2].fill(0);
        expected[22] = 0;
        assert_eq!(packet.data(), expected);
        // Bytes that were covered are zeroes when they are uncovered again.
        assert!(packet.move_start(4) && packet.move_start(-4));
        assert_eq!(packet.data()[..5], [0, 0, 0, 0, 7]);
        assert!(packet.move_start(-(HEADROOM as isize) + 2));
        assert_eq!((packet.headroom(), packet.start()), (0, 44));
        assert!(!packet.move_start(-1));
    }
}
