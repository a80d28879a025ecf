//! The frame that a program works on, inside the buffer that holds it.
//!
//! The idea: XDP gives a program `data` and `data_end` inside a larger buffer with head- and
//! tailroom. Version 1 has no `adjust_head`, so the frame stays where it was put; the room around
//! it is kept so that the type need not change when it can move.
//!
//! Invariant: `start + len <= buffer.len()`.

/// Bytes of headroom that the kernel's receive buffers keep before a frame (XDP's figure).
pub const HEADROOM: usize = 256;

/// A frame in its buffer, borrowed for the time a program runs.
#[derive(Debug)]
pub struct PacketBuffer<'a> {
    buffer: &'a mut [u8],
    start: usize,
    len: usize,
}

impl<'a> PacketBuffer<'a> {
    /// The frame `buffer[start..start + len]`; `None` if that is not inside the buffer.
    #[must_use]
    pub fn new(buffer: &'a mut [u8], start: usize, len: usize) -> Option<Self> {
        let end = start.checked_add(len)?;
        (end <= buffer.len()).then_some(Self { buffer, start, len })
    }

    /// A frame that fills its buffer: no headroom, no tailroom.
    #[must_use]
    pub fn whole(buffer: &'a mut [u8]) -> Self {
        let len = buffer.len();
        Self { buffer, start: 0, len }
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

    /// Bytes before the frame.
    #[must_use]
    pub fn headroom(&self) -> usize {
        self.start
    }

    /// Bytes behind the frame.
    #[must_use]
    pub fn tailroom(&self) -> usize {
        self.buffer.len() - self.start - self.len
    }
}

#[cfg(test)]
mod tests {
    use super::PacketBuffer;

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
}
